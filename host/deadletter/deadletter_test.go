package deadletter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
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
		ours.Fields, ours.Entry = nil, nil
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
		{"by error, whatever its case", Filter{Error: "TIMEOUT"}, []string{"3000-0", "1000-0"}},
		{"by the type of the error", Filter{Error: "operror"}, []string{"3000-0", "2000-0", "1000-0"}},
		{"the data is no error", Filter{Error: "gamma"}, nil},
		{"until", Filter{Until: time.UnixMilli(2000)}, []string{"2000-0", "1000-0"}},
		{"until, oldest first", Filter{Until: time.UnixMilli(2999), OldestFirst: true}, []string{"1000-0", "2000-0"}},
		{"between", Filter{Since: time.UnixMilli(1500), Until: time.UnixMilli(3500)}, []string{"3000-0", "2000-0"}},
		{"through", Filter{Through: "3000-0", Until: time.UnixMilli(9000)}, []string{"3000-0", "2000-0", "1000-0"}},
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

func TestDiscard(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	a := bury(t, client, "*", "7-0", "permanent", "boom", "data", "a")
	b := bury(t, client, "*", "8-0", "permanent", "boom", "data", "b")
	if n, err := d.Discard(t.Context(), "rag:dlq", []string{a, "1-0"}, Audit{}); err != nil || n != 1 {
		t.Errorf("%d discarded, %v", n, err)
	}
	if n, err := d.Discard(t.Context(), "rag:dlq", nil, Audit{}); err != nil || n != 0 {
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
