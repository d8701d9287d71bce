package endtoend

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMessagesThatAPersonMightType(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe", "echo"})
	w.serve().ready()
	good := w.send("probe", 20, `{"sleep_ms": 10}`)
	plain := w.add("probe:tasks", "type", "probe.run", "data", `{"reply": "by hand"}`)
	payload := w.add("probe:tasks", "type", "probe.run", "payload", `{"reply": "as payload"}`)
	bare := w.add("probe:tasks", "type", "probe.run")
	nothing := w.add("probe:tasks", "note", "only this")
	broken := w.add("probe:tasks", "type", "probe.run", "data", `{"reply": `)
	good = append(good, w.send("probe", 20, `{}`)...)

	results := w.results("probe", slices.Concat(good, []string{plain, payload, bare, nothing, broken}))
	if r := results[broken]; r["status"] != "error" || !strings.Contains(r["error"], "JSON") {
		t.Errorf("result of a message with broken JSON: %v", r)
	}
	delete(results, broken)
	wantEach(t, results, uncharged)
	for id, text := range map[string]string{plain: "by hand", payload: "as payload"} {
		if !strings.Contains(results[id]["data"], text) {
			t.Errorf("result of %s: %v, want %q in it", id, results[id], text)
		}
	}
	letter := w.dead("probe", 1)[broken]
	wantLetter(t, letter, "permanent", "JSON", "unexpected end")
	if letter["data"] != `{"reply": ` || letter["dlqattempts"] != "1" || letter["dlqstream"] != "probe:tasks" || letter["dlqerrortype"] == "" || letter["dlqfingerprint"] == "" || letter["dlqtime"] == "" {
		t.Errorf("dead letter: %v", letter)
	}
	// A function that wants no JSON gets whatever comes.
	odd := w.add("echo:tasks", "type", "t", "data", "\xff\x00 no text")
	empty := w.add("echo:tasks", "type", "t")
	echoed := w.results("echo", []string{odd, empty})
	wantEach(t, echoed, uncharged)
	if echoed[odd]["data"] != "\xff\x00 no text" || echoed[empty]["data"] != "" {
		t.Errorf("data is not the same bytes: %q, %q", echoed[odd]["data"], echoed[empty]["data"])
	}
}

func TestLargeMessage(t *testing.T) {
	t.Parallel()
	heavy.Lock()
	defer heavy.Unlock()
	w := newWorld(t, []string{"echo"})
	w.serve().ready()
	before := w.send("echo", 20, `"small"`)
	large := strings.Repeat("0123456789abcdef", 20<<20/16)
	big := w.add("echo:tasks", "type", "large", "data", large)
	after := w.send("echo", 20, `"small"`)
	results := w.results("echo", slices.Concat(before, []string{big}, after))
	if results[big]["data"] != large {
		t.Errorf("20 MiB come back as %d bytes, or changed", len(results[big]["data"]))
	}
	wantEach(t, results, uncharged)
}

// TestUnknownFieldsAreKept byte for byte, in their order, in the dead letter, and
// a requeue puts the message back as it was.
func TestUnknownFieldsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	w.serve().ready()
	fields := []string{
		"x-tenant", "acme", "Ünïcode", "ä", "bytes", "\xff\xfe\x00\r\n", "\xc3\x28", "name of no text", "type", "t", "x-tenant", "twice",
		"time", "not a time", "traceparent", "not a trace", "data", `{"fail": "permanent"}`, "data", "a second one",
	}
	good := w.send("probe", 10, `{}`)
	odd := w.add("probe:tasks", fields...)
	results := w.results("probe", append(good, odd))
	if results[odd]["status"] != "error" {
		t.Errorf("result: %v", results[odd])
	}
	kept := w.raw("probe:dlq")
	if len(kept) < len(fields) || !slices.Equal(kept[:len(fields)], fields) {
		t.Errorf("the dead letter keeps\n%q, want first\n%q", kept, fields)
	}
	w.run("dlq", "requeue", "probe", "--all", "--yes").want(t, 0)
	w.until("probe:results", 12)
	kept = w.raw("probe:dlq")
	if want := append(slices.Clone(fields), "id", odd); len(kept) < len(want) || !slices.Equal(kept[:len(want)], want) {
		t.Errorf("after a requeue the dead letter keeps\n%q, want first\n%q", kept, want)
	}
}

// raw gives the names and values of a stream's last entry.
func (w *world) raw(stream string) (fields []string) {
	w.t.Helper()
	reply, err := w.redis.Do(w.t.Context(), "XREVRANGE", w.key(stream), "+", "-", "COUNT", 1).Slice()
	if err != nil || len(reply) != 1 {
		w.t.Fatalf("%s: %v, %v", stream, reply, err)
	}
	for _, f := range reply[0].([]any)[1].([]any) {
		fields = append(fields, f.(string))
	}
	return fields
}

// TestOlderWorkersLock: the message is another's until its lock expires; the
// others do not wait for it.
func TestOlderWorkersLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, "OPS_LEASE_TTL=1s")
	w.serve().ready()
	good := w.send("probe", 10, `{}`)
	ms, _, _ := strings.Cut(good[len(good)-1], "-")
	locked := ms + "-900"
	lock := w.key("ops:idemp:probe:tasks:" + locked)
	if err := w.redis.Set(t.Context(), lock, "locked", 5*time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	w.addAt("probe:tasks", locked, "type", "t", "data", `{}`)
	good = append(good, w.sendAfter(locked, 10)...)
	w.until("probe:results", len(good))
	n := w.length("probe:results")
	if value, err := w.redis.Get(t.Context(), lock).Result(); err == nil && value == "locked" && n != len(good) {
		t.Error("the message ran although an older worker holds it")
	}
	results := w.results("probe", append(good, locked))
	wantEach(t, results, uncharged)
	if at, err := time.Parse(time.RFC3339Nano, results[locked]["time"]); err != nil || at.Sub(entryTime(t, locked)) < 4*time.Second {
		t.Errorf("the message ran %s after it was sent, %v; its lock was to hold 5s", at.Sub(entryTime(t, locked)), err)
	}
}

// sendAfter adds messages with ids above one that may be ahead of the clock.
func (w *world) sendAfter(id string, n int) (ids []string) {
	w.t.Helper()
	ms, _, _ := strings.Cut(id, "-")
	for i := range n {
		ids = append(ids, w.addAt("probe:tasks", ms+"-"+string(rune('1'+i/9))+"00"+string(rune('1'+i%9)), "type", "t", "data", `{}`))
	}
	return ids
}

// TestExpiredMessage is dead-lettered unrun.
func TestExpiredMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	w.serve().ready()
	late := w.add("probe:tasks", "type", "t", "expirytime", "2001-01-01T00:00:00Z", "data", `{"emit": [{"stream": "echo", "data": 1}]}`)
	good := w.send("probe", 10, `{}`)
	results := w.results("probe", append(good, late))
	wantLetter(t, w.dead("probe", 1)[late], "expired", "2001-01-01")
	if results[late]["status"] != "error" || w.length("echo:tasks") != 0 {
		t.Errorf("result %v, %d emissions; want an error, and that it did not run", results[late], w.length("echo:tasks"))
	}
}

func entryTime(t *testing.T, id string) time.Time {
	t.Helper()
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.UnixMilli(n)
}
