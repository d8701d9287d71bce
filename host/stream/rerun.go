package stream

import (
	"context"
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
			p.arg(r.ID, p.of(l.lock(r.ID)), r.Fence, r.Attempt, r.Deaths, flag(r.Park), r.Delay.Milliseconds(), len(audit))
			l.writeAdds(p, audit)
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
	out := make([]delivery.Add, 0, len(adds))
	for _, a := range adds {
		if n := len(a.Fields); n > 0 && n <= maxFields && n%2 == 0 {
			out = append(out, a)
		}
	}
	return out
}
