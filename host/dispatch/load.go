package dispatch

import (
	"context"
	"errors"
	"sync"

	"github.com/fnhost/fnhost/host/delivery"
)

// loadWorkers is how many loads of keyed state and cache are read at once.
const loadWorkers = 8

// maxLoads is how many are read with one look.
const maxLoads = 64

// loadQueue holds the loads that wait for a worker. It is bounded by what the
// function has: a handler waits for its load.
type loadQueue struct {
	mu    sync.Mutex
	loads []delivery.Load
	wake  chan struct{}
}

func (q *loadQueue) put(loads []delivery.Load) {
	q.mu.Lock()
	q.loads = append(q.loads, loads...)
	q.mu.Unlock()
	wake(q.wake)
}

func (q *loadQueue) take() []delivery.Load {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.loads), maxLoads)
	loads := q.loads[:n:n]
	if q.loads = q.loads[n:]; len(q.loads) > 0 {
		wake(q.wake) // there is work for another
	}
	return loads
}

// Loads takes the function's requests for state and cache. It never blocks.
func (r *Role) Loads(loads []delivery.Load) { r.loads.put(loads) }

// load answers loads, those that came together with one look at the store.
func (r *Role) load(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.loads.wake:
		}
		for loads := r.loads.take(); len(loads) > 0; loads = r.loads.take() {
			r.loaded(r.answer(ctx, loads))
		}
	}
}

func (r *Role) answer(ctx context.Context, loads []delivery.Load) []delivery.Loaded {
	var log Log
	answers := make([]delivery.Loaded, 0, len(loads))
	wanted := make([]delivery.Load, 0, len(loads))
	r.mu.Lock()
	for _, load := range loads {
		if it := r.out[load.Delivery]; it != nil {
			log = it.sub.Log // each of them knows the role's state
			wanted = append(wanted, load)
		} else {
			answers = append(answers, delivery.Loaded{Request: load.Request, Err: errors.New("the delivery has ended")})
		}
	}
	r.mu.Unlock()
	if len(wanted) == 0 {
		return answers
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	read := log.Load(ctx, wanted...)
	r.starve(wanted, read)
	return append(answers, read...)
}

// starve notes whose handlers will not get what they asked for, because the store
// does not answer.
func (r *Role) starve(loads []delivery.Load, answers []delivery.Loaded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, answer := range answers {
		if it := r.out[loads[i].Delivery]; it != nil && answer.Unavailable {
			it.starved = true
		}
	}
}
