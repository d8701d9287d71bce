package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
	"github.com/fnhost/fnhost/sdk/internal/wire"
)

// Limits of what is said about an error, in bytes.
const (
	maxErrorMessage = 64 << 10
	maxErrorDetail  = 64 << 10
)

// Types of the errors that the sdk itself gives a name.
const (
	typePanic    = "panic"
	typeTimeout  = "timeout"
	typeOversize = "oversize"
)

// A panicError is what a handler that did not return left behind.
type panicError struct {
	value any // nil: the handler ended its goroutine
	stack string
}

func (e *panicError) Error() string {
	if e.value == nil {
		return "the handler ended its goroutine (runtime.Goexit)"
	}
	return fmt.Sprint(e.value)
}

// failure turns the handler's error into what the host is told.
func (r *running) failure(err error) *fnhostv1.Outcome {
	o := &fnhostv1.Outcome{}
	if cause := r.ctx.ended(); cause != nil && excused(err, cause) {
		endedBy(o, err, cause)
	} else {
		failed(o, err)
	}
	return o
}

// excused says whether an error is put down to the end of the context: it says
// so itself, or it is a plain error, which after the end of the context can be
// anything that the end led to.
func excused(err, cause error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cause) {
		return true
	}
	return !isVerdict(err)
}

func isVerdict(err error) bool {
	var (
		permanent *PermanentError
		after     *RetryAfterError
		snooze    *SnoozeError
		drop      *DropError
		panicked  *panicError
	)
	return errors.As(err, &permanent) || errors.As(err, &after) || errors.As(err, &snooze) ||
		errors.As(err, &drop) || errors.As(err, &panicked)
}

// endedBy is the verdict on a handler that gave up when its context ended: a
// timeout is its own doing and charged, everything else is not.
func endedBy(o *fnhostv1.Outcome, err, cause error) {
	if !errors.Is(cause, ErrTimeout) {
		o.Verdict = &fnhostv1.Outcome_Interrupted{Interrupted: &fnhostv1.Interrupted{}}
		return
	}
	o.Verdict = &fnhostv1.Outcome_Retry{Retry: &fnhostv1.Retry{Error: &fnhostv1.Error{
		Type: typeTimeout, Message: clip(fmt.Sprintf("%v: %v", ErrTimeout, err), maxErrorMessage),
	}}}
}

// failed is the verdict that an error stands for.
func failed(o *fnhostv1.Outcome, err error) {
	var (
		permanent *PermanentError
		after     *RetryAfterError
		snooze    *SnoozeError
		drop      *DropError
	)
	switch {
	case errors.As(err, &drop):
		o.Verdict = &fnhostv1.Outcome_Drop{Drop: &fnhostv1.Drop{Reason: clip(drop.Reason, maxErrorMessage)}}
	case errors.As(err, &snooze):
		o.Verdict = &fnhostv1.Outcome_Snooze{Snooze: &fnhostv1.Snooze{
			AfterMs: milliseconds(snooze.After), Reason: clip(err.Error(), maxErrorMessage),
		}}
	case errors.As(err, &permanent):
		o.Verdict = &fnhostv1.Outcome_Dead{Dead: &fnhostv1.Dead{Error: wireError(err)}}
	case errors.As(err, &after):
		ms := milliseconds(after.After)
		o.Verdict = &fnhostv1.Outcome_Retry{Retry: &fnhostv1.Retry{Error: wireError(err), AfterMs: &ms}}
	default:
		o.Verdict = &fnhostv1.Outcome_Retry{Retry: &fnhostv1.Retry{Error: wireError(err)}}
	}
}

func wireError(err error) *fnhostv1.Error {
	e := &fnhostv1.Error{Type: clip(errorType(err), 256), Message: clip(err.Error(), maxErrorMessage)}
	var panicked *panicError
	if errors.As(err, &panicked) {
		e.Type, e.Detail = typePanic, clip(panicked.stack, maxErrorDetail)
	}
	return e
}

