package dispatch

import (
	"context"
	"errors"
	"sync"

	"github.com/fnhost/fnhost/host/delivery"
)

// loadWorkers is how many loads of keyed state and cache are read at once.
const loadWorkers = 8

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

func (q *loadQueue) take() (load delivery.Load, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.loads) == 0 {
		return delivery.Load{}, false
	}
	load, q.loads = q.loads[0], q.loads[1:]
	if len(q.loads) > 0 {
		wake(q.wake) // there is work for another
	}
	return load, true
}

// Loads takes the function's requests for state and cache. It never blocks.
func (r *Role) Loads(loads []delivery.Load) { r.loads.put(loads) }

// load answers loads, one after another.
func (r *Role) load(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.loads.wake:
		}
		for {
			load, ok := r.loads.take()
			if !ok {
				break
			}
			r.cfg.Function.Loaded([]delivery.Loaded{r.answer(ctx, load)})
		}
	}
}

func (r *Role) answer(ctx context.Context, load delivery.Load) delivery.Loaded {
	r.mu.Lock()
	it := r.out[load.Delivery]
	r.mu.Unlock()
	if it == nil {
		return delivery.Loaded{Request: load.Request, Err: errors.New("the delivery has ended")}
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	loaded := it.sub.Log.Load(ctx, load)
	loaded.Request = load.Request
	return loaded
}
