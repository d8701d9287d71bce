package stream

import (
	"context"
	"fmt"
	"slices"
	"strconv"
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
	cmds, err := l.runCommits(ctx, calls)
	for i, cmd := range cmds {
		if err := l.settle(ctx, commits, batches[i], cmd, out); err != nil {
			return nil, l.failed(ctx, err, "commit %d outcomes", len(commits))
		}
	}
	if err != nil {
		return nil, l.failed(ctx, err, "commit %d outcomes", len(commits))
	}
	return out, nil
}

// runCommits runs the scripts; an error means that they are not as durable as
// they are to be.
func (l *Log) runCommits(ctx context.Context, calls []call) ([]*redis.Cmd, error) {
	if l.o.Durability.none() || len(calls) == 0 {
		return runAll(ctx, l.c.commands, commitScript, calls), nil
	}
	return runDurably(ctx, l.c.commands, commitScript, calls, l.o.Durability)
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
	f := &forms{now: time.Now(), dlq: l.o.DLQ}
	for _, i := range batch {
		m := &commits[i]
		c.keys = append(c.keys, l.lock(m.ID))
		f.add(&m.ID, m.Adds)
		f.add(&m.ID, fitting(m.Audit))
		for k := range m.Also {
			c.keys = append(c.keys, l.lock(m.Also[k].ID))
			f.add(&m.Also[k].ID, m.Also[k].Adds)
			f.add(&m.Also[k].ID, fitting(m.Also[k].Audit))
		}
	}
	c.args = append(c.args, l.o.DoneTTL.Milliseconds(), int(statsLife.Seconds()), len(c.keys)-3)
	p := newPlaces(&c)
	l.writeForms(p, f)
	h := newHeads()
	for _, i := range batch {
		l.writeCommit(p, f, h, &commits[i])
	}
	return c
}

// writeCommit appends a commit's arguments, as commit.lua reads them.
func (l *Log) writeCommit(p places, f *forms, h heads, c *delivery.Commit) {
	audit := fitting(c.Audit)
	h.write(p, &c.Held, c.Outcome, c.Latency, shape{len(c.Adds), len(c.State), len(c.Cache), len(audit), len(c.Also)})
	f.write(p, c.Adds)
	for _, s := range c.State {
		p.int(p.of(l.c.keys.State(l.sub.Role, s.Key)))
		p.text(s.Version)
		p.text(flag(s.Delete))
		p.list(s.Set)
		p.list(s.Remove)
	}
	for _, w := range c.Cache {
		p.int(p.of(l.c.keys.Cache(l.sub.Role, w.Key)))
		p.text(strconv.FormatInt(w.TTL.Milliseconds(), 10))
		p.list(w.Set)
	}
	f.write(p, audit)
	for k := range c.Also {
		m := &c.Also[k]
		audit := fitting(m.Audit)
		h.write(p, &m.Held, m.Outcome, m.Latency, shape{adds: len(m.Adds), audits: len(audit)})
		f.write(p, m.Adds)
		f.write(p, audit)
	}
}

// shape is how many parts of each kind a commit has, and how many further messages.
type shape struct{ adds, states, caches, audits, more int }

// heads write what messages begin with. Of labels and shapes there are few in a
// call: each is made once.
type heads struct {
	labels map[label]*string
	shapes map[shape]*string
}

type label struct{ outcome, bucket string }

func newHeads() heads { return heads{labels: map[label]*string{}, shapes: map[shape]*string{}} }

func (h heads) write(p places, held *delivery.Held, outcome string, latency time.Duration, s shape) {
	latency = max(latency, 0)
	l := label{outcome, delivery.StatsBucket(latency)}
	if h.labels[l] == nil {
		text := l.outcome + " " + l.bucket
		h.labels[l] = &text
	}
	if h.shapes[s] == nil {
		text := fmt.Sprintf("%d %d %d %d %d", s.adds, s.states, s.caches, s.audits, s.more)
		h.shapes[s] = &text
	}
	p.ref(&held.ID)
	p.number(&held.Fence)
	p.ref(h.labels[l])
	p.text(strconv.FormatInt(latency.Microseconds(), 10))
	p.ref(h.shapes[s])
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
	row, err := list(reply, -1)
	if err != nil {
		return err
	}
	if len(row) < 2*len(batch) {
		return errShort(len(row)/2, len(batch))
	}
	if trimmed := row[2*len(batch):]; len(trimmed) == 2 {
		l.o.Observer.DeadLettersTrimmed(l.o.DLQ, number(trimmed[0]), text(trimmed[1]))
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
		cmds, err := l.runCommits(ctx, []call{l.commitCall(commits, one)})
		if err := l.settle(ctx, commits, one, cmds[0], out); err != nil {
			return err
		}
		if err != nil {
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
