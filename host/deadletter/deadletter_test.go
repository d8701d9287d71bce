package deadletter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/topology"
)

var keys = topology.Keys{Namespace: "test"}

// servers are what must serve: `fnhost dev` has a miniredis.
func servers(t *testing.T) map[string]*redis.Client {
	t.Helper()
	mini := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = mini.Close() })
	return map[string]*redis.Client{"redis": hosttest.Redis(t).Client(), "miniredis": mini}
}

// add adds an entry as it is and gives its id.
func add(t *testing.T, client *redis.Client, stream, id string, fields ...string) string {
	t.Helper()
	id, err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: keys.Stream(stream), ID: id, Values: fields}).Result()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// bury adds a dead letter of the message as the host does, and gives its id.
func bury(t *testing.T, client *redis.Client, id, entry, reason, message string, fields ...string) string {
	t.Helper()
	d := &delivery.Delivery{
		Stream: "rag:tasks", Entry: delivery.Entry{ID: entry, Fields: fields}, Grant: delivery.Grant{Attempt: 3},
	}
	letter := delivery.DeadLetter{
		Reason: reason, Error: delivery.Error{Type: "*net.OpError", Message: message, Detail: "stack"},
		Plugin: delivery.Plugin{Name: "rag", Version: "1.0", SHA256: "abc"}, At: time.UnixMilli(1764000000000),
	}
	return add(t, client, "rag:dlq", id, letter.Fields(d)...)
}

