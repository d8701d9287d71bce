package sdk

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// call calls one more worker to the queue, if there is something in it: one that
// waits, or a new one up to the limit. Only one is called at a time, and calls the
// next when it comes: so a handler that blocks lets the next delivery start at
// once, and handlers that return quickly are all run by a worker that is awake
// already. The mutex is held.
func (w *work) call() {
	switch {
	case w.coming || len(w.queue) == 0:
		return
	case w.waiting > 0:
		w.waiting--
		w.ready.Signal()
	case w.workers < w.limit:
		w.workers++
		go w.worker()
	default:
		return
	}
	w.coming = true
}

// worker runs one delivery after another.
func (w *work) worker() {
	defer w.leave() // also when a handler ends the goroutine
	for r := w.first(); r != nil; r = w.next() {
		w.run(r)
	}
}

// leave counts a worker out.
func (w *work) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.workers--
	w.call()
	if w.closed && w.workers == 0 {
		close(w.idle)
	}
}

// first is next for a worker that was called.
func (w *work) first() *running {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.coming = false
	return w.take()
}

// next waits for a delivery and starts it, nil when there will be none.
func (w *work) next() *running {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take()
}

// take is next; the mutex is held, but not while it waits.
func (w *work) take() *running {
	for len(w.queue) == 0 {
		if w.closed {
			return nil
		}
		w.waiting++
		w.ready.Wait()
		w.coming = false
	}
	r := w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	r.start(w.ctx)
	w.call()
	return r
}

// run has the handler handle one delivery and sends its outcome, whatever the
// handler does.
func (w *work) run(r *running) {
	var (
		replies  []*Reply
		err      error
		returned bool
	)
	defer func() {
		if !returned {
			err = &panicError{value: recover(), stack: string(debug.Stack())}
		}
		w.finish(r, replies, err)
	}()
	r.read()
	replies, err = r.handle(w.handler)
	returned = true
}

// handle calls the handler with the message, or the messages, of the delivery,
// and gives a reply for each.
func (r *running) handle(h Handler) (_ []*Reply, err error) {
	if len(r.more) == 0 {
		r.replies[0], err = h.Handle(&r.ctx, &r.message)
		return r.replies[:], err
	}
	messages := append([]*Message{&r.message}, r.more...)
	batch, ok := h.(BatchHandler)
	if !ok {
		return nil, fmt.Errorf("%d messages came at once, and the handler takes one", len(messages))
	}
	reply, err := batch.HandleBatch(&r.ctx, messages)
	switch {
	case err != nil:
		return nil, err
	case reply == nil:
		return make([]*Reply, len(messages)), nil
	case len(reply.Replies) != len(messages):
		return nil, fmt.Errorf("HandleBatch gave %d replies to %d messages", len(reply.Replies), len(messages))
	}
	return reply.Replies, nil
}

func (w *work) finish(r *running, replies []*Reply, err error) {
	took := time.Since(r.started)
	o := r.judge(replies, err)
	r.end()
	o.HandlerUs = uint64(took.Microseconds())
	w.mu.Lock()
	delete(w.active, r.number)
	w.mu.Unlock()
	w.send(r, o)
}

// judge gives the outcome even when what the handler returned cannot be asked,
// as an error that is a nil pointer.
func (r *running) judge(replies []*Reply, err error) (o *fnhostv1.Outcome) {
	defer func() {
		if v := recover(); v != nil {
			o = &fnhostv1.Outcome{}
			failed(o, &panicError{value: v, stack: string(debug.Stack())})
		}
	}()
	if err == nil {
		return r.done(replies)
	}
	return r.failure(err)
}

// close lets no further delivery in; those that are queued still start.
func (w *work) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut()
}

// stop ends all that runs and answers all that waits as not started.
func (w *work) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.queue {
		delete(w.active, r.number)
		w.notStarted(r)
	}
	w.queue = nil
	w.cancel(ErrStop)
	w.shut()
}

func (w *work) shut() {
	if w.closed {
		return
	}
	w.closed = true
	w.waiting = 0
	w.ready.Broadcast()
	if w.workers == 0 {
		close(w.idle)
	}
}
