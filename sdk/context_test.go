package sdk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// A handler can ask its context in any way, and first at any time: the answers
// are the same.
func TestTheContextEndsHoweverItIsAsked(t *testing.T) {
	t.Parallel()
	poll := func(ctx context.Context) error {
		for end := time.Now().Add(patience); ctx.Err() == nil && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		return ctx.Err()
	}
	ways := []func(context.Context) error{
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		poll,
		func(ctx context.Context) error { _ = poll(ctx); <-ctx.Done(); return ctx.Err() },
		func(ctx context.Context) error {
			child, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			<-child.Done()
			return child.Err()
		},
		func(ctx context.Context) error {
			called := make(chan struct{})
			defer context.AfterFunc(context.WithValue(ctx, t, 1), func() { close(called) })()
			<-called
			return ctx.Err()
		},
	}
	for _, c := range []struct {
		name   string
		limit  uint32
		cancel fnhostv1.CancelCause
		err    error
		cause  error
	}{
		{"its time is over", 20, 0, context.DeadlineExceeded, sdk.ErrTimeout},
		{"the lease is lost", 0, fnhostv1.CancelCause_CANCEL_CAUSE_LOST_LEASE, context.Canceled, sdk.ErrLostLease},
		{"the host stops", uint32(patience.Milliseconds()), fnhostv1.CancelCause_CANCEL_CAUSE_STOP, context.Canceled, sdk.ErrStop},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			started := make(chan struct{}, len(ways))
			h := start(t, handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
				if _, ok := ctx.Deadline(); ok != (c.limit > 0) {
					t.Errorf("has a deadline: %v", ok)
				}
				started <- struct{}{}
				if err := ways[m.Data[0]](ctx); !errors.Is(err, c.err) {
					t.Errorf("way %d: error %v, want %v", m.Data[0], err, c.err)
				}
				if err, cause := ctx.Err(), context.Cause(ctx); !errors.Is(err, c.err) || !errors.Is(cause, c.cause) {
					t.Errorf("way %d: then %v, %v; want %v, %v", m.Data[0], err, cause, c.err, c.cause)
				}
				return nil, ctx.Err()
			}), uint32(len(ways)))
			for n := range ways {
				d := delivery(uint64(n))
				d.TimeoutMs = c.limit
				h.worker.Deliver(d)
			}
			for range ways {
				receive(t, "a start", started)
			}
			for n := range ways {
				if c.cancel != 0 {
					h.worker.Cancel(cancel(uint64(n), c.cancel))
				}
				if o := h.outcome(uint64(n)); (c.cause == sdk.ErrTimeout) != (o.GetRetry() != nil) {
					t.Errorf("way %d: %v", n, o)
				}
			}
		})
	}
}

// A handler that never asks is charged for its time all the same.
func TestAHandlerThatNeverAskedHasATimeout(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(context.Context, *sdk.Message) (*sdk.Reply, error) {
		time.Sleep(30 * time.Millisecond)
		return nil, errPlain
	}), 1)
	d := delivery(1)
	d.TimeoutMs = 10
	h.worker.Deliver(d)
	if e := h.outcome(1).GetRetry().GetError(); e.GetType() != "timeout" {
		t.Errorf("%v, want a timeout", h.outcome(1))
	}
}

func TestTheContextIsOverWithTheHandler(t *testing.T) {
	t.Parallel()
	kept := make(chan context.Context, 2)
	h := start(t, handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		if m.Data[0] == 1 {
			_ = ctx.Done()
		}
		kept <- ctx
		return nil, nil
	}), 1)
	h.deliver(1, 2)
	h.outcome(2)
	for range 2 {
		ctx := receive(t, "a context", kept)
		receive(t, "its end", ctx.Done())
		if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), context.Canceled) {
			t.Errorf("%v, %v", ctx.Err(), context.Cause(ctx))
		}
		if _, err := sdk.State(ctx, "k"); !errors.Is(err, sdk.ErrNoDelivery) {
			t.Errorf("state of a run that is over: %v", err)
		}
	}
}