// raw reads a stream with its fields in their order.
func raw(t *testing.T, d *DeadLetters, stream string) []delivery.Entry {
	t.Helper()
	entries, err := d.entries(t.Context(), stream, "XRANGE", "-", "+")
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// origin makes the stream that rag reads, with its group.
func origin(t *testing.T, client *redis.Client) {
	t.Helper()
	if err := client.XGroupCreateMkStream(t.Context(), keys.Stream("rag:tasks"), "rag-workers", "0").Err(); err != nil {
		t.Fatal(err)
	}
}

func ids(letters []Letter) []string {
	var list []string
	for _, l := range letters {
		list = append(list, l.ID)
	}
	return list
}

func TestLetters(t *testing.T) {
	t.Parallel()
	for name, client := range servers(t) {
		d := New(client, keys)
		bury(t, client, "1-0", "7-0", "exhausted", "dial 10.0.0.1", "id", "task-1", "type", "rag.query", "data", "x", "tag", "a", "tag", "b")
		add(t, client, "rag:dlq", "2-0", "payload", "{}", "dlqcustom", "theirs", "error", "old worker")
		page, err := d.List(t.Context(), "rag:dlq", Filter{OldestFirst: true})
		if err != nil || len(page.Letters) != 2 || page.Next != "" {
			t.Fatalf("%s: %+v, %v", name, page, err)
		}
		ours, theirs := page.Letters[0], page.Letters[1]
		if !slices.Equal(ours.Fields, []string{"id", "task-1", "type", "rag.query", "data", "x", "tag", "a", "tag", "b"}) {
			t.Errorf("%s: fields of the message %q", name, ours.Fields)
		}
		ours.Fields = nil
		want := Letter{
			ID: "1-0", Time: time.UnixMilli(1764000000000).UTC(), Reason: "exhausted", Error: "dial 10.0.0.1", ErrorType: "*net.OpError",
			Fingerprint: ours.Fingerprint, Stream: "rag:tasks", EntryID: "7-0", Attempts: 3, Plugin: "rag 1.0 abc", Stderr: "stack",
			MessageID: "task-1", Type: "rag.query",
		}
		if fmt.Sprint(ours) != fmt.Sprint(want) || ours.Fingerprint == "" {
			t.Errorf("%s: ours %+v, want %+v", name, ours, want)
		}
		if theirs.Reason != "" || theirs.Stream != "" || theirs.Time != time.UnixMilli(2) ||
			!slices.Equal(theirs.Fields, []string{"payload", "{}", "dlqcustom", "theirs", "error", "old worker"}) {
			t.Errorf("%s: theirs %+v", name, theirs)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	bury(t, client, "1000-0", "1-0", "exhausted", "timeout after 5s", "type", "rag.query", "data", "Alpha")
	bury(t, client, "2000-0", "2-0", "permanent", "bad json", "type", "rag.ingest", "data", "Beta")
	bury(t, client, "3000-0", "3-0", "exhausted", "timeout after 9s", "type", "rag.ingest", "data", "Gamma")
	add(t, client, "rag:dlq", "4000-0", "data", "older worker's")
	timeout := delivery.Fingerprint(delivery.Error{Type: "*net.OpError", Message: "timeout after 1s"})
	for _, c := range []struct {
		name   string
		filter Filter
		want   []string
	}{
		{"all, newest first", Filter{}, []string{"4000-0", "3000-0", "2000-0", "1000-0"}},
		{"oldest first", Filter{OldestFirst: true}, []string{"1000-0", "2000-0", "3000-0", "4000-0"}},
		{"by reason", Filter{Reason: "exhausted"}, []string{"3000-0", "1000-0"}},
		{"by type", Filter{Type: "rag.ingest"}, []string{"3000-0", "2000-0"}},
		{"by stream", Filter{Stream: "rag:tasks"}, []string{"3000-0", "2000-0", "1000-0"}},
		{"by fingerprint", Filter{Fingerprint: timeout}, []string{"3000-0", "1000-0"}},
		{"by text in the data", Filter{Text: "gAMMa"}, []string{"3000-0"}},
		{"by text in the error", Filter{Text: "bad json"}, []string{"2000-0"}},
		{"since", Filter{Since: time.UnixMilli(2000)}, []string{"4000-0", "3000-0", "2000-0"}},
		{"since, oldest first", Filter{Since: time.UnixMilli(3000), OldestFirst: true}, []string{"3000-0", "4000-0"}},
		{"both must match", Filter{Reason: "exhausted", Type: "rag.ingest"}, []string{"3000-0"}},
		{"none", Filter{Text: "no such"}, nil},
	} {
		page, err := d.List(t.Context(), "rag:dlq", c.filter)
		if err != nil || !slices.Equal(ids(page.Letters), c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, ids(page.Letters), err, c.want)
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	const n = 2*pageEntries + 10
	for i := range n {
		add(t, client, "rag:dlq", strconv.Itoa(i+1)+"-0", "data", "x")
	}
	for _, oldestFirst := range []bool{false, true} {
		filter := Filter{Limit: 100, OldestFirst: oldestFirst}
		var all []string
		for {
			page, err := d.List(t.Context(), "rag:dlq", filter)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, ids(page.Letters)...)
			if page.Next == "" {
				break
			}
			filter.Cursor = page.Next
		}
		if !oldestFirst {
			slices.Reverse(all)
		}
		if len(all) != n || all[0] != "1-0" || all[n-1] != strconv.Itoa(n)+"-0" || !slices.IsSortedFunc(all, delivery.CompareIDs) {
			t.Errorf("oldest first %t: %d letters", oldestFirst, len(all))
		}
	}
}

func TestListOfLargeLettersReadsFewAtOnce(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	for range 3 {
		add(t, client, "rag:dlq", "*", "data", strings.Repeat("x", pageBytes/2+1))
	}
	if got := raw(t, d, "rag:dlq"); len(got) != 2 {
		t.Errorf("%d entries in one page, want 2: with them it is full", len(got))
	}
	page, err := d.List(t.Context(), "rag:dlq", Filter{})
	if err != nil || len(page.Letters) != 3 {
		t.Errorf("%d letters, %v", len(page.Letters), err)
	}
}

func TestGroup(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	for i := range 5 {
		bury(t, client, "*", strconv.Itoa(i)+"-0", "exhausted", fmt.Sprintf("timeout after %ds", i), "data", "x")
	}
	bury(t, client, "*", "9-0", "permanent", "bad json", "data", "x")
	add(t, client, "rag:dlq", "*", "data", "older worker's")
	groups, err := d.Group(t.Context(), "rag:dlq", Filter{})
	if err != nil || len(groups) != 3 {
		t.Fatalf("%+v, %v", groups, err)
	}
	if g := groups[0]; g.Count != 5 || g.Sample.Reason != "exhausted" || g.First.IsZero() || g.Last.Before(g.First) {
		t.Errorf("first group %+v", g)
	}
	if groups[1].Count+groups[2].Count != 2 {
		t.Errorf("other groups %+v", groups[1:])
	}
	groups, err = d.Group(t.Context(), "rag:dlq", Filter{Reason: "permanent"})
	if err != nil || len(groups) != 1 || groups[0].Count != 1 {
		t.Errorf("by reason: %+v, %v", groups, err)
	}
}

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
				if len(got) != 1 || got[0].ID != results[0].New || !slices.Equal(got[0].Fields, c.again) {
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
	if len(got) != 3 || !slices.Equal(got[2].Fields, []string{"data", "x"}) {
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
	err := d.scan(t.Context(), "rag:tasks", Filter{}, func(l Letter) bool {
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

func TestDiscard(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	a := bury(t, client, "*", "7-0", "permanent", "boom", "data", "a")
	b := bury(t, client, "*", "8-0", "permanent", "boom", "data", "b")
	if n, err := d.Discard(t.Context(), "rag:dlq", []string{a, "1-0"}); err != nil || n != 1 {
		t.Errorf("%d discarded, %v", n, err)
	}
	if n, err := d.Discard(t.Context(), "rag:dlq", nil); err != nil || n != 0 {
		t.Errorf("nothing to discard: %d, %v", n, err)
	}
	if left := raw(t, d, "rag:dlq"); len(left) != 1 || left[0].ID != b {
		t.Errorf("left %v", left)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	bury(t, client, "5-0", "7-0", "permanent", "boom", "data", "a")
	add(t, client, "rag:dlq", "5-1", "data", "b")
	for id, want := range map[string]string{"5-0": "5-0", "5": "5-0", "5-1": "5-1", "5-2": ""} {
		l, ok, err := d.Get(t.Context(), "rag:dlq", id)
		if err != nil || l.ID != want || ok != (want != "") {
			t.Errorf("%s: %q, %t, %v; want %q", id, l.ID, ok, err, want)
		}
	}
}

func TestErrorsNameTheQueue(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	if err := client.Set(t.Context(), keys.Stream("rag:dlq"), "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(client, keys).List(t.Context(), "rag:dlq", Filter{}); err == nil || !strings.Contains(err.Error(), "rag:dlq") {
		t.Errorf("a key that is no stream: %v", err)
	}
	_ = client.Close()
	if _, err := New(client, keys).Requeue(t.Context(), "rag:dlq", []string{"1-0"}, Options{}); err == nil || !strings.Contains(err.Error(), "1-0 of rag:dlq") {
		t.Errorf("without Redis: %v", err)
	}
}
