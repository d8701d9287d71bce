package endtoend

import (
	"fmt"
	"strings"
	"testing"
)

// TestKeyedStateCountsEveryMessageOnce: handlers that race for one key run again
// on what it has become, uncharged.
func TestKeyedStateCountsEveryMessageOnce(t *testing.T) {
	t.Parallel()
	const n = 300
	w := newWorld(t, []string{"probe"})
	h := w.serve().ready()
	ids := w.send("probe", n, `{"state": {"key": "total", "add": 1}}`)
	results := w.results("probe", ids)
	wantEach(t, results, uncharged)
	seen := map[int]bool{}
	for _, r := range results {
		seen[decode[struct{ State int }](t, r["data"]).State] = true
	}
	for want := 1; want <= n; want++ {
		if !seen[want] {
			t.Errorf("no result says that the count was %d: an addition was lost or made twice", want)
		}
	}
	if got := w.redis.HGet(t.Context(), w.key("state:probe:total"), "count").Val(); got != fmt.Sprint(n) {
		t.Errorf("the count is %s, want %d", got, n)
	}
	if dead := w.length("probe:dlq"); dead != 0 {
		t.Errorf("%d dead letters", dead)
	}
	if _, metrics := h.get("/metrics"); !strings.Contains(metrics, `fnhost_retries_total{reason="error",role="probe"} 0`) {
		t.Error("conflicts are counted as failures")
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	h := w.serve().ready()
	ids := w.sendEach("probe", []string{
		`{"fail": "retry", "fail_attempts": 2, "reply": "third time"}`,
		`{"fail": "retry"}`,
		`{"fail": "permanent"}`,
		`{"fail": "drop"}`,
		`{"fail": "panic"}`,
		`{"fail": "panic", "fail_attempts": 1}`,
		`{"reply": "fine"}`,
	})
	results := w.results("probe", ids)
	for i, want := range []entry{
		{"status": "ok", "attempt": "3"}, {"status": "error", "attempt": "3"}, {"status": "error", "attempt": "1"}, {"status": "dropped", "attempt": "1"},
		{"status": "error", "attempt": "3"}, {"status": "ok", "attempt": "2"}, {"status": "ok", "attempt": "1"},
	} {
		wantEach(t, map[string]entry{ids[i]: results[ids[i]]}, want)
	}
	if !strings.Contains(results[ids[3]]["error"], "asked to be dropped") {
		t.Errorf("the dropped result does not say why: %v", results[ids[3]])
	}
	letters := w.dead("probe", 3)
	wantLetter(t, letters[ids[1]], "exhausted", "the message asked for a failure")
	wantLetter(t, letters[ids[2]], "permanent", "the message asked for a failure")
	panicked := letters[ids[4]]
	wantLetter(t, panicked, "exhausted", "the message asked for a panic")
	if panicked["dlqerrortype"] != "panic" || !strings.Contains(panicked["dlqstderr"], "main.fail(") || panicked["dlqattempts"] != "3" {
		t.Errorf("the dead letter has not the panic's stack: %v", panicked)
	}
	if strings.Contains(results[ids[4]]["error"], "main.fail(") {
		t.Error("the result has the stack, which is for the operator")
	}
	if pid := h.pluginPID("probe"); !alive(pid) || len(h.lines("the plugin is ready")) != 1 {
		t.Error("the plugin was replaced for a handler's failure")
	}
	w.wantAudit("retried", 2+2+2+1)
	w.wantAudit("deadlettered", 3)
	w.wantAudit("dropped", 1)
	w.wantStats("probe", map[string]int{"ok": 3, "error": 3, "dropped": 1, "latency_count": 7})
}

func TestRetryBackoff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, "REDIS_MAX_RETRIES=1", "REDIS_RETRY_BACKOFF_MS=2000")
	w.serve().ready()
	slow := w.send("probe", 1, `{"fail": "retry", "fail_attempts": 1}`)
	quick := w.send("probe", 10, `{}`)
	results := w.results("probe", append(quick, slow...))
	wantEach(t, map[string]entry{slow[0]: results[slow[0]]}, entry{"status": "ok", "attempt": "2"})
	if all := w.entries("probe:results"); all[len(all)-1]["entryid"] != slow[0] {
		t.Error("messages waited for another's backoff")
	}
}

// TestHandlerThatHangs: it is charged, its process is replaced, and what ran
// beside it runs again uncharged.
func TestHandlerThatHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	w.config("roles:\n  probe:\n    timeout: 2s\n    max_retries: 0\n")
	h := w.serve().ready()
	before := h.pluginPID("probe")
	hung := w.send("probe", 1, `{"fail": "hang"}`)
	ids := append(w.send("probe", 100, `{"sleep_ms": 100}`), hung...)
	slow := w.send("probe", 1, `{"sleep_ms": 60000}`) // heeds its context
	results := w.results("probe", append(ids, slow...))
	letters := w.dead("probe", 2)
	wantLetter(t, letters[hung[0]], "exhausted", "did not end within 2s and did not heed its cancellation")
	wantLetter(t, letters[slow[0]], "exhausted")
	for _, id := range []string{hung[0], slow[0]} {
		if l := letters[id]; l["dlqerrortype"] != "timeout" || l["dlqattempts"] != "1" {
			t.Errorf("dead letter of %s: type %q, attempts %q", id, l["dlqerrortype"], l["dlqattempts"])
		}
		delete(results, id)
	}
	wantEach(t, results, uncharged)
	h.ready()
	after := w.send("probe", 20, `{}`)
	w.until("probe:results", len(ids)+1+len(after))
	w.settled("probe")
	if now := h.pluginPID("probe"); now == before || alive(before) {
		t.Errorf("the process that hung, %d, was not replaced", before)
	}
}

func TestPluginLogsReachTheHostsLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	h := w.serve().ready()
	id := w.send("probe", 1, `{"log_lines": 3}`)[0]
	w.results("probe", []string{id})
	eventually(t, func() bool {
		return len(h.lines("probe")) == 3 && strings.Count(h.log.String(), "probe prints line") == 3
	}, saying("the plugin's lines are not in the host's log"))
	if line := h.lines("probe")[0]; line["role"] != "probe" || line["generation"] == nil || !strings.Contains(fmt.Sprint(line), id) {
		t.Errorf("the line has not the role, generation and message %s: %v", id, line)
	}
}
