package sdk_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

func TestDeliveriesStartInOrderUpToTheConcurrency(t *testing.T) {
	t.Parallel()
	const concurrency, total = 3, 60
	gate := make(chan struct{})
	var running, most atomic.Int32
	h := start(t, handler(func(context.Context, *sdk.Message) (*sdk.Reply, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-gate
		return nil, nil
	}), concurrency)
	h.deliver(1, total)
	for end := time.Now().Add(20 * time.Second); most.Load() < concurrency && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	for range total {
		gate <- struct{}{}
	}
	for n := uint64(1); n <= total; n++ {
		h.outcome(n)
	}
	if most.Load() != concurrency {
		t.Errorf("%d handlers ran at once, want exactly %d", most.Load(), concurrency)
	}
}

func TestOneAtATimeKeepsTheOrder(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(context.Context, *sdk.Message) (*sdk.Reply, error) { return nil, nil }), 1)
	const total = 500
	h.deliver(1, total)
	h.outcome(total)
	for i, n := range h.order {
		if n != uint64(i+1) {
			t.Fatalf("place %d has delivery %d", i+1, n)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	started := make(chan uint64, 10)
	h := start(t, handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		started <- m.Fence
		<-ctx.Done()
		switch m.Data[0] {
		case 1:
			return nil, ctx.Err()
		case 2:
			return nil, sdk.Permanent(context.Cause(ctx))
		case 3:
			return nil, sdk.Permanent(errPlain)
		case 4:
			return &sdk.Reply{Data: []byte("in spite of it")}, nil
		case 5:
			return nil, errors.New("driver: interrupted")
		}
		return nil, context.Cause(ctx)
	}), 6)
	h.deliver(1, 8) // 7 and 8 wait
	for range 6 {
		receive(t, "a start", started)
	}
	h.worker.Cancel(cancel(7, fnhostv1.CancelCause_CANCEL_CAUSE_STOP), cancel(99, fnhostv1.CancelCause_CANCEL_CAUSE_STOP))
	if h.outcome(7).GetNotStarted() == nil {
		t.Errorf("cancelled before the start: %v", h.outcome(7))
	}
	stop, lost, timeout := fnhostv1.CancelCause_CANCEL_CAUSE_STOP, fnhostv1.CancelCause_CANCEL_CAUSE_LOST_LEASE, fnhostv1.CancelCause_CANCEL_CAUSE_TIMEOUT
	h.worker.Cancel(cancel(1, stop), cancel(2, lost), cancel(3, stop), cancel(4, lost), cancel(5, stop), cancel(6, timeout))
	for _, n := range []uint64{1, 2, 5} {
		if h.outcome(n).GetInterrupted() == nil {
			t.Errorf("delivery %d gave up: %v, want interrupted", n, h.outcome(n))
		}
	}
	if h.outcome(3).GetDead() == nil || string(h.outcome(4).GetDone().GetResult()) != "in spite of it" {
		t.Errorf("verdicts in spite of the cancel: %v, %v; want them kept", h.outcome(3), h.outcome(4))
	}
	if h.outcome(6).GetRetry().GetError().GetType() != "timeout" {
		t.Errorf("cancelled for its time: %v", h.outcome(6))
	}
	if n := receive(t, "the start of the next one", started); n != 8 {
		t.Errorf("%d started, want 8", n)
	}
	h.worker.Cancel(cancel(8, stop))
	h.outcome(8)
}

func cancel(n uint64, cause fnhostv1.CancelCause) *fnhostv1.Cancel {
	return &fnhostv1.Cancel{Delivery: n, Cause: cause}
}

func TestTheTimeLimitBeginsWithTheHandler(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	causes := make(chan error, 2)
	h := start(t, handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		if m.Data[0] == 1 {
			<-gate
			return nil, nil
		}
		if m.Data[0] == 2 {
			return nil, ctx.Err() // nil: it waited longer than its limit
		}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, ctx.Err()
	}), 1)
	waits, late := delivery(2), delivery(3)
	waits.TimeoutMs, late.TimeoutMs = uint32(patience.Milliseconds()), 20
	h.worker.Deliver(delivery(1), waits, late)
	time.AfterFunc(50*time.Millisecond, func() { close(gate) })
	if h.outcome(2).GetDone() == nil {
		t.Errorf("the one that waited: %v", h.outcome(2))
	}
	if e := h.outcome(3).GetRetry().GetError(); e.GetType() != "timeout" {
		t.Errorf("the one that ran too long: %v, want a retry of type timeout", h.outcome(3))
	}
	if cause := receive(t, "the cause", causes); !errors.Is(cause, sdk.ErrTimeout) {
		t.Errorf("the cause was %v", cause)
	}
	if h.outcome(3).GetHandlerUs() < 20_000 {
		t.Errorf("the handler ran for %d µs, want at least 20 ms", h.outcome(3).GetHandlerUs())
	}
}

