package sdktest_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func function(h func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error)) sdk.Function {
	return sdk.Function{Role: "test", Emits: []string{"other"}, Handler: sdk.HandlerFunc(h)}
}

func TestDeliverGivesTheMessageAndTheResult(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, function(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) {
		r, err := sdk.Result([]any{m.ID, m.Type, m.Stream, m.Attempt, m.Attribute("x"), string(m.Data)})
		if err != nil {
			return nil, err
		}
		return r, r.Emit("other", "other.do", 1, sdk.Attribute{Name: "subject", Value: "s"})
	}))
	r := h.Deliver("", sdktest.JSON("d"), sdktest.ID("i"), sdktest.Type("t"), sdktest.Attempt(3), sdktest.Attr("x", "y")).RequireDone(t)
	if want := `["i","t","test:tasks",3,"y","\"d\""]`; string(r.Data()) != want {
		t.Errorf("got %s, want %s", r.Data(), want)
	}
	var decoded []any
	if err := r.JSON(&decoded); err != nil || len(decoded) != 6 {
		t.Errorf("decoded as %v, %v", decoded, err)
	}
	e := r.Emissions()
	if len(e) != 1 || e[0].To != "other" || e[0].Type != "other.do" || string(e[0].Data) != "1" || e[0].Attributes[0].Value != "s" {
		t.Errorf("emissions %+v", e)
	}
	if r := h.Deliver("cm:events", sdktest.Raw(nil)); !strings.Contains(string(r.Data()), `"cm:events"`) {
		t.Errorf("on another stream: %s", r)
	}
}

func TestResultsTellTheVerdicts(t *testing.T) {
	t.Parallel()
	errs := map[string]error{
		"retry": sdk.RetryAfter(time.Second, errors.New("busy")), "dead": sdk.Permanent(errors.New("bad")),
		"snooze": sdk.Snooze(time.Minute), "drop": sdk.Drop("old"),
	}
	h := sdktest.New(t, function(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) { return nil, errs[m.Type] }))
	for verdict, want := range map[sdktest.Verdict]string{
		sdktest.Retry: "retry: busy (*errors.errorString)", sdktest.Dead: "dead: bad (*errors.errorString)",
		sdktest.Snooze: "snooze: snoozed for 1m0s", sdktest.Drop: "drop: old", sdktest.Done: `done: ""`,
	} {
		r := h.Deliver("", nil, sdktest.Type(string(verdict))).Require(t, verdict)
		if r.String() != want {
			t.Errorf("%s, want %s", r, want)
		}
	}
	if r := h.Deliver("", nil, sdktest.Type("retry")); r.After() != time.Second {
		t.Errorf("after %s", r.After())
	}
}

func TestStateIsKeptBetweenMessagesAndConflictsRunAgain(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, function(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		v, err := sdk.State(ctx, "counter")
		if err != nil {
			return nil, err
		}
		text, _ := v.Get("n")
		n, _ := strconv.Atoi(text)
		v.Set("n", strconv.Itoa(n+1))
		c, err := sdk.Cache(ctx)
		if err != nil {
			return nil, err
		}
		return nil, c.Set("last", map[string]string{"n": text}, time.Minute)
	}))
	h.SetState("counter", map[string]string{"n": "100"})
	const messages = 50
	var all sync.WaitGroup
	for range messages {
		all.Go(func() { h.Deliver("", nil) })
	}
	all.Wait()
	if n := h.State("counter")["n"]; n != "150" {
		t.Errorf("after 100 and %d messages the counter is at %q", messages, n)
	}
	if h.Cache("last") == nil || h.State("nothing") != nil {
		t.Errorf("cache %v, state that was never set %v", h.Cache("last"), h.State("nothing"))
	}
	h.SetState("counter", nil)
	h.Deliver("", nil).RequireDone(t)
	if n := h.State("counter")["n"]; n != "1" {
		t.Errorf("after its removal the counter is at %q", n)
	}
}

func TestTheFunctionIsConfiguredAndClosed(t *testing.T) {
	t.Parallel()
	var got sdk.Settings
	closed := false
	f := function(func(context.Context, *sdk.Message) (*sdk.Reply, error) { return nil, nil })
	f.Configure = func(_ context.Context, s sdk.Settings) error { got = s; return nil }
	f.Close = func(context.Context) error { closed = true; return nil }
	t.Run("inner", func(t *testing.T) {
		sdktest.New(t, f, sdktest.Settings(map[string]int{"a": 1}), sdktest.Concurrency(3)).Deliver("", nil)
		if _, err := os.Stat(got.StateDir); err != nil || string(got.JSON) != `{"a":1}` || got.Concurrency != 3 {
			t.Errorf("configured with %+v (%v)", got, err)
		}
	})
	if !closed {
		t.Error("Close was not called by the end of the test")
	}
}

func TestTimeoutEndsTheHandler(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, function(func(ctx context.Context, _ *sdk.Message) (*sdk.Reply, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	r := h.Deliver("", nil, sdktest.Timeout(10*time.Millisecond)).Require(t, sdktest.Retry)
	if kind, _ := r.Error(); kind != "timeout" {
		t.Errorf("%s", r)
	}
}
