package sdktest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// An Option changes a message before it is delivered.
type Option func(*fnhostv1.Delivery)

// Attr adds an attribute, as `subject` or one of your own.
func Attr(name, value string) Option {
	return func(d *fnhostv1.Delivery) {
		d.Attributes = append(d.Attributes, &fnhostv1.Attribute{Name: []byte(name), Value: []byte(value)})
	}
}

// Type gives the message its type.
func Type(messageType string) Option { return Attr("type", messageType) }

// ID gives the message the id of its producer.
func ID(id string) Option { return Attr("id", id) }

// Attempt makes it the nth attempt; 1 unless it is given.
func Attempt(n int) Option { return func(d *fnhostv1.Delivery) { d.Attempt = uint32(n) } }

// Timeout is the handler's time limit, at least a millisecond; none unless it is given.
func Timeout(limit time.Duration) Option {
	return func(d *fnhostv1.Delivery) { d.TimeoutMs = max(1, uint32(limit.Milliseconds())) }
}

// Deliver has the function handle one message and gives what became of it. The
// stream may be "": the role's first input stream. A run whose state was changed
// by another message meanwhile is repeated, as a host would.
func (h *Harness) Deliver(stream string, data []byte, opts ...Option) *Result {
	h.t.Helper()
	return h.DeliverBatch(stream, In(data, opts...))[0]
}

// An Input is one message for [Harness.DeliverBatch].
type Input struct {
	data    []byte
	options []Option
}

// In gives a message of data and options.
func In(data []byte, opts ...Option) Input { return Input{data, opts} }

// DeliverBatch has the function handle several messages together, as a host may
// do with those of one partitionkey, if [sdk.Function.Batch] is set. It gives what
// became of each. A batch that fails is not run again one by one: its failure is
// every message's result.
func (h *Harness) DeliverBatch(stream string, messages ...Input) []*Result {
	h.t.Helper()
	if len(messages) > 1 && h.description.GetPolicies().GetBatch() < 2 {
		h.t.Fatalf("sdktest: %d messages together for a function without Function.Batch", len(messages))
	}
	for {
		o := h.run(stream, messages)
		if done := o.GetDone(); done == nil || h.store.commit(done) {
			return h.results(o, len(messages))
		}
	}
}

// results gives each message its part of the outcome.
func (h *Harness) results(o *fnhostv1.Outcome, n int) []*Result {
	h.t.Helper()
	all := []*Result{{outcome: o}}
	parts := o.GetDone().GetParts()
	if o.GetDone() != nil && len(parts) != n-1 {
		h.t.Fatalf("sdktest: the outcome of a batch of %d messages has %d further parts", n, len(parts))
	}
	for i := range n - 1 {
		one := o
		if o.GetDone() != nil {
			done := &fnhostv1.Done{Result: parts[i].GetResult(), ContentType: parts[i].GetContentType(), Emissions: parts[i].GetEmissions()}
			one = &fnhostv1.Outcome{Delivery: o.GetDelivery(), Verdict: &fnhostv1.Outcome_Done{Done: done}, HandlerUs: o.GetHandlerUs()}
		}
		all = append(all, &Result{outcome: one})
	}
	return all
}

// run delivers once.
func (h *Harness) run(stream string, messages []Input) *fnhostv1.Outcome {
	h.t.Helper()
	to := make(chan *fnhostv1.Outcome, 1)
	d := h.delivery(stream, messages, to)
	h.worker.Deliver(d)
	select {
	case o := <-to:
		return o
	case <-h.worker.Done():
		h.t.Fatalf("sdktest: the function ended: %v", h.worker.Err())
	case <-time.After(patience):
		h.t.Fatalf("sdktest: no outcome within %s", patience)
	}
	return nil
}

// delivery makes one of the messages, whose outcome is sent to to.
func (h *Harness) delivery(stream string, messages []Input, to chan *fnhostv1.Outcome) *fnhostv1.Delivery {
	var first *fnhostv1.Delivery
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range messages {
		h.next++
		d := &fnhostv1.Delivery{
			Stream: cmp.Or(stream, h.firstStream()), EntryId: fmt.Sprintf("%d-0", h.next), Data: m.data, Attempt: 1, Fence: h.next,
		}
		for _, o := range m.options {
			o(d)
		}
		if first == nil {
			first, d.Number = d, h.next
			h.waiting[d.Number] = to
			continue
		}
		first.More = append(first.More, d)
	}
	return first
}

