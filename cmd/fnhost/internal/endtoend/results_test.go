package endtoend

import (
	"slices"
	"strings"
	"testing"
)

func TestResultsOfOversize(t *testing.T) {
	t.Parallel()
	heavy.Lock()
	defer heavy.Unlock()
	w := newWorld(t, []string{"probe"})
	h := w.serve().ready()
	before := w.send("probe", 20, `{"sleep_ms": 5}`)
	huge := w.send("probe", 1, `{"reply_bytes": 73400320}`)[0]
	large := w.send("probe", 1, `{"reply_bytes": 20971520}`)[0]
	after := w.send("probe", 20, `{"sleep_ms": 5}`)
	results := w.results("probe", slices.Concat(before, []string{huge, large}, after))
	letter := w.dead("probe", 1)[huge]
	wantLetter(t, letter, "oversize", "the limit is 67108864")
	if letter["data"] != `{"reply_bytes": 73400320}` || letter["dlqattempts"] != "1" {
		t.Errorf("dead letter: %v", letter)
	}
	if r := results[huge]; r["status"] != "error" || !strings.Contains(r["error"], "oversize") {
		t.Errorf("result: %.500v", r)
	}
	if n := len(results[large]["data"]); n < 20<<20 {
		t.Errorf("a result of 20 MiB has %d bytes", n)
	}
	delete(results, huge)
	wantEach(t, results, uncharged)
	if pids := pidsOf(t, results); len(pids) != 1 || !pids[h.pluginPID("probe")] {
		t.Errorf("the plugin was replaced: %v", pids)
	}
}

// A role that writes where it may not, or cannot, gets nothing of its outcome
// applied: no emission, no state, no result but the error.
func TestOutcomesThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	h := w.serve().ready()
	if err := w.redis.Set(t.Context(), w.key("echo:tasks"), "a string", 0).Err(); err != nil {
		t.Fatal(err)
	}
	good := w.send("probe", 20, `{"sleep_ms": 5}`)
	forbidden := w.send("probe", 1, `{"emit": [{"stream": "probe", "data": {"reply": "never"}}, {"stream": "rag:tasks", "data": 1}], "state": {"key": "k", "add": 1}}`)[0]
	unknown := w.send("probe", 1, `{"emit": [{"stream": "no-such-role", "data": 1}], "state": {"key": "k", "add": 1}}`)[0]
	noStream := w.send("probe", 1, `{"emit": [{"stream": "probe", "data": {"reply": "never"}}, {"stream": "echo", "data": 1}], "state": {"key": "k", "add": 1}}`)[0]
	replyTo := w.add("probe:tasks", "type", "t", "replyto", "probe:results", "data", `{"state": {"key": "k", "add": 1}}`)
	allowed := w.send("probe", 1, `{"emit": [{"stream": "probe", "data": {"reply": "emitted"}}]}`)[0]
	good = append(good, w.send("probe", 20, `{"sleep_ms": 5}`)...)

	w.until("probe:results", len(good)+6)
	w.settled("probe")
	emitted := ""
	for _, r := range w.entries("probe:results") {
		if strings.Contains(r["data"], `"emitted"`) {
			emitted = r["entryid"]
		}
	}
	results := w.results("probe", append(good, forbidden, unknown, noStream, replyTo, allowed, emitted))
	if r := results[emitted]; r["type"] != "probe.emission.result" || r["correlationid"] != allowed {
		t.Errorf("the allowed emission's result: %v", r)
	}
	letters := w.dead("probe", 4)
	wantLetter(t, letters[forbidden], "permanent", `"probe"`, "rag:tasks", "emits")
	wantLetter(t, letters[unknown], "permanent", "no-such-role")
	wantLetter(t, letters[noStream], "permanent", w.key("echo:tasks"), "holds a string, not a stream")
	wantLetter(t, letters[replyTo], "permanent", "probe:results", "fnhost.yaml")
	for _, id := range []string{forbidden, unknown, noStream, replyTo} {
		if r := results[id]; r["status"] != "error" || r["attempt"] != "1" || r["data"] != "" {
			t.Errorf("result of %s: %v", id, r)
		}
		delete(results, id)
	}
	wantEach(t, results, uncharged)
	if n := w.redis.Exists(t.Context(), w.key("state:probe:k")).Val(); n != 0 {
		t.Error("state was written by an outcome that was refused")
	}
	if n := w.length("rag:tasks"); n != 0 {
		t.Errorf("%d forbidden emissions", n)
	}
	if got := w.redis.Get(t.Context(), w.key("echo:tasks")).Val(); got != "a string" {
		t.Errorf("the key of another kind is now %q", got)
	}
	h.ready()
}

// TestResultsStreamOfAnotherKind: where not even the error can be told, the
// message stays, readyz or the log says why, and it goes on when that is mended.
func TestResultsStreamOfAnotherKind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, "OPS_LEASE_TTL=1s")
	h := w.serve().ready()
	if err := w.redis.Set(t.Context(), w.key("probe:results"), "a string", 0).Err(); err != nil {
		t.Fatal(err)
	}
	ids := w.send("probe", 3, `{}`)
	eventually(t, func() bool {
		h.mustLive()
		return strings.Contains(h.log.String(), w.key("probe:results")+" holds a string, not a stream")
	}, saying("the log does not say that the results stream is a string"))
	if err := w.redis.Del(t.Context(), w.key("probe:results")).Err(); err != nil {
		t.Fatal(err)
	}
	w.until("probe:results", len(ids))
	w.settled("probe")
}
