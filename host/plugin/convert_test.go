package plugin

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

func attribute(name, value string) *fnhostv1.Attribute {
	return &fnhostv1.Attribute{Name: []byte(name), Value: []byte(value)}
}

func TestToWire(t *testing.T) {
	t.Parallel()
	d := &delivery.Delivery{
		Number: 7, Stream: "rag:tasks", Timeout: 1500 * time.Microsecond, Trace: "00-trace",
		Entry: delivery.Entry{ID: "5-1", Fields: []string{"b", "2", "type", "rag.query", "data", "\xff{}", "a", "\x00"}},
		Grant: delivery.Grant{Fence: 9, Attempt: 3},
	}
	d.Message = delivery.Read(&d.Entry)
	want := &fnhostv1.Delivery{
		Number: 7, Stream: "rag:tasks", EntryId: "5-1", Attempt: 3, Fence: 9, TimeoutMs: 2, Traceparent: "00-trace",
		Attributes: []*fnhostv1.Attribute{attribute("b", "2"), attribute("type", "rag.query"), attribute("a", "\x00")},
		Data:       []byte("\xff{}"),
	}
	if got := toWire([]*delivery.Delivery{d})[0]; !proto.Equal(got, want) {
		t.Errorf("%v", got)
	}
	d.More = []*delivery.Delivery{{Stream: "rag:tasks", Entry: delivery.Entry{ID: "5-2"}, Grant: delivery.Grant{Fence: 10, Attempt: 1}, Message: delivery.Message{Data: "2"}}}
	want.More = []*fnhostv1.Delivery{{Stream: "rag:tasks", EntryId: "5-2", Fence: 10, Attempt: 1, Data: []byte("2")}}
	if got := toWire([]*delivery.Delivery{d})[0]; !proto.Equal(got, want) {
		t.Errorf("a batch: %v", got)
	}
}

