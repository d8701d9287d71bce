package dispatch

import (
	"context"
	"errors"
	"time"

	goretry "github.com/sethvargo/go-retry"

	"github.com/fnhost/fnhost/host/delivery"
)

const (
	// storeTimeout bounds one call to the store.
	storeTimeout = 10 * time.Second
	// maxRead is the most entries that one read asks for.
	maxRead = 512
	// guessBytes is how large an entry is taken to be before any was seen.
	guessBytes = 64 << 10
)

var errNotReady = errors.New("no healthy plugin; messages wait in the stream")

// read is a subscription's reader: it reads as much as there is room for, and
// takes the leases. After an error it looks for entries that the store handed
// out in an answer that never came.
func (r *Role) read(ctx context.Context, sub *subscription) {
	average, failures := guessBytes, 0
	for {
		count := r.awaitRoom(ctx, sub, average)
		if count == 0 {
			return
		}
		entries, err := sub.Log.Read(ctx, count)
		if ctx.Err() != nil && len(entries) == 0 {
			return
		}
		r.store(sub, "read", err)
		if err != nil {
			failures++
			r.recover(ctx, sub, failures)
			continue
		}
		failures = 0
		if len(entries) == 0 {
			continue
		}
		average = movingAverage(average, entries)
		r.cfg.Observer.Received(sub.Subscription.Subscription, entries)
		r.begin(ctx, sub, entries)
	}
}

// movingAverage follows the size of entries, so that a window in bytes can be
// read by a count.
func movingAverage(average int, entries []delivery.Entry) int {
	total := 0
	for i := range entries {
		total += entries[i].Bytes()
	}
	return max((average+3*total/len(entries))/4, 1)
}

// awaitRoom waits until the role may read, and says how much; 0 when ctx ends.
func (r *Role) awaitRoom(ctx context.Context, sub *subscription, average int) int {
	for {
		if ctx.Err() != nil {
			return 0
		}
		if r.cfg.Function.Ready() {
			if count := r.room(sub, average); count > 0 {
				return count
			}
		}
		select {
		case <-ctx.Done():
			return 0
		case <-sub.roomC:
		}
	}
}

// room is how many entries a subscription may read now: what the window has
// left, and never less than the subscription's own minimum share. Waiting for an
// eighth of the window keeps reads large when the function is slower than the
// stream.
func (r *Role) room(sub *subscription, average int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return 0
	}
	size := r.window.size
	held, bytes := 0, 0
	for _, s := range r.subs {
		held += len(s.held)
		bytes += s.bytes
	}
	held -= len(r.delays) + min(r.suspects.len(), maxSuspects) // they have bounds of their own
	bytes -= min(r.suspects.bytes, maxSuspectBytes)
	share := max(size/(2*len(r.subs)), 1)
	room := max(size-held, share-len(sub.held))
	if room < max(size/8, 1) {
		return 0
	}
	if bytes > 0 { // an empty window takes any one message, however large
		room = min(room, (MaxWindowBytes-bytes)/average)
	}
	return max(min(room, maxRead, max(MaxWindowBytes/average, 1)), 0)
}

// recover pauses, longer with each failure in a row, waits until the store
// answers again, and takes what a lost answer to a read has left with us.
func (r *Role) recover(ctx context.Context, sub *subscription, failures int) {
	pause := time.NewTimer(min(20*time.Millisecond<<min(failures, 6), time.Second))
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return
	case <-pause.C:
	}
	pauses := goretry.WithCappedDuration(time.Second, goretry.NewExponential(50*time.Millisecond))
	var entries []delivery.Entry
	err := goretry.Do(ctx, pauses, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		var err error
		entries, err = sub.Log.Reconcile(ctx, func(id string) bool { return r.holds(sub, id) })
		r.store(sub, "reconcile", err)
		return goretry.RetryableError(err)
	})
	if err == nil && len(entries) > 0 {
		r.begin(ctx, sub, entries)
	}
}

// begin takes the leases of entries that are new to us, and admits those that
// are ours. A drain does not cut it short, so that what was read is handed back;
// but with the store gone it does not wait: what has no lease yet is anybody's
// as soon as it has been idle for one.
func (r *Role) begin(ctx context.Context, sub *subscription, entries []delivery.Entry) {
	items := r.reserve(sub, entries)
	if len(items) == 0 {
		return
	}
	fresh := make([]delivery.Entry, len(items))
	for i, it := range items {
		fresh[i] = it.d.Entry
	}
	var leases []delivery.Lease
	var asked time.Time
	begin := func(context.Context) (err error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		asked = time.Now()
		leases, err = sub.Log.Begin(ctx, fresh)
		r.store(sub, "begin", err)
		return err
	}
	if begin(ctx) != nil && !r.insist(ctx, sub, "begin", begin) {
		r.forget(items) // they are in our PEL: reconciled when the store answers
		return
	}
	granted := items[:0]
	var others []*item
	for i, it := range items {
		if leases[i].Status == delivery.Granted {
			it.d.Grant = leases[i].Grant
			granted = append(granted, it)
		} else {
			others = append(others, it)
		}
	}
	r.forget(others)
	r.admit(granted, asked)
}

// reserve notes entries as ours before their leases are asked for, so that the
// reclaimer does not take them too.
func (r *Role) reserve(sub *subscription, entries []delivery.Entry) []*item {
	items := make([]*item, 0, len(entries))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range entries {
		if _, ours := sub.held[entries[i].ID]; ours {
			continue
		}
		items = append(items, r.hold(sub, entries[i], delivery.Grant{}))
	}
	return items
}

func (r *Role) hold(sub *subscription, entry delivery.Entry, grant delivery.Grant) *item {
	it := &item{sub: sub, bytes: entry.Bytes(), d: &delivery.Delivery{Stream: sub.Stream, Entry: entry, Grant: grant}}
	sub.held[entry.ID] = it
	sub.bytes += it.bytes
	r.renews.begin()
	r.watches.begin()
	return it
}

// forget drops reservations.
func (r *Role) forget(items []*item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, it := range items {
		r.release(it)
	}
}

func (r *Role) holds(sub *subscription, id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ours := sub.held[id]
	return ours
}

// store notes whether the store works, for readiness: for each operation by
// itself, since a store that is out of memory refuses some and not others.
func (r *Role) store(sub *subscription, operation string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	r.mu.Lock()
	before := len(sub.trouble)
	if err != nil {
		sub.trouble[operation] = err
	} else if before > 0 {
		delete(sub.trouble, operation)
	}
	after := len(sub.trouble)
	r.mu.Unlock()
	switch {
	case before == 0 && after > 0:
		r.log.Warn("the store does not answer; reading is paused", "stream", sub.Stream, "operation", operation, "error", err)
	case before > 0 && after == 0:
		r.log.Info("the store answers again", "stream", sub.Stream)
	}
	if err != nil {
		r.cfg.Observer.StoreError(sub.Subscription.Subscription, operation, err)
	}
}
