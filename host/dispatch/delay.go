package dispatch

import (
	"container/heap"
	"context"
	"slices"
	"time"
)

// delays are the messages that wait in memory for their next run, the one that
// is due first at the front.
type delays []*item

func (d delays) Len() int           { return len(d) }
func (d delays) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d delays) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push is heap.Interface's; use add.
func (d *delays) Push(x any) { *d = append(*d, x.(*item)) }

// Pop is heap.Interface's; use due.
func (d *delays) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

func (d *delays) add(it *item) { heap.Push(d, it) }

func (d *delays) remove(it *item) {
	if i := slices.Index(*d, it); i >= 0 {
		heap.Remove(d, i)
	}
}

// due takes the first item if its time has come, or says how long it is until then.
func (d *delays) due(now time.Time) (it *item, wait time.Duration) {
	if len(*d) == 0 {
		return nil, time.Hour
	}
	if wait := (*d)[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(d).(*item), 0
}

// tick makes delayed messages ready when they are due.
func (r *Role) tick(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.timerC:
		case <-timer.C:
		}
		timer.Reset(r.wakeDue())
		r.pump()
	}
}

// wakeDue queues all that is due, and says how long it is until the next.
func (r *Role) wakeDue() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		it, wait := r.delays.due(time.Now())
		if it == nil {
			return wait
		}
		if s := it.again; s != nil {
			it.again = nil
			r.settleLocked(*s)
			continue
		}
		r.queue(it)
	}
}