func TestFromWire(t *testing.T) {
	t.Parallel()
	failure := &fnhostv1.Error{Type: "io", Message: "broken", Detail: "stack"}
	kept := delivery.Error{Type: "io", Message: "broken", Detail: "stack"}
	none := delivery.Error{Type: "unknown", Message: "the function gave no reason"}
	for _, c := range []struct {
		in   *fnhostv1.Outcome
		want delivery.Reply
	}{
		{&fnhostv1.Outcome{HandlerUs: 1500, Verdict: &fnhostv1.Outcome_Done{Done: &fnhostv1.Done{
			Result:    []byte("r"),
			Emissions: []*fnhostv1.Emission{{To: "cm", Attributes: []*fnhostv1.Attribute{attribute("type", "t")}, Data: []byte("d")}},
			State:     []*fnhostv1.StateWrite{{Key: "k", Version: "3", Set: []*fnhostv1.Attribute{attribute("f", "v")}, Remove: [][]byte{[]byte("g")}, Delete: true}},
			Cache:     []*fnhostv1.CacheWrite{{Key: "c", Set: []*fnhostv1.Attribute{attribute("f", "v")}, TtlMs: 1000}},
		}}}, delivery.Reply{
			Verdict: delivery.Done, Started: true, Took: 1500 * time.Microsecond, Result: []byte("r"), ContentType: "application/json",
			Emissions: []delivery.Emission{{To: "cm", Fields: []string{"type", "t", "data", "d"}}},
			State:     []delivery.StateWrite{{Key: "k", Version: "3", Set: []string{"f", "v"}, Remove: []string{"g"}, Delete: true}},
			Cache:     []delivery.CacheWrite{{Key: "c", Set: []string{"f", "v"}, TTL: time.Second}},
		}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_Done{Done: &fnhostv1.Done{ContentType: "text/plain"}}},
			delivery.Reply{Verdict: delivery.Done, Started: true, ContentType: "text/plain"}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_Done{Done: &fnhostv1.Done{
			Emissions: []*fnhostv1.Emission{{To: "cm", NotBefore: 1234}},
			Parts:     []*fnhostv1.Part{{}, {Result: []byte("p"), ContentType: "text/plain", Emissions: []*fnhostv1.Emission{{To: "cm", NotBefore: math.MaxUint64}}}},
		}}}, delivery.Reply{
			Verdict: delivery.Done, Started: true, ContentType: "application/json",
			Emissions: []delivery.Emission{{To: "cm", Fields: []string{"data", ""}, NotBefore: time.UnixMilli(1234)}},
			Parts: []delivery.Part{{ContentType: "application/json"}, {Result: []byte("p"), ContentType: "text/plain",
				Emissions: []delivery.Emission{{To: "cm", Fields: []string{"data", ""}, NotBefore: time.UnixMilli(maxUnixMillis)}}}},
		}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_Retry{Retry: &fnhostv1.Retry{Error: failure}}},
			delivery.Reply{Verdict: delivery.Retry, Started: true, Error: kept}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_Retry{Retry: &fnhostv1.Retry{AfterMs: proto.Uint64(0)}}},
			delivery.Reply{Verdict: delivery.Retry, Started: true, Error: none, HasAfter: true}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_Snooze{Snooze: &fnhostv1.Snooze{AfterMs: 5, Reason: "busy"}}},
			delivery.Reply{Verdict: delivery.Snooze, Started: true, After: 5 * time.Millisecond, Error: delivery.Error{Type: "snooze", Message: "busy"}}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_Dead{Dead: &fnhostv1.Dead{Error: failure}}},
			delivery.Reply{Verdict: delivery.Dead, Started: true, Error: kept}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_Drop{Drop: &fnhostv1.Drop{Reason: "old"}}},
			delivery.Reply{Verdict: delivery.Drop, Started: true, Error: delivery.Error{Type: "dropped", Message: "old"}}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_NotStarted{}}, delivery.Reply{Verdict: delivery.NotStarted}},
		{&fnhostv1.Outcome{Verdict: &fnhostv1.Outcome_Interrupted{}}, delivery.Reply{Verdict: delivery.Interrupted, Started: true}},
	} {
		c.in.Delivery, c.want.Number = 4, 4
		if got, err := fromWire(c.in); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v\n got %+v, %v\nwant %+v", c.in, got, err, c.want)
		}
	}
	if _, err := fromWire(&fnhostv1.Outcome{}); !errors.Is(err, errNoVerdict) {
		t.Error(err)
	}
}

func TestTimesDoNotOverflow(t *testing.T) {
	t.Parallel()
	if d := fromMillis(math.MaxUint64); d <= 0 {
		t.Error(d)
	}
	if d := fromMicros(math.MaxUint64); d <= 0 {
		t.Error(d)
	}
	if ms := toMillis(math.MaxInt64); ms == 0 {
		t.Error(ms)
	}
	if ms := toMillis(-time.Second); ms != 0 {
		t.Error(ms)
	}
}

func TestCancelsAndLoads(t *testing.T) {
	t.Parallel()
	cancels := toCancels([]uint64{3}, delivery.CauseLostLease)
	if len(cancels) != 1 || cancels[0].GetDelivery() != 3 || cancels[0].GetCause() != fnhostv1.CancelCause_CANCEL_CAUSE_LOST_LEASE {
		t.Error(cancels)
	}
	load := fromLoad(&fnhostv1.Load{Request: 1, Delivery: 2, What: &fnhostv1.Load_CacheKey{CacheKey: "k"}, Fields: [][]byte{[]byte("f")}}, 9)
	if want := (delivery.Load{Request: 9, Delivery: 2, Key: "k", Cache: true, Fields: []string{"f"}}); !reflect.DeepEqual(load, want) {
		t.Errorf("%+v", load)
	}
	loaded := toLoaded(&delivery.Loaded{Request: 9, Found: true, Version: "2", Fields: []string{"f", "v"}, Err: errors.New("down")}, 1)
	want := &fnhostv1.Loaded{Request: 1, Found: true, Version: "2", Fields: []*fnhostv1.Attribute{attribute("f", "v")}, Error: "down"}
	if !proto.Equal(loaded, want) {
		t.Errorf("%v", loaded)
	}
}
