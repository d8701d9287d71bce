package sdk

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
	"github.com/fnhost/fnhost/sdk/internal/wire"
)

// work is one Work stream. Its read loop takes what the host sends, its workers
// run the handler, its writer sends what they leave; none waits for another.
//
//	read loop -> queue -> workers -> outbox -> writer
type work struct {
	handler Handler
	stream  grpc.BidiStreamingServer[fnhostv1.HostFrame, fnhostv1.FunctionFrame]
	ctx     context.Context // of all handlers; ends with ErrStop
	cancel  context.CancelCauseFunc
	outbox  *wire.Outbox[outgoing]
	sent    chan struct{} // closed when the writer has ended
	idle    chan struct{} // closed when the queue is closed and the last worker has ended
	limit   int           // handlers at once

	mu      sync.Mutex
	ready   sync.Cond
	active  map[uint64]*running // all without an outcome, by number
	queue   []*running          // those that wait to start, in order of arrival
	workers int
	waiting int  // workers without a delivery
	coming  bool // a worker was called and has not come to the queue yet
	closed  bool // nothing more will start

	requests atomic.Uint64
	asked    sync.Map // request number -> chan *fnhostv1.Loaded
}

// outgoing is one of the things that a FunctionFrame carries.
type outgoing struct {
	outcome *fnhostv1.Outcome
	load    *fnhostv1.Load
}

func newWork(h Handler, stream grpc.BidiStreamingServer[fnhostv1.HostFrame, fnhostv1.FunctionFrame], limit int) *work {
	w := &work{
		handler: h, stream: stream, limit: limit, outbox: wire.NewOutbox[outgoing](),
		sent: make(chan struct{}), idle: make(chan struct{}), active: map[uint64]*running{},
	}
	w.ready.L = &w.mu
	// Of the stream's context only the end matters, and under a cause of ours.
	w.ctx, w.cancel = context.WithCancelCause(context.WithoutCancel(stream.Context()))
	go w.write()
	return w
}

// read takes frames until the host half-closes the stream (nil) or it breaks.
func (w *work) read() error {
	for {
		frame, err := w.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		w.accept(frame.GetDeliver())
		w.revoke(frame.GetCancel())
		for _, l := range frame.GetLoaded() {
			w.answer(l)
		}
	}
}

// accept queues deliveries for the workers.
func (w *work) accept(deliveries []*fnhostv1.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range deliveries {
		r := &running{work: w, number: d.GetNumber(), delivery: d}
		switch {
		case w.closed:
			w.notStarted(r)
		case w.active[d.GetNumber()] != nil:
			slog.Error("the host sent a delivery number twice; ignored", "delivery", d.GetNumber())
		default:
			w.active[d.GetNumber()] = r
			w.queue = append(w.queue, r)
		}
	}
	w.call()
}

func (w *work) send(r *running, o *fnhostv1.Outcome) {
	o.Delivery = r.number
	w.outbox.Put(wire.Item[outgoing]{Value: outgoing{outcome: o}, Bytes: wire.OutcomeBytes(o)})
}

func (w *work) notStarted(r *running) {
	w.send(r, &fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_NotStarted{NotStarted: &fnhostv1.NotStarted{}}})
}

// revoke cancels deliveries: one that waits gets its outcome now, one that runs
// has its context ended, one that has its outcome already is left alone.
func (w *work) revoke(cancels []*fnhostv1.Cancel) {
	if len(cancels) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	waiting := map[*running]bool{}
	for _, c := range cancels {
		r := w.active[c.GetDelivery()]
		switch {
		case r == nil:
		case !r.started.IsZero():
			r.ctx.end(causeOf(c.GetCause()))
		default:
			waiting[r] = true
			delete(w.active, c.GetDelivery())
			w.notStarted(r)
		}
	}
	if len(waiting) > 0 {
		w.queue = slices.DeleteFunc(w.queue, func(r *running) bool { return waiting[r] })
	}
}

func causeOf(c fnhostv1.CancelCause) error {
	switch c {
	case fnhostv1.CancelCause_CANCEL_CAUSE_LOST_LEASE:
		return ErrLostLease
	case fnhostv1.CancelCause_CANCEL_CAUSE_TIMEOUT:
		return ErrTimeout
	}
	return ErrStop
}

// ask sends loads to the host, in one frame; the answer to each comes on its
// channel.
func (w *work) ask(loads []*fnhostv1.Load) []<-chan *fnhostv1.Loaded {
	answers := make([]<-chan *fnhostv1.Loaded, len(loads))
	items := make([]wire.Item[outgoing], len(loads))
	for i, l := range loads {
		l.Request = w.requests.Add(1)
		answer := make(chan *fnhostv1.Loaded, 1) // so that the read loop never waits
		w.asked.Store(l.GetRequest(), answer)
		answers[i], items[i] = answer, wire.Item[outgoing]{Value: outgoing{load: l}, Bytes: proto.Size(l)}
	}
	w.outbox.Put(items...)
	return answers
}

// forget drops loads whose answers nobody waits for any more.
func (w *work) forget(loads []*fnhostv1.Load) {
	for _, l := range loads {
		w.asked.Delete(l.GetRequest())
	}
}

func (w *work) answer(l *fnhostv1.Loaded) {
	if answer, ok := w.asked.LoadAndDelete(l.GetRequest()); ok {
		answer.(chan *fnhostv1.Loaded) <- l
	}
}

// write sends frames until the outbox is closed and empty, or the stream breaks.
func (w *work) write() {
	defer close(w.sent)
	var batch []outgoing
	frame := &fnhostv1.FunctionFrame{}
	for {
		var more bool
		if batch, more = w.outbox.Next(batch[:0]); !more {
			return
		}
		frame.Outcome, frame.Load = frame.Outcome[:0], frame.Load[:0]
		for _, out := range batch {
			if out.outcome != nil {
				frame.Outcome = append(frame.Outcome, out.outcome)
			} else {
				frame.Load = append(frame.Load, out.load)
			}
		}
		if err := w.stream.Send(frame); err != nil {
			w.outbox.Discard()
			return
		}
		clear(batch) // what was sent may be large: keep none of it
		clear(frame.Outcome)
	}
}
