package hosttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/topology"
)

// dumpPage is how many entries one request of a dump asks for.
const dumpPage = 2000

// Places are the keys, with their namespace, that a [History] is compared with.
type Places struct {
	Stream, Group string
	Results, DLQ  string // empty: there is none
}

// PlacesOf gives the places of a subscription; dlq is without the namespace, and
// empty if there is none.
func PlacesOf(keys topology.Keys, sub topology.Subscription, dlq string) Places {
	p := Places{Stream: keys.Stream(sub.Stream), Group: sub.Group}
	if sub.Results != "" {
		p.Results = keys.Stream(sub.Results)
	}
	if dlq != "" {
		p.DLQ = keys.Stream(dlq)
	}
	return p
}

// A History is a record, outside Redis and only ever added to, of the entries
// whose publishers were told that they are in the stream. Its zero value is
// empty. It is safe for concurrent use.
type History struct {
	mu  sync.Mutex
	ids []string // in the order in which they were acknowledged
}

// Published notes ids that Redis has acknowledged to a producer.
func (h *History) Published(ids ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = append(h.ids, ids...)
}

// Len is how many ids were published.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ids)
}

// Surviving gives the history of those ids that the stream still has: what a
// failover, or a fsync policy weaker than `always`, is judged by. It must be
// taken after the fault, and before anything trims the stream.
func (h *History) Surviving(ctx context.Context, rdb *redis.Client, stream string) (*History, error) {
	left := map[string]bool{}
	if err := dump(ctx, rdb, stream, "-", func(e redis.XMessage) { left[e.ID] = true }); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return &History{ids: slices.DeleteFunc(slices.Clone(h.ids), func(id string) bool { return !left[id] })}, nil
}

// Check compares the history with full dumps of results, dead letters, and what
// still waits. It may be called while hosts work: only an outcome that is
// committed between two of the dumps looks Half then, so judge by a verdict that
// is Quiet.
func (h *History) Check(ctx context.Context, rdb *redis.Client, at Places) (Verdict, error) {
	h.mu.Lock()
	ids := slices.Clone(h.ids)
	h.mu.Unlock()
	waiting, pending, err := waitingAt(ctx, rdb, at)
	if err != nil {
		return Verdict{}, err
	}
	fates := map[string]*fate{} // dumped after what waits: an outcome takes a message from there to here
	of := func(id string) *fate {
		if fates[id] == nil {
			fates[id] = &fate{}
		}
		return fates[id]
	}
	err = errors.Join(
		dump(ctx, rdb, at.Results, "-", func(e redis.XMessage) {
			f := of(value(e, "entryid"))
			f.results++
			if value(e, "status") == "error" {
				f.failed++
			}
		}),
		dump(ctx, rdb, at.DLQ, "-", func(e redis.XMessage) { of(value(e, "dlqid")).dead++ }))
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Published: len(ids), Pending: pending}
	known := make(map[string]bool, len(ids))
	for _, id := range ids {
		known[id] = true
		f := fates[id]
		if f == nil {
			f = &fate{}
		}
		v.judge(id, *f, at, waiting[id])
	}
	for id := range fates {
		if !known[id] {
			v.Strangers = append(v.Strangers, id)
		}
	}
	slices.Sort(v.Strangers)
	return v, nil
}

// fate is what was found of one message.
type fate struct{ results, failed, dead int }

// A Verdict says what became of everything published.
type Verdict struct {
	Published int
	Done      int   // one result, and no dead letter
	Dead      int   // one dead letter, and where there are results one that says `error`
	Waiting   int   // unread or pending, without an outcome
	Pending   int64 // entries of the group's pending list, decided or not

	// Ids of messages to which happened what must not.
	Lost       []string // neither an outcome nor waiting
	Duplicates []string // more than one result
	Both       []string // a dead letter, and a result that does not say `error`
	DeadTwice  []string // more than one dead letter
	Half       []string // of a dead letter and its `error` result only the one

	// Strangers have an outcome, and no producer was told of them: their answer
	// was lost, or the server has forgotten that it had acknowledged them.
	Strangers []string
}

