package deadletter

import (
	"cmp"
	"context"

	"github.com/fnhost/fnhost/host/delivery"
)

// A Plan says what a requeue or a discard of all that match would change.
type Plan struct {
	Letters int
	Scanned int    // entries looked at
	Through string // for the filter of the work itself: what comes after is no part of it; empty: the queue is empty
	Targets []Target
	Samples []Letter // the oldest, without their fields
}

// A Target is a stream that messages would be requeued to.
type Target struct {
	Stream  string // empty: the letters do not say
	Letters int
	Problem error // why they would not be
}

// sampled is how many letters a plan shows.
const sampled = 3

// Plan looks at the letters that match, or the oldest filter.Limit of them, and
// changes nothing. filter.Scan does not count.
func (d *DeadLetters) Plan(ctx context.Context, dlq string, filter Filter, options Options) (Plan, error) {
	plan, places := Plan{}, map[string]int{}
	r := d.requeue(dlq, options)
	if ok, err := d.close(ctx, dlq, &filter); err != nil || !ok {
		return plan, err
	}
	plan.Through = filter.Through
	err := d.scan(ctx, dlq, filter, func(e delivery.Entry) bool {
		plan.Scanned++
		if l := d.read(e); filter.match(&l) {
			plan.add(l, r.to(l), places)
		}
		return plan.Letters != cmp.Or(filter.Limit, -1)
	})
	for i := range plan.Targets {
		if err == nil {
			plan.Targets[i].Problem, err = r.check(ctx, plan.Targets[i].Stream)
		}
	}
	return plan, err
}

func (p *Plan) add(l Letter, to string, places map[string]int) {
	if p.Letters++; p.Letters <= sampled {
		l.Fields, l.Entry = nil, nil
		p.Samples = append(p.Samples, l)
	}
	i, known := places[to]
	if !known {
		i = len(p.Targets)
		places[to], p.Targets = i, append(p.Targets, Target{Stream: to})
	}
	p.Targets[i].Letters++
}

// close makes the filter one of the letters that are there now, the oldest first;
// ok is false if there are none.
func (d *DeadLetters) close(ctx context.Context, dlq string, filter *Filter) (ok bool, err error) {
	filter.OldestFirst = true
	if filter.Through != "" {
		return true, nil
	}
	last, err := d.client.XRevRangeN(ctx, d.keys.Stream(dlq), "+", "-", 1).Result()
	if err != nil {
		return false, wrap(err, "reading dead letters of %s", dlq)
	}
	if len(last) == 0 {
		return false, nil
	}
	filter.Through = last[0].ID
	if !filter.Until.IsZero() && delivery.CompareIDs(filter.until(), filter.Through) < 0 {
		filter.Through = filter.until()
	}
	return true, nil
}

// all shows the letters that match and are there now, the oldest first, until one
// fails, or it has shown filter.Limit.
func (d *DeadLetters) all(ctx context.Context, dlq string, filter Filter, see func(Letter) error) error {
	if ok, err := d.close(ctx, dlq, &filter); err != nil || !ok {
		return err
	}
	var failed error
	shown := 0
	err := d.Each(ctx, dlq, filter, func(l Letter) bool {
		failed = see(l)
		shown++
		return failed == nil && shown != filter.Limit
	})
	if failed != nil {
		return failed
	}
	return err
}
