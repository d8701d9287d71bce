package deadletter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/hosttest"
)

func TestRequeue(t *testing.T) {
	t.Parallel()
	binary := "\x00\xff\r\n\"'{{"
	many := []string{"id", "task-1"}
	for i := range 4000 {
		many = append(many, "f", strconv.Itoa(i))
	}
	for _, c := range []struct {
		name           string
		message, again []string
	}{
		{"as it came", []string{"type", "rag.query", "id", "task-1", "data", binary}, []string{"type", "rag.query", "id", "task-1", "data", binary}},
		{"a name twice", []string{"id", "task-1", "tag", "b", "tag", "a", "", ""}, []string{"id", "task-1", "tag", "b", "tag", "a", "", ""}},
		{"no id: that of its entry", []string{"data", "x"}, []string{"data", "x", "id", "7-0"}},
		{"an empty id: that of its entry", []string{"id", "", "data", "x"}, []string{"id", "", "data", "x", "id", "7-0"}},
		{"names like ours", []string{"id", "task-1", "dlqnote", "x", "data", "x"}, []string{"id", "task-1", "data", "x"}},
		{"more fields than a script can add", many, many},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for name, client := range servers(t) {
				d := New(client, keys)
				origin(t, client)
				id := bury(t, client, "*", "7-0", "permanent", "boom", c.message...)
				other := bury(t, client, "*", "8-0", "permanent", "boom", "data", "stays")
				results, err := d.Requeue(t.Context(), "rag:dlq", []string{id}, Options{})
				if err != nil || len(results) != 1 || results[0].Err != nil || results[0].To != "rag:tasks" {
					t.Fatalf("%s: %+v, %v", name, results, err)
				}
				got := raw(t, d, "rag:tasks")
				if len(got) != 1 || got[0].ID != results[0].New || !slices.Equal(got[0].Fields, append(c.again, "requeuedfrom", "rag:tasks/7-0", "requeuecount", "1")) {
					t.Errorf("%s: requeued as %.200q, want %.200q", name, fmt.Sprint(got), fmt.Sprint(c.again))
				}
				if left := raw(t, d, "rag:dlq"); len(left) != 1 || left[0].ID != other {
					t.Errorf("%s: %d letters left, want the other one", name, len(left))
				}
			}
		})
	}
}

func TestRequeueRefuses(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	origin(t, client)
	if err := client.Set(t.Context(), keys.Stream("text"), "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	add(t, client, "unread", "*", "data", "x")
	ours := bury(t, client, "*", "7-0", "permanent", "boom", "data", "x")
	theirs := add(t, client, "rag:dlq", "*", "data", "x")
	for _, c := range []struct {
		name, id, to string
		want         error
	}{
		{"a letter that is not there", "1-0", "", ErrGone},
		{"an older worker's letter without a target", theirs, "", ErrNoOrigin},
		{"a target of another type", ours, "text", ErrNotStream},
		{"a target that does not exist", ours, "absent", ErrNoReader},
		{"a target that nobody reads", ours, "unread", ErrNoReader},
	} {
		for _, dry := range []bool{true, false} {
			results, err := d.Requeue(t.Context(), "rag:dlq", []string{c.id}, Options{To: c.to, DryRun: dry})
			if err != nil || len(results) != 1 || !errors.Is(results[0].Err, c.want) {
				t.Errorf("%s (dry run %t): %+v, %v; want %v", c.name, dry, results, err, c.want)
			}
		}
	}
	for name, c := range map[string]Result{"no id": {ID: "no id"}, "the queue itself": {ID: ours, To: "rag:dlq"}} {
		results, err := d.Requeue(t.Context(), "rag:dlq", []string{c.ID}, Options{To: c.To})
		if err != nil || len(results) != 1 || results[0].Err == nil {
			t.Errorf("%s: %+v, %v", name, results, err)
		}
	}
	if left, added := raw(t, d, "rag:dlq"), raw(t, d, "rag:tasks"); len(left) != 2 || len(added) != 0 {
		t.Errorf("%d letters left and %d messages added; want 2 and 0", len(left), len(added))
	}
}

// One letter that cannot be moved does not keep the others.
func TestRequeueGoesOn(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	origin(t, client)
	a := bury(t, client, "*", "7-0", "permanent", "boom", "data", "a")
	theirs := add(t, client, "rag:dlq", "*", "data", "x")
	b := bury(t, client, "*", "8-0", "permanent", "boom", "data", "b")
	results, err := d.Requeue(t.Context(), "rag:dlq", []string{a, a, theirs, b}, Options{})
	if err != nil || len(results) != 4 {
		t.Fatalf("%+v, %v", results, err)
	}
	if results[0].Err != nil || !errors.Is(results[1].Err, ErrGone) || !errors.Is(results[2].Err, ErrNoOrigin) || results[3].Err != nil {
		t.Errorf("%+v", results)
	}
	results, err = d.Requeue(t.Context(), "rag:dlq", []string{theirs}, Options{To: "rag:tasks"})
	if err != nil || results[0].Err != nil {
		t.Errorf("an older worker's letter with a target: %+v, %v", results, err)
	}
	got := raw(t, d, "rag:tasks")
	if len(got) != 3 || !slices.Equal(got[2].Fields, []string{"data", "x", "requeuedfrom", "rag:dlq/" + theirs, "requeuecount", "1"}) {
		t.Errorf("messages %v", got)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	origin(t, client)
	id := bury(t, client, "*", "7-0", "permanent", "boom", "data", "a")
	results, err := d.Requeue(t.Context(), "rag:dlq", []string{id}, Options{DryRun: true})
	if err != nil || len(results) != 1 || results[0] != (Result{ID: id, To: "rag:tasks"}) {
		t.Errorf("%+v, %v", results, err)
	}
	if len(raw(t, d, "rag:dlq")) != 1 || len(raw(t, d, "rag:tasks")) != 0 {
		t.Error("a dry run moved something")
	}
}

// Many who requeue the same letters, some of them cut off in the middle: each
// message is added once, and none is lost.
func TestRequeueOnce(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	origin(t, client)
	var letters []string
	many := make([]string, 2*4000)
	for i := range 60 {
		fields := []string{"id", strconv.Itoa(i)}
		if i%20 == 0 {
			fields = append(fields, many...)
		}
		letters = append(letters, bury(t, client, "*", "7-0", "permanent", "boom", fields...))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			other := redis.NewClient(client.Options())
			cut := time.AfterFunc(20*time.Millisecond, func() { _ = other.Close() })
			defer func() {
				cut.Stop()
				_ = other.Close()
			}()
			_, _ = New(other, keys).Requeue(t.Context(), "rag:dlq", letters, Options{})
			if _, err := New(client, keys).Requeue(t.Context(), "rag:dlq", letters, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	d := New(client, keys)
	count := map[string]int{}
	err := d.Each(t.Context(), "rag:tasks", Filter{}, func(l Letter) bool {
		count[l.MessageID]++
		return true
	})
	if err != nil || len(count) != len(letters) {
		t.Fatalf("%d messages, want %d; %v", len(count), len(letters), err)
	}
	for id, n := range count {
		if n != 1 {
			t.Errorf("message %s was added %d times", id, n)
		}
	}
	if left := raw(t, d, "rag:dlq"); len(left) != 0 {
		t.Errorf("%d letters left", len(left))
	}
}