// errorType names the first error in the chain that is more than a wrapping.
func errorType(err error) string {
	for {
		switch fmt.Sprintf("%T", err) {
		case "*fmt.wrapError", "*fmt.wrapErrors", "*errors.joinError", "*sdk.PermanentError", "*sdk.RetryAfterError":
			next := unwrapFirst(err)
			if next == nil {
				return fmt.Sprintf("%T", err)
			}
			err = next
		default:
			return fmt.Sprintf("%T", err)
		}
	}
}

func unwrapFirst(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok && len(many.Unwrap()) > 0 {
		return many.Unwrap()[0]
	}
	return errors.Unwrap(err)
}

// done is the outcome of a handler without an error, unless what it left behind
// cannot be carried. There is a reply for each message of the delivery.
func (r *running) done(replies []*Reply) *fnhostv1.Outcome {
	done := &wire.Done{}
	done.Join()
	o, d := &done.Outcome, &done.Done
	d.State, d.Cache = r.writes()
	for i, reply := range replies {
		if i > 0 {
			d.Parts = append(d.Parts, reply.part())
		} else if reply != nil {
			d.Result, d.ContentType, d.Emissions = reply.Data, reply.contentType(), reply.emissions()
		}
	}
	if problem := oversize(o, d); problem != "" {
		o.Verdict = &fnhostv1.Outcome_Dead{Dead: &fnhostv1.Dead{Error: &fnhostv1.Error{Type: typeOversize, Message: problem}}}
	}
	return o
}

// part is what one further message leaves behind; r may be nil.
func (r *Reply) part() *fnhostv1.Part {
	if r == nil {
		return &fnhostv1.Part{}
	}
	return &fnhostv1.Part{Result: r.Data, ContentType: r.contentType(), Emissions: r.emissions()}
}

func (r *Reply) contentType() string { return strings.ToValidUTF8(r.ContentType, "\uFFFD") }

func (r *Reply) emissions() (all []*fnhostv1.Emission) {
	for _, e := range r.Emissions {
		all = append(all, e.wire())
	}
	return all
}

func oversize(o *fnhostv1.Outcome, done *fnhostv1.Done) string {
	if problem := oversizePart(done); problem != "" {
		return problem
	}
	for _, p := range done.GetParts() {
		if problem := oversizePart(p); problem != "" {
			return problem
		}
	}
	if n := wire.OutcomeBytes(o); n > MaxMessageBytes-frameOverhead {
		return fmt.Sprintf("result, emissions, state and cache writes have %d bytes together, the limit is %d", n, MaxMessageBytes-frameOverhead)
	}
	return ""
}

func oversizePart(p interface {
	GetResult() []byte
	GetEmissions() []*fnhostv1.Emission
}) string {
	if n := len(p.GetResult()); n > MaxDataBytes {
		return fmt.Sprintf("the result's data has %d bytes, the limit is %d", n, MaxDataBytes)
	}
	for _, e := range p.GetEmissions() {
		if n := len(e.GetData()); n > MaxDataBytes {
			return fmt.Sprintf("the data of the emission to %s has %d bytes, the limit is %d", e.GetTo(), n, MaxDataBytes)
		}
	}
	return ""
}

// frameOverhead is room for what a frame and the outcome's other fields add.
const frameOverhead = 1 << 10

func (e *Emission) wire() *fnhostv1.Emission {
	w := &fnhostv1.Emission{To: strings.ToValidUTF8(e.To, "\uFFFD"), Data: e.Data}
	// Rounded up, never early; the zero time is long before 1970.
	if ms := e.NotBefore.Add(time.Millisecond - time.Nanosecond).UnixMilli(); ms > 0 {
		w.NotBefore = uint64(ms)
	}
	if e.Type != "" {
		w.Attributes = append(w.Attributes, attribute("type", e.Type))
	}
	for _, a := range e.Attributes {
		w.Attributes = append(w.Attributes, attribute(a.Name, a.Value))
	}
	return w
}

// clip makes text fit for the wire: UTF-8, and no longer than n bytes.
func clip(text string, n int) string {
	if len(text) > n {
		text = text[:n] + "... (cut)"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
