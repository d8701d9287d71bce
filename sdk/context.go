package sdk

import (
	"context"
	"sync"
	"time"
)

// handling is the context of a handler's run. It ends with ErrTimeout at its
// deadline, with the cause that the host gives, with that of its parent, or when
// the handler returns. Few handlers ask for its end, and a context with a timer
// costs as much as a small handler's run: so it is made when it is asked for.
type handling struct {
	parent   context.Context // of all runs of a stream
	run      *running
	deadline time.Time // zero: none

	mu      sync.Mutex
	cause   error           // why it ended, if that was before whole was made
	whole   context.Context // nil until asked for
	cancel  context.CancelCauseFunc
	release context.CancelFunc
}

type runningKey struct{}

// Deadline is when the handler's time is over.
func (h *handling) Deadline() (time.Time, bool) { return h.deadline, !h.deadline.IsZero() }

// Done is closed when the context ends.
func (h *handling) Done() <-chan struct{} { return h.make().Done() }

// Value gives the run, and what the parent has. Package context asks by it for
// the context that children and causes belong to.
func (h *handling) Value(key any) any {
	if key == (runningKey{}) {
		return h.run
	}
	return h.make().Value(key)
}

// Err says whether the context has ended.
func (h *handling) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.whole != nil {
		return h.whole.Err()
	}
	switch h.why() {
	case nil:
		return nil
	case ErrTimeout:
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// ended is why the context has ended, nil if it has not.
func (h *handling) ended() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.whole != nil {
		return context.Cause(h.whole)
	}
	return h.why()
}

// why is the first cause, until whole is made; once it is set it stays. The mutex
// is held.
func (h *handling) why() error {
	if h.cause == nil {
		h.cause = context.Cause(h.parent)
	}
	if h.cause == nil && !h.deadline.IsZero() && !time.Now().Before(h.deadline) {
		h.cause = ErrTimeout
	}
	return h.cause
}

// make gives the context that stands behind this one.
func (h *handling) make() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.whole != nil {
		return h.whole
	}
	h.whole, h.cancel = context.WithCancelCause(h.parent)
	switch cause := h.why(); {
	case cause == nil && h.deadline.IsZero():
	case cause == nil || cause == ErrTimeout:
		deadline := h.deadline
		if cause != nil {
			deadline = time.Time{} // the host may have said so before
		}
		h.whole, h.release = context.WithDeadlineCause(h.whole, deadline, ErrTimeout)
	default:
		h.cancel(cause)
	}
	return h.whole
}

// end ends the context, if it has not.
func (h *handling) end(cause error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.whole != nil {
		h.cancel(cause)
	} else if h.cause == nil {
		h.cause = cause
	}
}

// over ends the context because the run is over, and its timer.
func (h *handling) over() {
	h.end(context.Canceled)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.release != nil {
		h.release()
	}
}
