package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
)

// fill adds n letters of equal form, the ids 1-0 to n-0, in few round trips.
func fill(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	const script = `
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  redis.call('XADD', KEYS[1], i .. '-0', 'id', 'm' .. i, 'type', 't' .. i % 2, 'dlqreason', 'exhausted', 'dlqerror', 'try ' .. i,
    'dlqfingerprint', 'fp' .. i % 10, 'dlqstream', 'rag:tasks', 'dlqid', i .. '-1')
end`
	for from := 1; from <= n; from += 5000 {
		if err := client.Eval(t.Context(), script, []string{keys.Stream("rag:dlq")}, from, min(n, from+4999)).Err(); err != nil && !errors.Is(err, redis.Nil) {
			t.Fatal(err)
		}
	}
}

func length(t *testing.T, client *redis.Client, stream string) int {
	t.Helper()
	n, err := client.XLen(t.Context(), keys.Stream(stream)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestManyLetters(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	origin(t, client)
	const n = 20_000
	fill(t, client, n)
	groups, err := d.Group(t.Context(), "rag:dlq", Filter{})
	if err != nil || len(groups) != 10 || groups[9].Count != n/10 {
		t.Fatalf("%d groups, %v", len(groups), err)
	}
	page, err := d.List(t.Context(), "rag:dlq", Filter{Error: "TRY 1", Limit: 5, Scan: 1000, OldestFirst: true})
	if err != nil || len(page.Letters) != 5 || page.Next == "" || page.First != "1-0" || page.Scanned > 1000 {
		t.Errorf("%+v, %v", page, err)
	}
	page, err = d.List(t.Context(), "rag:dlq", Filter{Error: "no such", Scan: 1000})
	if err != nil || page.Scanned != 1000 || page.First != "20000-0" || page.Last != "19001-0" || page.Next != "19001-0" {
		t.Errorf("of a bounded scan: %+v, %v", page, err)
	}
	plan, err := d.Plan(t.Context(), "rag:dlq", Filter{Type: "t1"}, Options{})
	if err != nil || plan.Letters != n/2 || plan.Scanned != n || plan.Through != "20000-0" || len(plan.Samples) != 3 ||
		len(plan.Targets) != 1 || plan.Targets[0] != (Target{Stream: "rag:tasks", Letters: n / 2}) {
		t.Errorf("%+v, %v", plan, err)
	}
	var moved []string
	err = d.RequeueAll(t.Context(), "rag:dlq", Filter{Type: "t1", Limit: 300}, Options{Done: func(r Result) { moved = append(moved, r.ID) }})
	if err != nil || len(moved) != 300 || moved[0] != "1-0" || moved[299] != "599-0" || !slices.IsSortedFunc(moved, delivery.CompareIDs) {
		t.Errorf("%d moved, %v", len(moved), err)
	}
	removed := 0
	if err := d.DiscardAll(t.Context(), "rag:dlq", Filter{}, Audit{By: "me"}, func(n int) { removed = n }); err != nil || removed != n-300 {
		t.Errorf("%d removed, %v", removed, err)
	}
	if left, added, events := length(t, client, "rag:dlq"), length(t, client, "rag:tasks"), length(t, client, "audit:events"); left != 0 || added != 300 || events != n-300 {
		t.Errorf("%d left, %d added, %d events", left, added, events)
	}
}

// What dies again while its queue is requeued is not requeued for ever.
func TestRequeueAllEnds(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	origin(t, client)
	for range 3 {
		bury(t, client, "*", "7-0", "permanent", "boom", "id", "m", "data", "x")
	}
	n := 0
	err := d.RequeueAll(t.Context(), "rag:dlq", Filter{Reason: "permanent"}, Options{Done: func(Result) {
		n++
		bury(t, client, "*", "8-0", "permanent", "boom again", "id", "m", "data", "x")
	}})
	if err != nil || n != 3 || length(t, client, "rag:dlq") != 3 {
		t.Errorf("%d requeued, %d left, %v", n, length(t, client, "rag:dlq"), err)
	}
}

func TestInterruptedBetweenLetters(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	origin(t, client)
	fill(t, client, 10)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := d.RequeueAll(ctx, "rag:dlq", Filter{}, Options{Done: func(Result) {
		if n++; n == 4 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || n != 4 || length(t, client, "rag:tasks") != 4 || length(t, client, "rag:dlq") != 6 {
		t.Errorf("%d told of, %d moved, %v", n, length(t, client, "rag:tasks"), err)
	}
	if err := d.DiscardAll(ctx, "rag:dlq", Filter{}, Audit{}, nil); !errors.Is(err, context.Canceled) || length(t, client, "rag:dlq") != 6 {
		t.Errorf("discarding after the interruption: %v, %d left", err, length(t, client, "rag:dlq"))
	}
}

// A message that dies again and again keeps its id, says where it was, and is
// otherwise as it came.
func TestLineage(t *testing.T) {
	t.Parallel()
	for name, client := range servers(t) {
		d := New(client, keys)
		origin(t, client)
		message, entry := []string{"data", "\xff", "dlq", "mine", "data", "2"}, "7-0"
		for round := 1; round <= 3; round++ {
			letter := bury(t, client, "*", entry, "permanent", "boom", message...)
			results, err := d.Requeue(t.Context(), "rag:dlq", []string{letter}, Options{})
			if err != nil || results[0].Err != nil {
				t.Fatalf("%s: %+v, %v", name, results, err)
			}
			added := raw(t, d, "rag:tasks")
			want := []string{"data", "\xff", "data", "2", "id", "7-0", "requeuedfrom", "rag:tasks/" + entry, "requeuecount", strconv.Itoa(round)}
			if message = added[len(added)-1].Fields; !slices.Equal(message, want) {
				t.Errorf("%s: round %d gives %q, want %q", name, round, message, want)
			}
			entry = results[0].New
		}
		last := bury(t, client, "*", entry, "permanent", "boom", message...)
		if l, _, err := d.Get(t.Context(), "rag:dlq", last); err != nil || l.Requeues != 3 || !strings.HasPrefix(l.From, "rag:tasks/") || l.MessageID != "7-0" {
			t.Errorf("%s: %+v, %v", name, l, err)
		}
	}
}

func TestOlderWorkersLetters(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	origin(t, client)
	at := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		fields []string
		want   Letter
	}{
		{"the whole namespace key", []string{"payload", "{}", "original_id", "5-1", "original_stream", "test:rag:tasks", "error", "boom", "retries", "3"},
			Letter{Error: "boom", Stream: "rag:tasks", EntryID: "5-1", Attempts: 3}},
		{"camel case", []string{"data", "{}", "originalId", "5-1", "stream", "rag:tasks", "errorMessage", "x", "errorType", "E", "reason", "max_retries", "failedAt", at.Format(time.RFC3339)},
			Letter{Error: "x", ErrorType: "E", Reason: "max_retries", Stream: "rag:tasks", EntryID: "5-1", Time: at}},
		{"an id of the application, and a stream that may be the message's", []string{"data", "{}", "msg_id", "order-7", "stream", "rag:tasks", "traceback", "at line 1"}, Letter{Stderr: "at line 1"}},
		{"nothing that we know", []string{"data", "{}"}, Letter{}},
	} {
		id := add(t, client, "rag:dlq", "*", c.fields...)
		l, ok, err := d.Get(t.Context(), "rag:dlq", id)
		if err != nil || !ok || !slices.Equal(l.Fields, c.fields) {
			t.Fatalf("%s: %+v, %v", c.name, l, err)
		}
		if (l.Fingerprint != "") != (c.want.Error != "") {
			t.Errorf("%s: fingerprint %q", c.name, l.Fingerprint)
		}
		c.want.ID, c.want.Fields, c.want.Entry, c.want.Fingerprint = l.ID, l.Fields, l.Entry, l.Fingerprint
		if c.want.Time.IsZero() {
			c.want.Time = l.Time
		}
		if fmt.Sprint(l) != fmt.Sprint(c.want) {
			t.Errorf("%s:\n%+v, want\n%+v", c.name, l, c.want)
		}
		results, err := d.Requeue(t.Context(), "rag:dlq", []string{id}, Options{})
		if known := c.want.Stream != ""; err != nil || (results[0].Err == nil) != known {
			t.Errorf("%s: requeued without a target: %+v, %v", c.name, results, err)
		}
	}
	plan, err := d.Plan(t.Context(), "rag:dlq", Filter{}, Options{})
	if err != nil || plan.Letters != 2 || len(plan.Targets) != 1 || !errors.Is(plan.Targets[0].Problem, ErrNoOrigin) {
		t.Errorf("%+v, %v", plan, err)
	}
	added := raw(t, d, "rag:tasks")
	if len(added) != 2 || !slices.Equal(added[0].Fields[10:], []string{"id", "5-1", "requeuedfrom", "rag:tasks/5-1", "requeuecount", "1"}) {
		t.Errorf("added %q", fmt.Sprint(added))
	}
}

// One bad target keeps nobody else, and is tried once.
func TestOriginOfAnotherType(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	origin(t, client)
	fill(t, client, 4)
	if err := client.XGroupCreateMkStream(t.Context(), keys.Stream("odd:tasks"), "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		add(t, client, "rag:dlq", "*", "id", strconv.Itoa(i), "dlqstream", "odd:tasks", "dlqid", "1-1")
	}
	var failed, moved int
	err := d.RequeueAll(t.Context(), "rag:dlq", Filter{}, Options{Done: func(r Result) {
		if r.Err == nil {
			// It stops being a stream while the work is under way.
			if moved++; moved == 4 {
				client.Del(t.Context(), keys.Stream("odd:tasks"))
				client.Set(t.Context(), keys.Stream("odd:tasks"), "x", 0)
			}
		} else if failed++; !errors.Is(r.Err, ErrNotStream) {
			t.Errorf("%+v", r)
		}
	}})
	if err != nil || moved != 4 || failed != 3 || length(t, client, "rag:dlq") != 3 {
		t.Errorf("%d moved, %d failed, %d left, %v", moved, failed, length(t, client, "rag:dlq"), err)
	}
}

// Who may add but not delete would double the message: it is refused before
// anything is written.
func TestPermissions(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	origin(t, client)
	fill(t, client, 2)
	many := make([]string, 0, 8002)
	for i := range 4000 {
		many = append(many, "f", strconv.Itoa(i))
	}
	large := bury(t, client, "*", "9-0", "permanent", "boom", many...)
	for name, rules := range map[string][]string{
		"no XDEL":        {"+@all", "-xdel", "~*"},
		"no XADD":        {"+@all", "-xadd", "~*"},
		"no target":      {"+@all", "~test:rag:dlq", "~test:audit:events"},
		"target to read": {"+@all", "%R~test:rag:tasks", "~test:rag:dlq", "~test:audit:events"},
		"queue to read":  {"+@all", "~test:rag:tasks", "%R~test:rag:dlq", "~test:audit:events"},
	} {
		user := strings.ReplaceAll(name, " ", "-")
		args := []any{"ACL", "SETUSER", user, "on", ">secret"}
		for _, rule := range rules {
			args = append(args, rule)
		}
		if err := client.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
		o := *client.Options()
		o.Username, o.Password, o.MaxRetries = user, "secret", -1
		theirs := redis.NewClient(&o)
		var problems []error
		for _, id := range []string{"1-0", "2-0", large} {
			results, err := New(theirs, keys).Requeue(t.Context(), "rag:dlq", []string{id}, Options{Audit: Audit{By: "me"}})
			for _, r := range results {
				err = errors.Join(err, r.Err)
			}
			problems = append(problems, err)
			// A transaction that is refused does not say why.
			if !errors.Is(err, ErrNotAllowed) && (id != large || err == nil) {
				t.Errorf("%s, letter %s: %v", name, id, err)
			}
		}
		_ = theirs.Close()
		if left, added := length(t, client, "rag:dlq"), length(t, client, "rag:tasks"); left != 3 || added != 0 {
			t.Fatalf("%s: %d letters left, %d messages added; %v", name, left, added, problems)
		}
	}
	// Who may not write the audit may change nothing, unless there is none.
	client.Do(t.Context(), "ACL", "SETUSER", "unaudited", "on", ">secret", "+@all", "~test:rag:*")
	o := *client.Options()
	o.Username, o.Password = "unaudited", "secret"
	theirs := redis.NewClient(&o)
	defer func() { _ = theirs.Close() }()
	for want, audit := range map[error]Audit{ErrNotAllowed: {By: "me"}, nil: {}} {
		id := map[bool]string{true: "1-0", false: "2-0"}[audit.By == ""]
		results, err := New(theirs, keys).Requeue(t.Context(), "rag:dlq", []string{id}, Options{Audit: audit})
		if err != nil || !errors.Is(results[0].Err, want) {
			t.Errorf("audit %+v: %+v, %v", audit, results, err)
		}
	}
}

func TestChangesAreAudited(t *testing.T) {
	t.Parallel()
	for name, client := range servers(t) {
		d := New(client, keys)
		origin(t, client)
		a := bury(t, client, "*", "7-0", "exhausted", "boom", "id", "a")
		b := bury(t, client, "*", "8-0", "permanent", "bang", "id", "b")
		audit := Audit{By: "cli:me@here", Role: "rag", MaxLen: 1000}
		results, err := d.Requeue(t.Context(), "rag:dlq", []string{a}, Options{Audit: audit})
		if err != nil || results[0].Err != nil {
			t.Fatalf("%s: %+v, %v", name, results, err)
		}
		if n, err := d.Discard(t.Context(), "rag:dlq", []string{b, b}, audit); err != nil || n != 1 {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
		events := raw(t, d, "audit:events")
		want := [][]string{
			{"type", "requeued", "role", "rag", "stream", "rag:tasks", "id", "7-0", "attempt", "3", "host", "cli:me@here", "plugin", "rag", "outcome", "rag:tasks/" + results[0].New, "error", "boom"},
			{"type", "discarded", "role", "rag", "stream", "rag:tasks", "id", "8-0", "attempt", "3", "host", "cli:me@here", "plugin", "rag", "outcome", "permanent", "error", "bang"},
		}
		if len(events) != 2 || !slices.Equal(events[0].Fields[2:], want[0]) || !slices.Equal(events[1].Fields[2:], want[1]) {
			t.Errorf("%s: %q", name, fmt.Sprint(events))
		}
	}
}

// Errors of one kind have one fingerprint; those of different kinds do not.
func TestKindsOfErrors(t *testing.T) {
	t.Parallel()
	of := func(text string) string { return delivery.Fingerprint(delivery.Error{Type: "T", Message: text}) }
	for _, same := range [][]string{
		{"timeout after 5s", "timeout after 1m30s", "timeout after 1.5s", "timeout after 250ms"},
		{"at 2026-11-24T19:00:35.827368Z", "at 2026-11-24T19:00:35Z", "at 2026-11-24 19:00:35"},
		{"no record 17", "no record 4711", "no record 0x1f", "no record deadbeef01"},
		{`user "a" is gone`, `user "b c" is gone`, "user 'a' is gone"},
		{"request 7d444840-9dc0-11d1-b245-5ffdce74fad2 failed", "request 0a1b2c3d-ffff-11d1-b245-000000000000 failed"},
		{"couldn't find 'x' here", "couldn't find 'y' here"},
		{"order 01HZX3KQ9V failed", "order 01J0A7BBCD failed"},
	} {
		for _, text := range same[1:] {
			if of(text) != of(same[0]) {
				t.Errorf("%q and %q have different fingerprints", same[0], text)
			}
		}
	}
	for _, pair := range [][2]string{{"connection refused", "connection reset"}, {"couldn't read it, can't go on", "couldn't write it, can't go on"}} {
		if of(pair[0]) == of(pair[1]) {
			t.Errorf("%q and %q have one fingerprint", pair[0], pair[1])
		}
	}
}

func TestGroupsTellReasonsApart(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	d := New(client, keys)
	for range 2 {
		bury(t, client, "*", "1-0", "exhausted", "timeout after 5s", "data", strings.Repeat("x", 100))
	}
	bury(t, client, "*", "2-0", "permanent", "timeout after 1s")
	groups, err := d.Group(t.Context(), "rag:dlq", Filter{})
	if err != nil || len(groups) != 2 || groups[0].Reason != "exhausted" || groups[1].Reason != "permanent" || groups[0].Fingerprint != groups[1].Fingerprint {
		t.Errorf("%+v, %v", groups, err)
	}
	if groups[0].Sample.Fields != nil || groups[0].Sample.ID == "" {
		t.Errorf("sample %+v", groups[0].Sample)
	}
}
