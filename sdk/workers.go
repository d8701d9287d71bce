package sdk

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// wake finds a worker for one more queued delivery: one that waits, or a new
// one up to the limit, or else the first that is free. The mutex is held.
func (w *work) wake() {
	switch {
	case w.waiting > 0:
		w.waiting--
		w.ready.Signal()
	case w.workers < w.limit:
		w.workers++
		go w.worker()
	}
}

// worker runs one delivery after another.
func (w *work) worker() {
	defer w.leave() // also when a handler ends the goroutine
	for {
		r := w.next()
		if r == nil {
			return
		}
		w.run(r)
	}
}

// leave counts a worker out.
func (w *work) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.workers--
	switch {
	case len(w.queue) > 0:
		w.wake()
	case w.closed && w.workers == 0:
		close(w.idle)
	}
}

// next waits for a delivery and starts it, nil when there will be none.
func (w *work) next() *running {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) == 0 {
		if w.closed {
			return nil
		}
		w.waiting++
		w.ready.Wait()
	}
	r := w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	r.start(w.ctx)
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
	defer r.limit()() // the last to run: the outcome asks why the context ended
	defer func() {
		if !returned {
			err = &panicError{value: recover(), stack: string(debug.Stack())}
		}
		w.finish(r, replies, err)
	}()
	r.message = newMessage(r.delivery)
	replies, err = r.handle(w.handler)
	returned = true
}

// handle calls the handler with the message, or the messages, of the delivery,
// and gives a reply for each.
func (r *running) handle(h Handler) ([]*Reply, error) {
	more := r.delivery.GetMore()
	if len(more) == 0 {
		reply, err := h.Handle(r.ctx, r.message)
		return []*Reply{reply}, err
	}
	batch, ok := h.(BatchHandler)
	if !ok {
		return nil, fmt.Errorf("%d messages came at once, and the handler takes one", 1+len(more))
	}
	messages := make([]*Message, 0, 1+len(more))
	messages = append(messages, r.message)
	for _, d := range more {
		messages = append(messages, newMessage(d))
	}
	reply, err := batch.HandleBatch(r.ctx, messages)
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
	delete(w.active, r.delivery.GetNumber())
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
	return r.outcome(replies, err, context.Cause(r.ctx))
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
		delete(w.active, r.delivery.GetNumber())
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
