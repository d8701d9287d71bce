package endtoend

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A run is one execution of a handler, as the probe has written it down.
type run struct {
	entry      int // its place among the ids
	pid        int
	begin, end int64 // ns since 1970; end 0: the process died, or it runs still
}

// watched has the probe write down its executions; more is yaml of the role.
func (w *world) watched(more string) {
	w.config("roles:\n  probe:\n    plugin:\n      settings:\n        executions: " + w.executions() + "\n" + more)
}

func (w *world) executions() string { return filepath.Join(w.dir, "executions.jsonl") }

// runs gives the executions of messages, in the order in which they began.
func (w *world) runs(ids []string) (runs []run) {
	w.t.Helper()
	text, err := os.ReadFile(w.executions())
	if err != nil {
		return nil // none has begun
	}
	last := map[string]int{}
	for line := range strings.Lines(string(text)) {
		var e struct {
			At           int64
			PID          int
			Event, Entry string
			Fence        uint64
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			continue // it is being written
		}
		entry, name := slices.Index(ids, e.Entry), fmt.Sprint(e.Entry, e.Fence)
		switch i, begun := last[name]; {
		case entry < 0:
		case e.Event == "begin":
			last[name] = len(runs)
			runs = append(runs, run{entry: entry, pid: e.PID, begin: e.At})
		case begun:
			runs[i].end = e.At
		}
	}
	return runs
}

// suspicious publishes messages and makes suspects of them: twice, when all of
// them have begun, their plugin is killed.
func (w *world) suspicious(h *hostProcess, data ...string) (ids []string, kills []time.Time) {
	w.t.Helper()
	ids = w.sendEach("probe", data)
	for n := 1; n <= 2; n++ {
		eventually(w.t, func() bool { return len(w.runs(ids)) == n*len(ids) }, saying("not all messages have begun"))
		pid := w.runs(ids)[n*len(ids)-1].pid
		kills = append(kills, time.Now())
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			w.t.Fatal(err)
		}
		eventually(w.t, func() bool { return h.pluginPID("probe") != pid }, saying("no process takes the killed one's place"))
	}
	return ids, kills
}

// TestOnePoisonAmong500: nobody is charged for it, and it alone is dead-lettered.
func TestOnePoisonAmong500(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, "FNHOST_CONCURRENCY=64", noLease)
	w.watched("")
	h := w.serve().ready()
	data := slices.Repeat([]string{`{"sleep_ms": 50}`}, 501)
	const poisonAt = 30
	data[poisonAt] = `{"fail": "exit", "log_lines": 1}`
	ids := w.sendEach("probe", data)
	results := w.results("probe", ids)
	poison := ids[poisonAt]
	letter := w.dead("probe", 1)[poison]
	wantLetter(t, letter, "poison", "exit status 3")
	if !strings.Contains(letter["dlqstderr"], "probe prints line 1 of 1") || letter["dlqattempts"] != "1" {
		t.Errorf("the dead letter: %v", letter)
	}
	if r := results[poison]; r["status"] != "error" || r["attempt"] != "1" {
		t.Errorf("the poison's result: %v", r)
	}
	delete(results, poison)
	wantEach(t, results, uncharged)
	if own := h.find("the plugin is ready for messages that must run alone"); own == nil || own["role"] != "probe" {
		t.Errorf("the suspects had no process of their own: %v", own)
	}
	if crashes := len(h.lines("the plugin ended; its role waits for the next process")); crashes != 2 {
		t.Errorf("the role waited for a process %d times, want 2: the third death is the suspects'", crashes)
	}
	wantAlone(t, w.runs(ids), h)
}

// wantAlone checks that runs in the processes for suspects never overlap, and that
// there were some.
func wantAlone(t *testing.T, runs []run, h *hostProcess) {
	t.Helper()
	own := map[int]bool{}
	for _, line := range h.lines("the plugin is ready for messages that must run alone") {
		pid, _ := line["plugin_pid"].(float64)
		own[int(pid)] = true
	}
	alone, free := 0, int64(0)
	for _, r := range runs {
		if !own[r.pid] {
			continue
		}
		alone++
		if r.begin < free {
			t.Errorf("message %d began in %d before the one before had ended", r.entry, r.pid)
		}
		free = r.end
	}
	if alone == 0 {
		t.Error("no message ran alone")
	}
}

