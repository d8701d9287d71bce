package dispatch

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// renew keeps the leases of everything held, waiting or running.
func (r *Role) renew(ctx context.Context) {
	r.whileHeld(ctx, &r.renews, r.cfg.Lease/3, r.renewC, func(time.Time) {
		renewed := true
		for _, sub := range r.subs {
			renewed = r.renewHeld(ctx, sub) && renewed
		}
		if renewed { // else what is too old to start waits for the next round
			r.pump()
		}
	})
}

func (r *Role) renewHeld(ctx context.Context, sub *subscription) (renewed bool) {
	held := r.leases(sub)
	if len(held) == 0 {
		r.store(sub, "renew", nil) // nothing is in trouble that is not asked for
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/3)
	defer cancel()
	asked := time.Now()
	leases, err := sub.Log.Renew(ctx, held)
	r.store(sub, "renew", err)
	if err != nil {
		return false // nothing is cancelled: the commit decides
	}
	var cancels []uint64
	r.mu.Lock()
	for i, lease := range leases {
		it := sub.held[lease.ID]
		if it == nil || it.d.Grant.Fence != held[i].Fence {
			continue // settled, or granted anew, meanwhile
		}
		if lease.Status == delivery.Granted {
			it.leased = asked
			continue
		}
		if number, running := r.loseLease(it); running {
			cancels = append(cancels, number)
		}
	}
	r.mu.Unlock()
	r.cancel(cancels, delivery.CauseLostLease)
	return true
}

func (r *Role) leases(sub *subscription) []delivery.Held {
	r.mu.Lock()
	defer r.mu.Unlock()
	held := make([]delivery.Held, 0, len(sub.held))
	for id, it := range sub.held {
		if it.state != reserved {
			held = append(held, delivery.Held{ID: id, Grant: it.d.Grant})
		}
	}
	return held
}

// loseLease voids a message that is another's now, and gives the number of its
// delivery, or of its batch's, if it runs. What is being settled decides for itself.
func (r *Role) loseLease(it *item) (number uint64, running bool) {
	switch it.state {
	case out:
		it.lost = true
		if it.leader != nil {
			it = it.leader
		}
		return it.d.Number, true
	case waiting:
		it.lost = true // the queue drops it
	case delayed:
		r.delays.remove(it)
		r.cfg.Observer.Stale(it.d)
		r.release(it)
	}
	return 0, false
}

// reclaim takes over, within a second, what was handed back and what nobody has
// renewed for a lease; the log knows when to look, and when lapsed leases may not
// be judged yet.
func (r *Role) reclaim(ctx context.Context, sub *subscription) {
	for ctx.Err() == nil {
		if err := sub.Log.AwaitReclaim(ctx); err != nil {
			r.store(sub, "reclaim", err)
			continue
		}
		for ctx.Err() == nil && r.reclaimOnce(ctx, sub) { // one look takes a bounded number
		}
	}
}

// reclaimOnce says whether there may be more to take over at once.
func (r *Role) reclaimOnce(ctx context.Context, sub *subscription) bool {
	room := 0
	if r.cfg.Function.Ready() {
		room = r.room(sub, guessBytes)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	asked := time.Now()
	taken, lost, err := sub.Log.Reclaim(ctx, func(id string) bool { return r.holds(sub, id) }, room)
	r.store(sub, "reclaim", err)
	for _, id := range lost {
		r.log.Error("a message was deleted from its stream before it had an outcome", "stream", sub.Stream, "id", id)
		r.cfg.Observer.Lost(sub.Subscription.Subscription, id)
	}
	r.admit(r.adopt(sub, taken), asked)
	return len(taken) > 0
}

// adopt holds what was taken over, but what a read has brought in the meantime.
func (r *Role) adopt(sub *subscription, taken []delivery.Reclaimed) []*item {
	r.mu.Lock()
	defer r.mu.Unlock()
	items := make([]*item, 0, len(taken))
	for _, t := range taken {
		if _, ours := sub.held[t.ID]; ours {
			continue // its begin answers with this grant
		}
		it := r.hold(sub, t.Entry, t.Grant)
		items = append(items, it)
		r.cfg.Observer.Reclaimed(it.d)
	}
	return items
}
