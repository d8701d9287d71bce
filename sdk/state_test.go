package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

func fields(pairs ...string) (all []*fnhostv1.Attribute) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, &fnhostv1.Attribute{Name: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

// stateWrites are what a handler does to the state {a: 1, b: 2} of version 7, and
// what is written.
var stateWrites = []struct {
	name   string
	change func(v *sdk.StateValue)
	want   string
}{
	{"nothing", func(*sdk.StateValue) {}, ``},
	{"the same", func(v *sdk.StateValue) { v.Set("a", "1") }, ``},
	{"there and back", func(v *sdk.StateValue) { v.Delete(); v.Set("b", "2"); v.Set("a", "1") }, ``},
	{"set", func(v *sdk.StateValue) { v.Set("a", "9"); v.Set("c", "\xff") },
		`state:{key:"k" version:"7" set:{name:"a" value:"9"} set:{name:"c" value:"\xff"}}`},
	{"remove", func(v *sdk.StateValue) { v.Remove("a"); v.Remove("z") }, `state:{key:"k" version:"7" remove:"a"}`},
	{"delete", func(v *sdk.StateValue) { v.Delete() }, `state:{key:"k" version:"7" delete:true}`},
	{"replace", func(v *sdk.StateValue) { v.Delete(); v.Set("c", "3") },
		`state:{key:"k" version:"7" set:{name:"c" value:"3"} remove:"a" remove:"b"}`},
	{"JSON", func(v *sdk.StateValue) {
		var n int
		_ = v.Decode("b", &n)
		_ = v.Encode("b", []int{n, n})
	}, `state:{key:"k" version:"7" set:{name:"b" value:"[2,2]"}}`},
}

func TestStateWritesWhatChanged(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		v, err := sdk.State(ctx, "k")
		if err != nil {
			return nil, err
		}
		if again, _ := sdk.State(ctx, "k"); again != v || v.Key() != "k" || !v.Found() || v.Version() != "7" || len(v.Fields()) != 2 {
			return nil, fmt.Errorf("read as %+v", v)
		}
		stateWrites[m.Data[0]].change(v)
		return nil, nil
	}), 1)
	for i, test := range stateWrites {
		h.deliver(uint64(i), uint64(i))
		l := receive(t, "a load", h.loads)
		if l.GetStateKey() != "k" || l.GetDelivery() != uint64(i) {
			t.Fatalf("load %v", l)
		}
		h.worker.Loaded(&fnhostv1.Loaded{Request: l.GetRequest(), Version: "7", Found: true, Fields: fields("a", "1", "b", "2")})
		want := &fnhostv1.Done{}
		if err := prototext.Unmarshal([]byte(test.want), want); err != nil {
			t.Fatal(err)
		}
		if got := h.outcome(uint64(i)); got.GetDone() == nil || prototext.Format(got.GetDone()) != prototext.Format(want) {
			t.Errorf("%s: %v, want %v", test.name, got, want)
		}
	}
}

func TestNewStateHasNoVersion(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		v, err := sdk.State(ctx, "new")
		if err != nil {
			return nil, err
		}
		if _, ok := v.Get("n"); ok || v.Found() {
			return nil, errors.New("there is something")
		}
		v.Set("n", "1")
		if got, ok := v.Get("n"); !ok || got != "1" {
			return nil, errors.New("its own change is not seen")
		}
		return nil, nil
	}), 1)
	h.deliver(1, 1)
	h.worker.Loaded(&fnhostv1.Loaded{Request: receive(t, "a load", h.loads).GetRequest()})
	w := h.outcome(1).GetDone().GetState()
	if len(w) != 1 || w[0].GetVersion() != "" || w[0].GetKey() != "new" || len(w[0].GetSet()) != 1 {
		t.Errorf("%v", h.outcome(1))
	}
}

func TestStateThatCannotBeReadIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		_, err := sdk.State(ctx, "k")
		return nil, err
	}), 1)
	h.deliver(1, 1)
	h.worker.Loaded(&fnhostv1.Loaded{Request: receive(t, "a load", h.loads).GetRequest(), Error: "redis is \xff down"})
	if m := h.outcome(1).GetRetry().GetError().GetMessage(); m != `reading state "k": redis is � down` {
		t.Errorf("%v", h.outcome(1))
	}
}

func TestStateEndsWithTheHandler(t *testing.T) {
	t.Parallel()
	kept := make(chan context.Context, 1)
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		if _, err := sdk.State(ctx, "\xff"); err == nil {
			return nil, errors.New("a key that the wire cannot carry was taken")
		}
		kept <- context.WithoutCancel(ctx)
		return nil, nil
	}), 1)
	h.deliver(1, 1)
	if h.outcome(1).GetDone() == nil {
		t.Fatal(h.outcome(1))
	}
	for _, ctx := range []context.Context{receive(t, "the context", kept), t.Context()} {
		_, stateErr := sdk.State(ctx, "k")
		_, cacheErr := sdk.Cache(ctx)
		if !errors.Is(stateErr, sdk.ErrNoDelivery) || !errors.Is(cacheErr, sdk.ErrNoDelivery) {
			t.Errorf("State: %v, Cache: %v; want ErrNoDelivery", stateErr, cacheErr)
		}
	}
}

func TestCacheReadsAtOnceAndWritesWithTheOutcome(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		c, err := sdk.Cache(ctx)
		if err != nil {
			return nil, err
		}
		have, found, err := c.Get(ctx, "a")
		if err != nil || !found || have["x"] != "1" {
			return nil, fmt.Errorf("read %v, %v, %w", have, found, err)
		}
		if c.Set("b", map[string]string{"y": "2"}, 0) == nil || c.Set("b", nil, time.Second) == nil {
			return nil, errors.New("a write without ttl or without fields was taken")
		}
		if err := errors.Join(c.Set("b", map[string]string{"y": "2"}, 1500*time.Millisecond), c.Delete("a")); err != nil {
			return nil, err
		}
		own, ok, _ := c.Get(ctx, "b")
		_, deleted, _ := c.Get(ctx, "a")
		if !ok || own["y"] != "2" || deleted {
			return nil, errors.New("its own changes are not seen")
		}
		return nil, nil
	}), 1)
	h.deliver(1, 1)
	l := receive(t, "a load", h.loads)
	if l.GetCacheKey() != "a" {
		t.Errorf("load %v", l)
	}
	h.worker.Loaded(&fnhostv1.Loaded{Request: l.GetRequest(), Found: true, Fields: fields("x", "1")})
	want := &fnhostv1.Done{Cache: []*fnhostv1.CacheWrite{{Key: "a"}, {Key: "b", TtlMs: 1500, Set: fields("y", "2")}}}
	if got := h.outcome(1); got.GetDone() == nil || prototext.Format(got.GetDone()) != prototext.Format(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTraceParent(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		return &sdk.Reply{Data: []byte(sdk.TraceParent(ctx))}, nil
	}), 1)
	good, bad := delivery(1), delivery(2)
	good.Traceparent = "00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01"
	want := good.GetTraceparent()
	bad.Traceparent = "\xff"
	h.worker.Deliver(good, bad)
	if got := string(h.outcome(1).GetDone().GetResult()); got != want {
		t.Errorf("got %q", got)
	}
	if got := h.outcome(2).GetDone(); got == nil || len(got.GetResult()) > 0 {
		t.Errorf("a trace context that is not text: %v", h.outcome(2))
	}
}
