package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/sdk/sdktest"
)

func TestProbeWritesItsExecutionsDown(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "executions")
	h := sdktest.New(t, function(), sdktest.Settings(map[string]any{"executions": file}))
	h.Deliver("", []byte(`{}`)).RequireDone(t)
	h.Deliver("", []byte(`{"fail":"panic"}`), sdktest.Attempt(2)).Require(t, sdktest.Retry)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []execution
	for line := range strings.Lines(string(text)) {
		var e execution
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, e)
	}
	if len(got) != 4 {
		t.Fatalf("%d lines, want a begin and an end of each of two runs:\n%s", len(got), text)
	}
	for i, want := range []execution{{Event: "begin", Attempt: 1}, {Event: "end", Attempt: 1}, {Event: "begin", Attempt: 2}, {Event: "end", Attempt: 2}} {
		e := got[i]
		if e.Event != want.Event || e.Attempt != want.Attempt || e.PID != os.Getpid() || e.Entry == "" || e.At < got[0].At {
			t.Errorf("line %d is %+v, want %s of attempt %d", i+1, e, want.Event, want.Attempt)
		}
	}
	if got[0].Fence == got[2].Fence || got[0].Fence != got[1].Fence {
		t.Errorf("fences %d, %d, %d: want one for each run", got[0].Fence, got[1].Fence, got[2].Fence)
	}
}
