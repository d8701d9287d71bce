package endtoend

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestEchoAnswersEveryMessageOnce(t *testing.T) {
	t.Parallel()
	const n = 2000
	w := newWorld(t, []string{"echo"})
	h := w.serve().ready()
	data := make([]string, n)
	for i := range data {
		data[i] = fmt.Sprintf(`{"n": %d}`, i)
	}
	ids := w.sendEach("echo", data)
	results := w.results("echo", ids)
	wantEach(t, results, entry{"status": "ok", "attempt": "1", "type": "test.result", "source": "/fnhost/echo"})
	for i, id := range ids {
		r := results[id]
		if r["data"] != data[i] || r["causationid"] != id || r["correlationid"] != id || len(r["traceparent"]) != 55 || r["id"] == "" {
			t.Fatalf("result of %s with data %s: got %v", id, data[i], r)
		}
		if at, err := time.Parse(time.RFC3339Nano, r["time"]); err != nil || time.Since(at) > time.Hour {
			t.Fatalf("result of %s: time %q, %v", id, r["time"], err)
		}
	}
	if dead := w.length("echo:dlq"); dead != 0 {
		t.Errorf("%d dead letters", dead)
	}
	w.wantAudit("succeeded", n)
	w.wantStats("echo", map[string]int{"ok": n, "latency_count": n})
	_, metrics := h.get("/metrics")
	for _, line := range []string{
		`fnhost_messages_processed_total{outcome="ok",role="echo"} 2000`,
		`fnhost_messages_received_total{role="echo",source="new"} 2000`,
		`fnhost_plugin_up{role="echo"} 1`, `fnhost_redis_up 1`, `version="v1.2.3"`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
}

// wantAudit waits for so many audit events of a type.
func (w *world) wantAudit(kind string, n int) {
	w.t.Helper()
	count := 0
	eventually(w.t, func() bool {
		count = 0
		for _, e := range w.entries("audit:events") {
			if e["type"] == kind {
				count++
			}
		}
		return count == n
	}, func() string { return fmt.Sprintf("%d audit events of type %s, want %d", count, kind, n) })
}

// wantStats checks the sums of a role's minute stats, and that they expire.
func (w *world) wantStats(role string, want map[string]int) {
	w.t.Helper()
	keys, err := w.redis.Keys(w.t.Context(), w.key("ops:stats:"+role+":m:*")).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	got := map[string]int{}
	for _, key := range keys {
		if ttl := w.redis.TTL(w.t.Context(), key).Val(); ttl <= 0 || ttl > 48*time.Hour {
			w.t.Errorf("%s lives for %s, want up to 48h", key, ttl)
		}
		for field, value := range w.redis.HGetAll(w.t.Context(), key).Val() {
			n, err := strconv.Atoi(value)
			if err != nil {
				w.t.Errorf("%s %s: %q is no number", key, field, value)
			}
			got[field] += n
		}
	}
	for field, n := range want {
		if got[field] != n {
			w.t.Errorf("stats of %s: %s is %d, want %d: %v", role, field, got[field], n, got)
		}
	}
}

func TestMessageAttributesReachTheResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo"})
	w.serve().ready()
	trace := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	id := w.add("echo:tasks", "id", "mine", "type", "greet", "correlationid", "c-1", "partitionkey", "p-1",
		"traceparent", trace, "replyto", "rag:tasks", "data", `"hello"`)
	r := w.results("echo", []string{id})[id]
	want := entry{"type": "greet.result", "correlationid": "c-1", "causationid": "mine", "entryid": id, "partitionkey": "p-1", "status": "ok", "data": `"hello"`}
	wantEach(t, map[string]entry{id: r}, want)
	if !strings.HasPrefix(r["traceparent"], trace[:36]) || r["traceparent"] == trace {
		t.Errorf("traceparent %q: want another span of the same trace as %q", r["traceparent"], trace)
	}
	w.until("rag:tasks", 1)
	if reply := w.entries("rag:tasks")[0]; reply["data"] != `"hello"` || reply["causationid"] != "mine" || reply["status"] != "ok" {
		t.Errorf("the reply is not the result: %v", reply)
	}
	w.wantAudit("succeeded", 1)
	w.until("audit:spans", 1)
	if span := w.entries("audit:spans")[0]; span["traceid"] != trace[3:35] || span["parentid"] != trace[36:52] {
		t.Errorf("the span is not of the message's trace: %v", span)
	}
}

func TestPartitionKeyRunsOneAfterAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	w.serve().ready()
	var ids []string
	for i := range 20 {
		ids = append(ids, w.add("probe:tasks", "type", "t", "partitionkey", "one",
			"data", fmt.Sprintf(`{"sleep_ms": %d, "reply": %d}`, 20-i, i)))
	}
	w.results("probe", ids)
	for i, r := range w.entries("probe:results") {
		if r["entryid"] != ids[i] {
			t.Fatalf("result %d is that of %s, want that of %s: out of order", i, r["entryid"], ids[i])
		}
	}
}

func TestOpsKeysTellWhoServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo"})
	h := w.serve().ready()
	pattern := w.key("ops:hb:echo:*")
	eventually(t, func() bool { return len(w.redis.Keys(t.Context(), pattern).Val()) == 1 }, saying("no heartbeat of role echo"))
	beat := w.redis.Keys(t.Context(), pattern).Val()[0]
	if value, ttl := w.redis.Get(t.Context(), beat).Val(), w.redis.TTL(t.Context(), beat).Val(); value != "1" || ttl <= 0 || ttl > 30*time.Second {
		t.Errorf("heartbeat %s is %q for %s, want 1 for up to 30s", beat, value, ttl)
	}
	for stream, group := range map[string]string{
		"cm:commands": "cm-managers", "cm:events": "cm-subscribers", "orchestrator:commands": "orchestrators", "orchestrator:tasks": "orchestrators",
		"rag:tasks": "rag-workers", "persist:tasks": "persist-writers", "persist:dlq": "dlq-readers", "echo:tasks": "echo-workers",
		"audit:events": "auditors", "audit:spans": "auditors", "ops:health": "ops",
	} {
		groups, err := w.redis.XInfoGroups(t.Context(), w.key(stream)).Result()
		if err != nil || len(groups) != 1 || groups[0].Name != group {
			t.Errorf("stream %s: groups %v, %v; want %s", stream, groups, err, group)
		}
	}
	eventually(t, func() bool { return w.lastHealth("echo") == "serving" }, saying("ops:health does not say that echo is serving"))
	h.stop()
	if left := w.redis.Keys(t.Context(), pattern).Val(); len(left) != 0 {
		t.Errorf("heartbeats outlive the host: %v", left)
	}
	if got := w.lastHealth("echo"); got != "stopped" {
		t.Errorf("ops:health says that echo is %s, want stopped", got)
	}
}

// lastHealth is the newest state of a role in ops:health.
func (w *world) lastHealth(role string) (to string) {
	for _, e := range w.entries("ops:health") {
		if e["role"] == role {
			to = e["to"]
		}
	}
	return to
}
