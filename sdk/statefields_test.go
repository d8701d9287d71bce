package sdk_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// partialWrites are what a handler does to the state of version 7 of which it
// has asked for the fields a, which is 1, and z, which is not there.
var partialWrites = []struct {
	name   string
	change func(v *sdk.StateValue)
	want   string
}{
	{"nothing", func(*sdk.StateValue) {}, ``},
	{"the same", func(v *sdk.StateValue) { v.Set("a", "1"); v.Remove("z") }, ``},
	{"set", func(v *sdk.StateValue) { v.Set("a", "2"); v.Set("b", "3") },
		`state:{key:"k" version:"7" set:{name:"a" value:"2"} set:{name:"b" value:"3"}}`},
	{"remove one that was loaded and one that was not", func(v *sdk.StateValue) { v.Remove("a"); v.Remove("b") },
		`state:{key:"k" version:"7" remove:"a" remove:"b"}`},
	{"remove and set again", func(v *sdk.StateValue) { v.Remove("b"); v.Set("b", "4") },
		`state:{key:"k" version:"7" set:{name:"b" value:"4"}}`},
	{"delete", func(v *sdk.StateValue) { v.Delete() }, `state:{key:"k" version:"7" delete:true}`},
	{"replace", func(v *sdk.StateValue) { v.Delete(); v.Set("a", "1") },
		`state:{key:"k" version:"7" set:{name:"a" value:"1"} delete:true}`},
}

func TestAFewFieldsOfAKey(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		v, err := sdk.State(ctx, "k", "a", "z")
		if err != nil {
			return nil, err
		}
		a, hasA := v.Get("a")
		if _, hasZ := v.Get("z"); a != "1" || !hasA || hasZ || len(v.Fields()) != 1 {
			return nil, fmt.Errorf("read as %+v", v)
		}
		partialWrites[m.Data[0]].change(v)
		return nil, nil
	}), 1)
	for i, test := range partialWrites {
		h.deliver(uint64(i), uint64(i))
		l := receive(t, "a load", h.loads)
		if got := fmt.Sprintf("%s", l.GetFields()); l.GetStateKey() != "k" || got != "[a z]" {
			t.Fatalf("load %v", l)
		}
		h.worker.Loaded(&fnhostv1.Loaded{Request: l.GetRequest(), Version: "7", Found: true, Fields: fields("a", "1")})
		want := &fnhostv1.Done{}
		if err := prototext.Unmarshal([]byte(test.want), want); err != nil {
			t.Fatal(err)
		}
		if got := h.outcome(uint64(i)); got.GetDone() == nil || prototext.Format(got.GetDone()) != prototext.Format(want) {
			t.Errorf("%s: %v, want %v", test.name, got, want)
		}
	}
}

// readMore asks for further fields of a key that it has begun to change.
func readMore(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
	v, err := sdk.State(ctx, "k", "a")
	if err != nil {
		return nil, err
	}
	v.Set("a", "9")
	v.Remove("c")
	if again, err := sdk.State(ctx, "k", "a"); err != nil || again != v {
		return nil, fmt.Errorf("what is known was read again: %w", err)
	}
	if _, err := sdk.State(ctx, "k"); err != nil {
		return nil, err
	}
	if a, _ := v.Get("a"); a != "9" || len(v.Fields()) != 2 {
		return nil, fmt.Errorf("now %v", v.Fields())
	}
	return nil, nil
}

func TestFurtherFieldsKeepWhatWasChanged(t *testing.T) {
	t.Parallel()
	h := start(t, handler(readMore), 1)
	h.deliver(1, 1)
	l := receive(t, "a load", h.loads)
	h.worker.Loaded(&fnhostv1.Loaded{Request: l.GetRequest(), Version: "7", Found: true, Fields: fields("a", "1")})
	l = receive(t, "a load of the rest", h.loads)
	h.worker.Loaded(&fnhostv1.Loaded{Request: l.GetRequest(), Version: "7", Found: true, Fields: fields("a", "1", "b", "2", "c", "3")})
	done := h.outcome(1).GetDone()
	if len(done.GetState()) != 1 || len(done.GetState()[0].GetSet()) != 1 || fmt.Sprintf("%s", done.GetState()[0].GetRemove()) != "[c]" {
		t.Errorf("outcome %v", h.outcome(1))
	}
}

