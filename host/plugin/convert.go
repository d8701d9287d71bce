package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"
	"unsafe"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// errNoVerdict is a breach of the contract: the verdict is always set.
var errNoVerdict = errors.New("an outcome without a verdict")

// toWire writes deliveries as the function gets them. They are allocated together
// and share the text of the originals, which must not change: strings do not.
func toWire(deliveries []*delivery.Delivery) []*fnhostv1.Delivery {
	memory, wire := make([]fnhostv1.Delivery, len(deliveries)), make([]*fnhostv1.Delivery, len(deliveries))
	fields := 0
	for _, d := range deliveries {
		fields += len(d.Message.Attributes)
	}
	attributes := make([]fnhostv1.Attribute, fields/2)
	pointers := make([]*fnhostv1.Attribute, fields/2)
	for i, d := range deliveries {
		w, n := &memory[i], len(d.Message.Attributes)/2
		w.Number, w.Stream, w.EntryId, w.Data = d.Number, d.Stream, d.Entry.ID, bytesOf(d.Message.Data)
		w.Attempt, w.Fence = uint32(d.Grant.Attempt), d.Grant.Fence
		w.TimeoutMs, w.Traceparent = toMillis(d.Timeout), d.Trace
		w.Attributes = pair(d.Message.Attributes, attributes[:n], pointers[:n:n])
		attributes, pointers = attributes[n:], pointers[n:]
		if len(d.More) > 0 {
			w.More = toWire(d.More)
		}
		wire[i] = w
	}
	return wire
}

// attributesOf pairs names and values that come in turn.
func attributesOf(fields []string) []*fnhostv1.Attribute {
	n := len(fields) / 2
	return pair(fields, make([]fnhostv1.Attribute, n), make([]*fnhostv1.Attribute, n))
}

// pair pairs names and values in memory for as many, and gives the pointers to it.
func pair(fields []string, memory []fnhostv1.Attribute, pointers []*fnhostv1.Attribute) []*fnhostv1.Attribute {
	for i := range pointers {
		memory[i].Name, memory[i].Value = bytesOf(fields[2*i]), bytesOf(fields[2*i+1])
		pointers[i] = &memory[i]
	}
	return pointers
}

// bytesOf gives text as bytes, which must not be changed, without a copy.
func bytesOf(text string) []byte { return unsafe.Slice(unsafe.StringData(text), len(text)) }

func fieldsOf(attributes []*fnhostv1.Attribute) []string {
	fields := make([]string, 0, 2*len(attributes)+2) // an emission adds its data
	for _, a := range attributes {
		fields = append(fields, string(a.GetName()), string(a.GetValue()))
	}
	return fields
}

// toMillis rounds up: a short limit is not none.
func toMillis(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32(min((d-1)/time.Millisecond+1, math.MaxUint32))
}

