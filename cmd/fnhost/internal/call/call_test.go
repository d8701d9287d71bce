package call_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/call/calltest"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

var sub = topology.Default("echo").Subscriptions[0]

func TestDoGivesEachTaskItsOwnResult(t *testing.T) {
	t.Parallel()
	log := &calltest.Log{}
	log.Serve(sub, func(m delivery.Message) (string, string) { return "ok", m.Data })
	before, err := log.Publish(t.Context(), sub.Results, []string{"entryid", "2-0", "causationid", "an older one", "status", "error"})
	if err != nil || before == "" {
		t.Fatal(err)
	}
	tasks := []call.Task{{Type: "a", Data: []byte("1")}, {Type: "b", Data: []byte("2")}, {Type: "c", Data: []byte("3")}}
	got := make([]string, len(tasks))
	err = call.Do(t.Context(), log, sub, tasks, func(i int, _ call.Published, r call.Result) error {
		got[i] = r.Data
		return r.Err()
	})
	if err != nil || !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDoIsNotFooledByAnothersResult(t *testing.T) {
	t.Parallel()
	log := &calltest.Log{}
	log.Serve(sub, func(m delivery.Message) (string, string) { return "", "" })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	// Another stream with the same results stream, and the same entry id.
	go func() {
		_, _ = log.Publish(ctx, sub.Results, []string{"entryid", "1-0", "causationid", "another", "status", "ok"})
	}()
	err := call.Do(ctx, log, sub, []call.Task{{Type: "a"}}, func(int, call.Published, call.Result) error {
		t.Error("took another message's result for its own")
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `1 of 1 messages (type "a")`) {
		t.Errorf("got %v, want a deadline that says what is missing", err)
	}
}

func TestDoTellsOfADeadLetter(t *testing.T) {
	t.Parallel()
	log := &calltest.Log{}
	log.Serve(sub, func(delivery.Message) (string, string) {
		return "error", `{"type":"permanent","message":"no such thing"}`
	})
	err := call.Do(t.Context(), log, sub, []call.Task{{Type: "a"}}, func(_ int, _ call.Published, r call.Result) error { return r.Err() })
	if err == nil || !strings.Contains(err.Error(), "dead-lettered after attempt 1: permanent: no such thing") {
		t.Errorf("got %v", err)
	}
}

func TestDoRefusesASubscriptionWithoutResults(t *testing.T) {
	t.Parallel()
	silent := topology.Subscription{Role: "sink", Stream: "sink:tasks"}
	if err := call.Do(t.Context(), &calltest.Log{}, silent, nil, nil); !errors.Is(err, call.ErrNoResults) {
		t.Errorf("got %v", err)
	}
}

func TestTaskFields(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	task := call.Task{
		ID: "x", Type: "rag.query", PartitionKey: "k", ReplyTo: "cm:commands",
		Headers: []string{"subject", "s", "source", "/me"}, Data: []byte(`{}`), ContentType: "application/json",
	}
	fields, err := task.Fields(at)
	if err != nil {
		t.Fatal(err)
	}
	m := delivery.Read(&delivery.Entry{ID: "1-0", Fields: fields})
	if m.ID != "x" || m.Type != "rag.query" || m.PartitionKey != "k" || m.ReplyTo != "cm:commands" || m.Data != "{}" || !m.Time.Equal(at) {
		t.Errorf("got %+v", m)
	}
	if m.TraceParent == "" {
		t.Error("no valid traceparent")
	}
	if n := strings.Count(strings.Join(fields, " "), "source"); n != 1 || !slices.Contains(fields, "/me") {
		t.Errorf("the header's source must replace the default: %q", fields)
	}
}

func TestTaskRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		task call.Task
		want string
	}{
		"a name that is no attribute": {call.Task{Headers: []string{"X-Thing", "1"}}, "lower-case letters and digits"},
		"a name that has a flag":      {call.Task{Headers: []string{"data", "1"}}, "flag of its own"},
		"more than 64 MiB":            {call.Task{Data: make([]byte, 64<<20+1)}, "64 MiB"},
	} {
		if _, err := c.task.Fields(time.Now()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := (call.Task{Data: make([]byte, 64<<20)}).Fields(time.Now()); err != nil {
		t.Errorf("64 MiB must go: %v", err)
	}
}