func (v *Verdict) judge(id string, f fate, at Places, waiting bool) {
	switch {
	case f.results > 1:
		v.Duplicates = append(v.Duplicates, id)
	case f.dead > 1:
		v.DeadTwice = append(v.DeadTwice, id)
	case f.dead == 1 && f.results > f.failed:
		v.Both = append(v.Both, id)
	case f.dead == 1 && at.Results != "" && f.failed == 0, at.DLQ != "" && f.failed == 1 && f.dead == 0:
		v.Half = append(v.Half, id)
	case f.dead == 1:
		v.Dead++
	case f.results == 1:
		v.Done++
	case waiting:
		v.Waiting++
	default:
		v.Lost = append(v.Lost, id)
	}
}

// Quiet says that nothing waits, and that nothing is left pending.
func (v Verdict) Quiet() bool { return v.Waiting == 0 && v.Pending == 0 }

// Err says what happened that must not; nil if nothing did. That messages wait
// is not an error.
func (v Verdict) Err() error {
	var errs []error
	for _, bad := range []struct {
		what string
		ids  []string
	}{
		{"lost", v.Lost}, {"with more than one result", v.Duplicates}, {"with a result and a dead letter", v.Both},
		{"dead twice", v.DeadTwice}, {"with half an outcome", v.Half},
	} {
		if len(bad.ids) > 0 {
			errs = append(errs, fmt.Errorf("%d messages %s: %s", len(bad.ids), bad.what, some(bad.ids)))
		}
	}
	return errors.Join(errs...)
}

func (v Verdict) String() string {
	return fmt.Sprintf("published %d: done %d, dead %d, waiting %d (pending %d), lost %d, duplicates %d, both %d, dead twice %d, half %d; strangers %d",
		v.Published, v.Done, v.Dead, v.Waiting, v.Pending, len(v.Lost), len(v.Duplicates), len(v.Both), len(v.DeadTwice), len(v.Half), len(v.Strangers))
}

// some names the first of many ids.
func some(ids []string) string {
	const most = 10
	if len(ids) <= most {
		return strings.Join(ids, " ")
	}
	return strings.Join(ids[:most], " ") + " ..."
}

// waitingAt gives the ids that the group has not handed out, or counts as handed
// out and not acknowledged, and how many the latter are.
func waitingAt(ctx context.Context, rdb *redis.Client, at Places) (ids map[string]bool, pending int64, err error) {
	ids = map[string]bool{}
	groups, err := rdb.XInfoGroups(ctx, at.Stream).Result()
	if err != nil {
		return nil, 0, fmt.Errorf("look at the groups of %s: %w", at.Stream, err)
	}
	i := slices.IndexFunc(groups, func(g redis.XInfoGroup) bool { return g.Name == at.Group })
	if i < 0 {
		return nil, 0, fmt.Errorf("%s has no group %s", at.Stream, at.Group)
	}
	// First the unread: what is read meanwhile is pending then.
	if err := dump(ctx, rdb, at.Stream, "("+groups[i].LastDeliveredID, func(e redis.XMessage) { ids[e.ID] = true }); err != nil {
		return nil, 0, err
	}
	for from := "-"; ; {
		rows, err := rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: at.Stream, Group: at.Group, Start: from, End: "+", Count: dumpPage}).Result()
		if err != nil {
			return nil, 0, fmt.Errorf("look at what is pending in %s: %w", at.Stream, err)
		}
		for _, row := range rows {
			ids[row.ID] = true
		}
		pending += int64(len(rows))
		if len(rows) < dumpPage {
			return ids, pending, nil
		}
		from = "(" + rows[len(rows)-1].ID
	}
}

// dump gives every entry of a stream from an id on.
func dump(ctx context.Context, rdb *redis.Client, stream, from string, each func(redis.XMessage)) error {
	if stream == "" {
		return nil
	}
	for {
		rows, err := rdb.XRangeN(ctx, stream, from, "+", dumpPage).Result()
		if err != nil {
			return fmt.Errorf("dump %s: %w", stream, err)
		}
		for _, row := range rows {
			each(row)
		}
		if len(rows) < dumpPage {
			return nil
		}
		from = "(" + rows[len(rows)-1].ID
	}
}

func value(e redis.XMessage, name string) string {
	v, _ := e.Values[name].(string)
	return v
}
