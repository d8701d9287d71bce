package dispatch

import (
	"context"
	"time"
)

// A beat is a loop that ticks only while the role holds something. Its fields are
// guarded by the role's mu.
type beat struct {
	asleep bool
	wakeC  chan struct{} // signalled when it was asleep and is to tick again
}

func newBeat() beat { return beat{wakeC: make(chan struct{}, 1)} }

// begin has it tick, if it does not. It costs a wake only then: a message now and
// then does not have it start and stop each time.
func (b *beat) begin() {
	if b.asleep {
		b.asleep = false
		wake(b.wakeC)
	}
}

// whileHeld does something at every interval while the role holds something, and
// when it is asked to at once. The last time is one at which nothing was held.
func (r *Role) whileHeld(ctx context.Context, b *beat, every time.Duration, atOnce <-chan struct{}, do func(time.Time)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		now := time.Now()
		select {
		case <-ctx.Done():
			return
		case <-b.wakeC:
			ticker.Reset(every)
			continue
		case now = <-ticker.C:
		case <-atOnce:
		}
		held := r.Held()
		do(now)
		if held == 0 && r.rest(b) {
			ticker.Stop()
		}
	}
}

// rest has the beat sleep, if nothing is held still.
func (r *Role) rest(b *beat) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b.asleep = r.heldLocked() == 0
	return b.asleep
}