func fromMillis(ms uint64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

func fromMicros(us uint64) time.Duration {
	return time.Duration(min(us, math.MaxInt64/uint64(time.Microsecond))) * time.Microsecond
}

// toCancels writes a cancel for each delivery.
func toCancels(numbers []uint64, cause delivery.Cause) []*fnhostv1.Cancel {
	wire := map[delivery.Cause]fnhostv1.CancelCause{
		delivery.CauseStop:      fnhostv1.CancelCause_CANCEL_CAUSE_STOP,
		delivery.CauseLostLease: fnhostv1.CancelCause_CANCEL_CAUSE_LOST_LEASE,
		delivery.CauseTimeout:   fnhostv1.CancelCause_CANCEL_CAUSE_TIMEOUT,
	}[cause]
	cancels := make([]*fnhostv1.Cancel, len(numbers))
	for i, n := range numbers {
		cancels[i] = &fnhostv1.Cancel{Delivery: n, Cause: wire}
	}
	return cancels
}

// fromWire reads an outcome. It fails with errNoVerdict.
func fromWire(o *fnhostv1.Outcome) (delivery.Reply, error) {
	r := delivery.Reply{Number: o.GetDelivery(), Started: true, Took: fromMicros(o.GetHandlerUs())}
	switch v := o.GetVerdict().(type) {
	case *fnhostv1.Outcome_Done:
		r.Verdict = delivery.Done
		readDone(&r, v.Done)
	case *fnhostv1.Outcome_Retry:
		r.Verdict, r.Error = delivery.Retry, readError(v.Retry.GetError())
		r.After, r.HasAfter = fromMillis(v.Retry.GetAfterMs()), v.Retry.AfterMs != nil
	case *fnhostv1.Outcome_Snooze:
		r.Verdict, r.After = delivery.Snooze, fromMillis(v.Snooze.GetAfterMs())
		r.Error = delivery.Error{Type: "snooze", Message: v.Snooze.GetReason()}
	case *fnhostv1.Outcome_Dead:
		r.Verdict, r.Error = delivery.Dead, readError(v.Dead.GetError())
	case *fnhostv1.Outcome_Drop:
		r.Verdict, r.Error = delivery.Drop, delivery.Error{Type: "dropped", Message: v.Drop.GetReason()}
	case *fnhostv1.Outcome_NotStarted:
		r.Verdict, r.Started = delivery.NotStarted, false
	case *fnhostv1.Outcome_Interrupted:
		r.Verdict = delivery.Interrupted
	default:
		return r, fmt.Errorf("%w for delivery %d", errNoVerdict, r.Number)
	}
	return r, nil
}

func readDone(r *delivery.Reply, d *fnhostv1.Done) {
	r.Result, r.ContentType = d.GetResult(), contentType(d.GetContentType())
	r.Emissions = readEmissions(d.GetEmissions())
	for _, p := range d.GetParts() {
		r.Parts = append(r.Parts, delivery.Part{
			Result: p.GetResult(), ContentType: contentType(p.GetContentType()), Emissions: readEmissions(p.GetEmissions()),
		})
	}
	for _, s := range d.GetState() {
		r.State = append(r.State, delivery.StateWrite{
			Key: s.GetKey(), Version: s.GetVersion(), Set: fieldsOf(s.GetSet()),
			Remove: stringsOf(s.GetRemove()), Delete: s.GetDelete(),
		})
	}
	for _, c := range d.GetCache() {
		r.Cache = append(r.Cache, delivery.CacheWrite{
			Key: c.GetKey(), Set: fieldsOf(c.GetSet()), TTL: fromMillis(c.GetTtlMs()),
		})
	}
}

func contentType(said string) string { return cmp.Or(said, "application/json") }

func readEmissions(wire []*fnhostv1.Emission) (emissions []delivery.Emission) {
	for _, e := range wire {
		emission := delivery.Emission{To: e.GetTo(), Fields: append(fieldsOf(e.GetAttributes()), "data", string(e.GetData()))}
		if ms := e.GetNotBefore(); ms > 0 {
			emission.NotBefore = time.UnixMilli(int64(min(ms, maxUnixMillis)))
		}
		emissions = append(emissions, emission)
	}
	return emissions
}

// maxUnixMillis is in the year 9999: later is as good as never.
const maxUnixMillis = 253402300799999

func readError(e *fnhostv1.Error) delivery.Error {
	return delivery.Error{
		Type: cmp.Or(e.GetType(), "unknown"), Message: cmp.Or(e.GetMessage(), "the function gave no reason"), Detail: e.GetDetail(),
	}
}

func stringsOf(values [][]byte) []string {
	var s []string
	for _, v := range values {
		s = append(s, string(v))
	}
	return s
}

// fromLoad reads a request for keyed state or cache, under the host's number.
func fromLoad(l *fnhostv1.Load, number uint64) delivery.Load {
	load := delivery.Load{Request: number, Delivery: l.GetDelivery(), Fields: stringsOf(l.GetFields())}
	switch what := l.GetWhat().(type) {
	case *fnhostv1.Load_StateKey:
		load.Key = what.StateKey
	case *fnhostv1.Load_CacheKey:
		load.Key, load.Cache = what.CacheKey, true
	}
	return load
}

// toLoaded writes the answer to a load, under the function's own number.
func toLoaded(l *delivery.Loaded, number uint64) *fnhostv1.Loaded {
	answer := &fnhostv1.Loaded{Request: number, Version: l.Version, Found: l.Found, Fields: attributesOf(l.Fields)}
	if l.Err != nil {
		answer.Error = l.Err.Error()
	}
	return answer
}
