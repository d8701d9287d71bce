package stream

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// Rerun gives new grants, under new fences, to messages that we hold. A parked
// one leaves our hands: whoever looks when it is due takes it over.
func (l *Log) Rerun(ctx context.Context, reruns []delivery.Rerun) ([]delivery.Lease, error) {
	var calls []call
	for chunk := range chunks(reruns, maxBatch) {
		c := l.call(2*len(chunk), l.fence, l.delayed, l.c.keys.Stats(l.sub.Role, time.Now()))
		c.args = append(c.args, l.o.Lease.Milliseconds(), lockLife.Milliseconds(), parkedConsumer, int(statsLife/time.Second), len(chunk))
		p := newPlaces(&c)
		for i := range chunk {
			r := &chunk[i]
			audit := fitting(r.Audit)
			p.ref(&r.ID)
			p.int(p.of(l.lock(r.ID)))
			p.number(&r.Fence)
			p.int(r.Attempt)
			p.int(r.Deaths)
			p.text(flag(r.Park))
			p.text(strconv.FormatInt(r.Delay.Milliseconds(), 10))
			p.int(len(audit))
			for i := range audit {
				p.int(p.of(l.c.keys.Stream(audit[i].Stream)))
				p.text(strconv.FormatInt(audit[i].MaxLen, 10))
				p.list(audit[i].Fields)
			}
		}
		calls = append(calls, c)
	}
	rows, err := l.rows(ctx, l.c.commands, rerunScript, calls, 4)
	if err != nil {
		return nil, l.failed(ctx, err, "plan the next runs of %d messages", len(reruns))
	}
	if len(rows) != len(reruns) {
		return nil, errShort(len(rows), len(reruns))
	}
	return leases(rows, func(i int) string { return reruns[i].ID }), nil
}

// fitting leaves out audit entries that cannot be added: they are never a reason
// to fail.
func fitting(adds []delivery.Add) []delivery.Add {
	unfit := func(a delivery.Add) bool { n := len(a.Fields); return n == 0 || n > maxFields || n%2 != 0 }
	if !slices.ContainsFunc(adds, unfit) {
		return adds
	}
	return slices.DeleteFunc(slices.Clone(adds), unfit)
}