// TestSlowSuspectsHoldUpNobody: a killed plugin's messages run again at once, the
// second time alone; what comes meanwhile does not wait for them.
func TestSlowSuspectsHoldUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, noLease)
	w.watched("")
	h := w.serve().ready()
	const slow = `{"sleep_ms": 4000, "state": {"key": "k", "add": 1}}`
	suspects, kills := w.suspicious(h, slow, slow, slow)
	good := w.send("probe", 200, `{"sleep_ms": 10}`)
	results := w.results("probe", append(good, suspects...))
	wantEach(t, results, uncharged)
	wantAlone(t, w.runs(suspects), h)

	order := w.entries("probe:results")
	if last := order[len(order)-1]["entryid"]; last != suspects[len(suspects)-1] {
		t.Errorf("the last result is %s's: the others have waited for the suspects", last)
	}
	if got := w.redis.HGet(t.Context(), w.key("state:probe:k"), "count").Val(); got != "3" {
		t.Errorf("the suspects counted to %q in their state, want 3", got)
	}
	again := w.runs(suspects)[len(suspects) : 2*len(suspects)]
	for _, r := range again {
		t.Logf("message %d began again %v after its plugin was killed", r.entry, time.Unix(0, r.begin).Sub(kills[0]))
	}
}

// TestSuspectThatIgnoresItsCancel costs the process that suspects run in, and an
// attempt of its own: nothing of anybody else's.
func TestSuspectThatIgnoresItsCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, noLease)
	w.watched("    timeout: 3s\n    max_retries: 0\n")
	h := w.serve().ready()
	suspects, _ := w.suspicious(h, `{"fail": "hang"}`, `{"sleep_ms": 500}`)
	own := h.pluginPID("probe")
	good := w.send("probe", 20, `{"sleep_ms": 2000}`)
	results := w.results("probe", append(good, suspects...))
	letter := w.dead("probe", 1)[suspects[0]]
	wantLetter(t, letter, "exhausted", "did not end within 3s and did not heed its cancellation")
	if letter["dlqerrortype"] != "timeout" || letter["dlqattempts"] != "1" {
		t.Errorf("dead letter: %v", letter)
	}
	delete(results, suspects[0])
	wantEach(t, results, uncharged)
	if pid := h.pluginPID("probe"); pid != own || !alive(own) {
		t.Errorf("the role's process was replaced for a suspect: %d after %d", pid, own)
	}
}

// TestMessageThatHostsDieOf: it has been handed out often enough to be suspected;
// three more hosts that die while it runs alone, and it is a dead letter.
func TestMessageThatHostsDieOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, "OPS_LEASE_TTL=1s")
	w.watched("")
	w.serve().ready().stop() // it makes the group
	ids := w.send("probe", 2, `{"sleep_ms": 600000}`)
	w.handOut(ids[0], 5)
	w.handOut(ids[1], 1)
	var runs []run
	for n := range 3 {
		h := w.serve()
		eventually(t, func() bool { runs = w.runs(ids); return len(runs) == 2*(n+1) }, saying("not both messages have begun"))
		h.signal(syscall.SIGKILL)
		<-h.exited
	}
	if runs[0].pid == runs[1].pid {
		t.Errorf("the suspect did not run alone: %v", runs)
	}
	h := w.serve().ready()
	letter := w.dead("probe", 1)[ids[0]]
	wantLetter(t, letter, "poison", "the host was lost 3 times")
	eventually(t, func() bool { return len(w.runs(ids)) == 7 }, saying("the other message does not run again"))
	if n := w.length("probe:results"); n != 1 {
		t.Errorf("%d results, want that of the dead letter", n)
	}
	h.signal(syscall.SIGKILL) // a message runs for long still
}

// handOut has a message handed out so many times to a consumer that is gone.
func (w *world) handOut(id string, times int) {
	w.t.Helper()
	stream := w.key("probe:tasks")
	if _, err := w.redis.XReadGroup(w.t.Context(), &redis.XReadGroupArgs{Group: "probe-workers", Consumer: "gone", Streams: []string{stream, ">"}, Count: 1}).Result(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.redis.Do(w.t.Context(), "XCLAIM", stream, "probe-workers", "gone", 0, id, "RETRYCOUNT", times, "JUSTID").Err(); err != nil {
		w.t.Fatal(err)
	}
}