// Two reads that saw two versions of a key are no state at all: the message runs
// again, uncharged.
func TestAKeyThatChangesBetweenTwoReadsRunsTheMessageAgain(t *testing.T) {
	t.Parallel()
	h := start(t, handler(readMore), 1)
	h.deliver(1, 1)
	l := receive(t, "a load", h.loads)
	h.worker.Loaded(&fnhostv1.Loaded{Request: l.GetRequest(), Version: "7", Found: true, Fields: fields("a", "1")})
	l = receive(t, "a load of the rest", h.loads)
	h.worker.Loaded(&fnhostv1.Loaded{Request: l.GetRequest(), Version: "8", Found: true, Fields: fields("a", "2")})
	if o := h.outcome(1); o.GetSnooze() == nil || o.GetSnooze().GetAfterMs() != 0 {
		t.Errorf("outcome %v, want a snooze of nothing", o)
	}
}

func TestAFieldThatWasNotLoadedCannotBeRead(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		v, err := sdk.State(ctx, "k", "a")
		if err == nil {
			v.Get("b")
		}
		return nil, err
	}), 1)
	h.deliver(1, 1)
	l := receive(t, "a load", h.loads)
	h.worker.Loaded(&fnhostv1.Loaded{Request: l.GetRequest()})
	if e := h.outcome(1).GetRetry().GetError(); e.GetType() != "panic" || e.GetMessage() != `sdk: field "b" of state "k" was not loaded: name it in State(ctx, key, fields...)` {
		t.Errorf("outcome %v", h.outcome(1))
	}
}

func TestSeveralKeysAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		values, err := sdk.States(ctx, sdk.StateKey{Key: "a"}, sdk.StateKey{Key: "b", Fields: []string{"x"}}, sdk.StateKey{Key: "c"})
		if err != nil {
			return nil, err
		}
		again, err := sdk.State(ctx, "b", "x") // is known, and not asked for
		if err != nil || again != values[1] {
			return nil, sdk.Permanent(fmt.Errorf("again: %v, %v", again, err))
		}
		for i, v := range values {
			v.Set("x", v.Key()+v.Version()+fmt.Sprint(i, v.Found()))
		}
		return nil, nil
	}), 1)
	h.deliver(1, 1)
	asked := map[string]*fnhostv1.Load{} // all of them, before any has its answer
	for range 3 {
		l := receive(t, "a load", h.loads)
		asked[l.GetStateKey()] = l
	}
	h.worker.Loaded(&fnhostv1.Loaded{Request: asked["c"].GetRequest()})
	h.worker.Loaded(&fnhostv1.Loaded{Request: asked["b"].GetRequest(), Version: "8", Found: true},
		&fnhostv1.Loaded{Request: asked["a"].GetRequest(), Version: "7", Found: true})
	var got []string
	for _, w := range h.outcome(1).GetDone().GetState() {
		got = append(got, w.GetKey()+" "+w.GetVersion()+" "+string(w.GetSet()[0].GetValue()))
	}
	if want := "[a 7 a70 true b 8 b81 true c  c2 false]"; fmt.Sprint(got) != want {
		t.Errorf("written %v, want %s", got, want)
	}
}

func TestOfSeveralKeysOneCannotBeRead(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		_, err := sdk.States(ctx, sdk.StateKey{Key: "a"}, sdk.StateKey{Key: "b"})
		return nil, err
	}), 1)
	h.deliver(1, 1)
	for range 2 {
		l := receive(t, "a load", h.loads)
		answer := &fnhostv1.Loaded{Request: l.GetRequest()}
		if l.GetStateKey() == "b" {
			answer.Error = "WRONGTYPE"
		}
		h.worker.Loaded(answer)
	}
	if said := h.outcome(1).GetRetry().GetError().GetMessage(); !strings.Contains(said, `reading state "b": WRONGTYPE`) {
		t.Errorf("the outcome says %q", said)
	}
}
