package sdktest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

func greeter() sdk.Function {
	type greeting struct{ Name string }
	return sdk.Function{Name: "greeter", Role: "greet", Handler: sdk.JSON(func(ctx context.Context, g greeting, m *sdk.Message) (*sdk.Reply, error) {
		if g.Name == "" {
			return nil, sdk.Permanent(errors.New("nobody to greet"))
		}
		seen, err := sdk.State(ctx, "seen")
		if err != nil {
			return nil, err
		}
		var n int
		if err := seen.Decode("n", &n); err != nil && seen.Found() {
			return nil, err
		}
		if err := seen.Encode("n", n+1); err != nil {
			return nil, err
		}
		return sdk.Result(map[string]any{"hello": g.Name, "n": n + 1, "pid": os.Getpid()})
	})}
}

func TestStartRunsTheRealHost(t *testing.T) {
	h := sdktest.Start(t, greeter())
	got := h.Run([]byte(`{"name":"Ada"}`))
	if got.Status != "ok" || !strings.Contains(string(got.Data), `"hello":"Ada","n":1`) {
		t.Fatalf("answer %+v, want a greeting of Ada", got)
	}
	if strings.Contains(string(got.Data), fmt.Sprintf(`"pid":%d`, os.Getpid())) {
		t.Errorf("answer %s: the function ran in the test's own process", got.Data)
	}
	if got := h.Run([]byte(`{"name":"Bob"}`)); !strings.Contains(string(got.Data), `"n":2`) {
		t.Fatalf("answer %+v, want the state of the message before", got)
	}
	if got := h.Run([]byte(`{}`)); got.DeadReason != "permanent" || got.Error != "nobody to greet" {
		t.Fatalf("answer %+v, want a dead letter", got)
	}
	if got := h.Run([]byte(`{`)); got.DeadReason != "permanent" {
		t.Fatalf("answer %+v, want a dead letter", got)
	}
}
