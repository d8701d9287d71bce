package dispatch

import (
	"context"
	"time"
)

// follow hears when the function becomes ready, or stops to be.
func (r *Role) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.cfg.Function.Changed():
			r.wakeAll()
			r.pump()
		case <-r.quarantined():
			r.pump()
		}
	}
}

// quarantined is signalled when the quarantine becomes ready, or stops to be;
// never if there is none.
func (r *Role) quarantined() <-chan struct{} {
	if r.cfg.Quarantine == nil {
		return nil
	}
	return r.cfg.Quarantine.Changed()
}

// watch finds handlers that outlive their timeout and the grace to heed its
// cancellation, which only the end of their process can stop. Their neighbours
// are not charged for that.
func (r *Role) watch(ctx context.Context) {
	r.whileHeld(ctx, &r.watches, max(r.cfg.Grace/5, 10*time.Millisecond), nil, func(now time.Time) {
		if id := r.findOvertime(now); id != "" {
			r.cfg.Function.Kill(r.whyKilled(id))
		}
		r.killSuspect(now)
	})
}

// findOvertime marks the messages that ran too long, and gives the id of one.
func (r *Role) findOvertime(now time.Time) (id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := r.order.Front(); e != nil && e != r.frontier; e = e.Next() {
		it := e.Value.(*item)
		if r.overran(it, now) {
			it.overtime, r.killed = true, true
			id = it.d.Entry.ID
		}
	}
	return id
}

// overran says whether a message has run for longer than it may, and nothing has
// been done about that yet.
func (r *Role) overran(it *item, now time.Time) bool {
	return r.cfg.Timeout > 0 && it.started && !it.overtime && now.Sub(it.since) > r.cfg.Timeout+r.cfg.Grace
}

func (r *Role) whyKilled(id string) string {
	return "message " + id + " ran past its timeout of " + r.cfg.Timeout.String() + " and did not heed its cancellation"
}
