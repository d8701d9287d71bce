package stream

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
)

// versionField holds the version of a key of keyed state: the fence of its last
// writer. Functions cannot see it or write it.
const versionField = "_v"

const statsLife = 48 * time.Hour

// Commit makes outcomes true, all or nothing each, in the order given. An error
// means that some may have become true: repeat all of them, and those that have
// answer as they did. A commit that can never succeed is Refused, with the
// reason, and does not keep the others from theirs.
func (l *Log) Commit(ctx context.Context, commits []delivery.Commit) ([]delivery.CommitResult, error) {
	out := make([]delivery.CommitResult, len(commits))
	batches := l.batches(commits, out)
	calls := make([]call, len(batches))
	for i, b := range batches {
		calls[i] = l.commitCall(commits, b)
	}
	for i, cmd := range runAll(ctx, l.c.commands, commitScript, calls) {
		if err := l.settle(ctx, commits, batches[i], cmd, out); err != nil {
			return nil, l.failed(ctx, err, "commit %d outcomes", len(commits))
		}
	}
	return out, nil
}

// batches cuts the commits, by their index, into runs of the script, in none of
// which a message comes twice. What no script can add is refused here.
func (l *Log) batches(commits []delivery.Commit, out []delivery.CommitResult) [][]int {
	var batches [][]int
	var batch []int
	size, in := 0, map[string]bool{}
	for i := range commits {
		c := &commits[i]
		out[i].ID = c.ID
		if reason := unfit(c); reason != "" {
			out[i].Status, out[i].Reason = delivery.Refused, reason
			continue
		}
		n := commitBytes(c)
		if full := len(in)+1+len(c.Also) > maxBatch || size+n > maxBatchBytes; len(batch) > 0 && full || anyIn(in, c) {
			batches, batch, size = append(batches, batch), nil, 0
			clear(in)
		}
		batch, size = append(batch, i), size+n
		in[c.ID] = true
		for _, m := range c.Also {
			in[m.ID] = true
		}
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches
}

func anyIn(ids map[string]bool, c *delivery.Commit) bool {
	return ids[c.ID] || slices.ContainsFunc(c.Also, func(m delivery.Member) bool { return ids[m.ID] })
}

// unfit says why the commit cannot be written, whatever Redis holds.
func unfit(c *delivery.Commit) string {
	if reason := unfitAdds(c.Adds); reason != "" {
		return reason
	}
	for _, m := range c.Also {
		if reason := unfitAdds(m.Adds); reason != "" {
			return reason
		}
	}
	for _, s := range c.State {
		if reserved(s.Set, 2) || reserved(s.Remove, 1) {
			return fmt.Sprintf("state %s: the field %q is the host's own", s.Key, versionField)
		}
		if len(s.Set)%2 != 0 {
			return fmt.Sprintf("state %s: a field without a value", s.Key)
		}
	}
	for _, w := range c.Cache {
		if len(w.Set)%2 != 0 {
			return fmt.Sprintf("cache %s: a field without a value", w.Key)
		}
	}
	return ""
}

func unfitAdds(adds []delivery.Add) string {
	for _, a := range adds {
		switch n := len(a.Fields); {
		case n > maxFields:
			return fmt.Sprintf("%s: an entry of %d names and values; at most %d can be added", a.Stream, n, maxFields)
		case n == 0 || n%2 != 0:
			return fmt.Sprintf("%s: an entry is names and values in turn, at least one of each; got %d", a.Stream, n)
		}
	}
	return ""
}

func reserved(fields []string, step int) bool {
	for i := 0; i < len(fields); i += step {
		if fields[i] == versionField {
			return true
		}
	}
	return false
}

func commitBytes(c *delivery.Commit) int {
	n := 0
	count := func(values []string) {
		for _, v := range values {
			n += len(v)
		}
	}
	adds := func(all []delivery.Add) {
		for _, a := range all {
			count(a.Fields)
		}
	}
	adds(c.Adds)
	adds(c.Audit)
	for _, m := range c.Also {
		adds(m.Adds)
		adds(m.Audit)
	}
	for _, s := range c.State {
		count(s.Set)
	}
	for _, w := range c.Cache {
		count(w.Set)
	}
	return n
}

func (l *Log) commitCall(commits []delivery.Commit, batch []int) call {
	c := l.call(3*len(batch), l.delayed, l.c.keys.Stats(l.sub.Role, time.Now()))
	for _, i := range batch {
		c.keys = append(c.keys, l.lock(commits[i].ID))
		for _, m := range commits[i].Also {
			c.keys = append(c.keys, l.lock(m.ID))
		}
	}
	c.args = append(c.args, l.o.DoneTTL.Milliseconds(), int(statsLife.Seconds()), len(c.keys)-3)
	p := newPlaces(&c)
	for _, i := range batch {
		l.writeCommit(p, &commits[i])
	}
	return c
}

// writeCommit appends a commit's arguments, as commit.lua reads them.
func (l *Log) writeCommit(p places, c *delivery.Commit) {
	audit := fitting(c.Audit)
	writeHead(p, c.Held, c.Outcome, c.Latency, shape(len(c.Adds), len(c.State), len(c.Cache), len(audit), len(c.Also)))
	l.writeAdds(p, c.Adds)
	for _, s := range c.State {
		p.arg(p.of(l.c.keys.State(l.sub.Role, s.Key)), s.Version, flag(s.Delete))
		p.list(s.Set)
		p.list(s.Remove)
	}
	for _, w := range c.Cache {
		p.arg(p.of(l.c.keys.Cache(l.sub.Role, w.Key)), w.TTL.Milliseconds())
		p.list(w.Set)
	}
	l.writeAdds(p, audit)
	for _, m := range c.Also {
		audit := fitting(m.Audit)
		writeHead(p, m.Held, m.Outcome, m.Latency, shape(len(m.Adds), 0, 0, len(audit), 0))
		l.writeAdds(p, m.Adds)
		l.writeAdds(p, audit)
	}
}

func writeHead(p places, h delivery.Held, outcome string, latency time.Duration, shape string) {
	latency = max(latency, 0)
	p.arg(h.ID, h.Fence, outcome+" "+delivery.StatsBucket(latency), latency.Microseconds(), shape)
}

func (l *Log) writeAdds(p places, adds []delivery.Add) {
	now := time.Now()
	for _, a := range adds {
		if a.NotBefore.After(now) {
			p.arg(p.of(l.c.keys.Later(a.Stream)), fmt.Sprint("@", dueMillis(a.NotBefore)), 2, p.of(l.c.keys.Stream(a.Stream)), pack(a.Fields))
			continue
		}
		p.arg(p.of(l.c.keys.Stream(a.Stream)), a.MaxLen)
		p.list(a.Fields)
	}
}

// shape is how many parts of each kind a commit has, and how many further messages.
func shape(adds, states, caches, audits, more int) string {
	if adds == 1 && states+caches+audits+more == 0 { // by far the most common
		return "1 0 0 0 0"
	}
	return fmt.Sprintf("%d %d %d %d %d", adds, states, caches, audits, more)
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// settle reads one batch's answers. A batch refused whole for lack of a
// permission on some key is sent again one by one, so that only the message that
// needs the key is refused.
func (l *Log) settle(ctx context.Context, commits []delivery.Commit, batch []int, cmd *redis.Cmd, out []delivery.CommitResult) error {
	reply, err := cmd.Result()
	if denied(err) {
		return l.settleEach(ctx, commits, batch, err, out)
	}
	if err != nil {
		return err
	}
	row, err := list(reply, 2*len(batch))
	if err != nil {
		return err
	}
	for n, i := range batch {
		r := &out[i]
		r.Status = delivery.CommitStatus(number(row[2*n]))
		switch r.Status {
		case delivery.Committed:
			r.Entry = text(row[2*n+1])
		case delivery.CommitLost:
			r.Lost = lostOf(&commits[i], text(row[2*n+1]))
		default:
			r.Reason = text(row[2*n+1])
		}
	}
	return nil
}

// lostOf are the ids of those messages of a lost commit that are another's.
func lostOf(c *delivery.Commit, ids string) []string {
	if len(c.Also) == 0 {
		return []string{c.ID}
	}
	return strings.Fields(ids)
}

func (l *Log) settleEach(ctx context.Context, commits []delivery.Commit, batch []int, denial error, out []delivery.CommitResult) error {
	if len(batch) == 1 {
		out[batch[0]].Status, out[batch[0]].Reason = delivery.Refused, denial.Error()
		return nil
	}
	for _, i := range batch {
		one := []int{i}
		c := l.commitCall(commits, one)
		cmd := commitScript.Run(ctx, l.c.commands, c.keys, c.args...)
		if err := l.settle(ctx, commits, one, cmd, out); err != nil {
			return err
		}
	}
	return nil
}

// denied says whether the server refused to run the script at all for a key
// that we may not use: it says so before anything is written.
func denied(err error) bool {
	return err != nil && strings.HasPrefix(err.Error(), "NOPERM") && strings.Contains(err.Error(), "key")
}