func (h *Harness) firstStream() string {
	if s := h.description.GetSubscriptions(); len(s) > 0 {
		return s[0].GetStream()
	}
	return h.role + ":tasks"
}

// A Verdict is what became of a message.
type Verdict string

// The verdicts that a handler can reach.
const (
	Done   Verdict = "done"
	Retry  Verdict = "retry"  // failed, to be tried again
	Snooze Verdict = "snooze" // put off, not charged
	Dead   Verdict = "dead"   // for the dead letters
	Drop   Verdict = "drop"   // acknowledged without a result's data
)

// A Result is what became of one message.
type Result struct{ outcome *fnhostv1.Outcome }

// Verdict says which way the message went.
func (r *Result) Verdict() Verdict {
	switch r.outcome.GetVerdict().(type) {
	case *fnhostv1.Outcome_Done:
		return Done
	case *fnhostv1.Outcome_Retry:
		return Retry
	case *fnhostv1.Outcome_Snooze:
		return Snooze
	case *fnhostv1.Outcome_Dead:
		return Dead
	case *fnhostv1.Outcome_Drop:
		return Drop
	}
	return Verdict(fmt.Sprintf("%T", r.outcome.GetVerdict()))
}

// Data gives the result's data.
func (r *Result) Data() []byte { return r.outcome.GetDone().GetResult() }

// JSON decodes the result's data into v.
func (r *Result) JSON(v any) error {
	if err := json.Unmarshal(r.Data(), v); err != nil {
		return fmt.Errorf("decoding the result %.200q: %w", r.Data(), err)
	}
	return nil
}

// Emissions gives the entries for other streams.
func (r *Result) Emissions() []sdk.Emission {
	var all []sdk.Emission
	for _, w := range r.outcome.GetDone().GetEmissions() {
		e := sdk.Emission{To: w.GetTo(), Data: w.GetData()}
		if w.GetNotBefore() > 0 {
			e.NotBefore = time.UnixMilli(int64(w.GetNotBefore()))
		}
		for _, a := range w.GetAttributes() {
			if string(a.GetName()) == "type" && e.Type == "" {
				e.Type = string(a.GetValue())
				continue
			}
			e.Attributes = append(e.Attributes, sdk.Attribute{Name: string(a.GetName()), Value: string(a.GetValue())})
		}
		all = append(all, e)
	}
	return all
}

// Error gives type and message of the error of a retry or a dead message.
func (r *Result) Error() (errorType, message string) {
	e := cmp.Or(r.outcome.GetRetry().GetError(), r.outcome.GetDead().GetError())
	return e.GetType(), e.GetMessage()
}

// Reason gives the reason of a snooze or a drop.
func (r *Result) Reason() string {
	return cmp.Or(r.outcome.GetDrop().GetReason(), r.outcome.GetSnooze().GetReason())
}

// After gives how long the next attempt is to wait: what the handler asked for,
// 0 if it did not.
func (r *Result) After() time.Duration {
	ms := max(r.outcome.GetRetry().GetAfterMs(), r.outcome.GetSnooze().GetAfterMs())
	return time.Duration(ms) * time.Millisecond
}

// Outcome gives what went over the wire.
func (r *Result) Outcome() *fnhostv1.Outcome { return r.outcome }

// String says in words what became of the message.
func (r *Result) String() string {
	if kind, message := r.Error(); message != "" {
		return fmt.Sprintf("%s: %s (%s)", r.Verdict(), message, kind)
	}
	if reason := r.Reason(); reason != "" {
		return fmt.Sprintf("%s: %s", r.Verdict(), reason)
	}
	return fmt.Sprintf("%s: %.200q", r.Verdict(), r.Data())
}

// RequireDone fails the test unless the message is done.
func (r *Result) RequireDone(t testing.TB) *Result {
	t.Helper()
	return r.Require(t, Done)
}

// Require fails the test unless the message went this way.
func (r *Result) Require(t testing.TB, want Verdict) *Result {
	t.Helper()
	if r.Verdict() != want {
		t.Fatalf("the message is %s, want %s", r, want)
	}
	return r
}