// A handler waits for state that the host does not send, another ignores its
// context, a third waits to start: cancels, deliveries and answers still go through.
func TestTheReadLoopWaitsForNobody(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	h := start(t, handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		switch m.Data[0] {
		case 1:
			<-stuck
			return nil, nil
		case 9:
			return nil, nil
		}
		_, err := sdk.State(ctx, "k")
		return nil, err
	}), 3)
	h.deliver(1, 5)
	first, second := receive(t, "a load", h.loads), receive(t, "a load", h.loads)
	h.worker.Cancel(cancel(4, fnhostv1.CancelCause_CANCEL_CAUSE_STOP), cancel(5, fnhostv1.CancelCause_CANCEL_CAUSE_STOP))
	if h.outcome(4).GetNotStarted() == nil || h.outcome(5).GetNotStarted() == nil {
		t.Errorf("cancelled while all handlers wait: %v, %v", h.outcome(4), h.outcome(5))
	}
	h.worker.Cancel(cancel(first.GetDelivery(), fnhostv1.CancelCause_CANCEL_CAUSE_LOST_LEASE))
	if h.outcome(first.GetDelivery()).GetInterrupted() == nil {
		t.Errorf("cancelled while it loads: %v", h.outcome(first.GetDelivery()))
	}
	h.worker.Loaded(&fnhostv1.Loaded{Request: first.GetRequest()}) // too late, and of no concern
	h.worker.Loaded(&fnhostv1.Loaded{Request: second.GetRequest()})
	if h.outcome(second.GetDelivery()).GetDone() == nil {
		t.Errorf("answered while another is stuck: %v", h.outcome(second.GetDelivery()))
	}
	h.deliver(9, 9)
	if h.outcome(9).GetDone() == nil {
		t.Errorf("delivered while another is stuck: %v", h.outcome(9))
	}
	if h.has(1) {
		t.Error("the stuck one has an outcome")
	}
	close(stuck)
	h.outcome(1)
}

// The host reads nothing, so that the function's writer waits: what the host
// sends is still heard.
func TestTheReadLoopDoesNotWaitForTheWriter(t *testing.T) {
	t.Parallel()
	heard, waits := make(chan error, 1), make(chan struct{})
	h := serve(t, handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		if m.Data[0] != 200 {
			return &sdk.Reply{Data: make([]byte, 4<<20)}, nil
		}
		close(waits)
		<-ctx.Done()
		heard <- context.Cause(ctx)
		return nil, ctx.Err()
	}))
	h.configure(4)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	stream, err := fnhostv1.NewFunctionClient(h.conn).Work(ctx)
	if err != nil {
		t.Fatal(err)
	}
	send := func(f *fnhostv1.HostFrame) {
		if err := stream.Send(f); err != nil {
			t.Error(err)
		}
	}
	frame := &fnhostv1.HostFrame{}
	for n := uint64(1); n <= 20; n++ {
		frame.Deliver = append(frame.Deliver, delivery(n))
	}
	frame.Deliver = append(frame.Deliver, delivery(200))
	send(frame)
	receive(t, "the last one to start", waits)
	send(&fnhostv1.HostFrame{Cancel: []*fnhostv1.Cancel{cancel(200, fnhostv1.CancelCause_CANCEL_CAUSE_LOST_LEASE)}})
	if cause := receive(t, "the cancel", heard); !errors.Is(cause, sdk.ErrLostLease) {
		t.Errorf("cause %v", cause)
	}
}

func TestHalfCloseFinishesAndCloses(t *testing.T) {
	t.Parallel()
	var closed atomic.Int32
	gate := make(chan struct{})
	f := handler(func(context.Context, *sdk.Message) (*sdk.Reply, error) {
		<-gate
		return nil, nil
	})
	f.Close = func(context.Context) error { closed.Add(1); return nil }
	h := start(t, f, 2)
	h.deliver(1, 5)
	h.worker.CloseSend()
	close(gate)
	receive(t, "the end", h.worker.Done())
	if err := h.worker.Err(); err != nil {
		t.Errorf("the end: %v", err)
	}
	for n := uint64(1); n <= 5; n++ {
		if !h.has(n) {
			t.Errorf("delivery %d has no outcome", n)
		}
	}
	if err := h.function.Stop(t.Context()); err != nil || closed.Load() != 1 {
		t.Errorf("Close was called %d times (%v), want once, before the stream ended", closed.Load(), err)
	}
}

func TestStopInterruptsAndAnswersAll(t *testing.T) {
	t.Parallel()
	started := make(chan struct{}, 1)
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}), 1)
	h.deliver(1, 3)
	receive(t, "a start", started)
	if err := h.function.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.outcome(1).GetInterrupted() == nil || h.outcome(2).GetNotStarted() == nil || h.outcome(3).GetNotStarted() == nil {
		t.Errorf("stopped: %v, %v, %v", h.outcome(1), h.outcome(2), h.outcome(3))
	}
}

func TestABrokenStreamStopsTheHandlers(t *testing.T) {
	t.Parallel()
	causes, started := make(chan error, 1), make(chan struct{})
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		close(started)
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil, nil
	}), 1)
	h.deliver(1, 1)
	receive(t, "a start", started)
	_ = h.conn.Close()
	if cause := receive(t, "the end of the context", causes); !errors.Is(cause, sdk.ErrStop) {
		t.Errorf("cause %v", cause)
	}
	receive(t, "the host's end", h.worker.Done())
	if h.worker.Err() == nil {
		t.Error("the host's end says nothing")
	}
}
