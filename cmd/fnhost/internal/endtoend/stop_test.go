package endtoend

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"
)

// pidsOf are the plugin processes that gave the results.
func pidsOf(t *testing.T, results map[string]entry) map[int]bool {
	t.Helper()
	pids := map[int]bool{}
	for id, r := range results {
		var answer struct{ PID int }
		if err := json.Unmarshal([]byte(r["data"]), &answer); err != nil {
			t.Fatalf("result of %s: %v: %v", id, err, r)
		}
		pids[answer.PID] = true
	}
	return pids
}

// uncharged is what a result says whose message ran once, or again through no
// fault of its own.
var uncharged = entry{"status": "ok", "attempt": "1"}

// noLease makes a test fail whose messages wait for the end of a lease.
const noLease = "OPS_LEASE_TTL=10m"

func TestStopUnderLoadFinishesAndHandsBack(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, []string{"probe"}, noLease)
			first := w.serve().ready()
			ids := w.send("probe", 400, `{"sleep_ms": 500}`)
			w.until("probe:results", 100)
			first.signal(signal)
			first.wantExit(0)
			if n := w.length("probe:results"); n == len(ids) {
				t.Fatal("the host finished all before it stopped: the test shows nothing")
			}
			if pid := first.pluginPID("probe"); alive(pid) {
				t.Errorf("plugin %d outlives its host", pid)
			}
			w.serve().ready()
			results := w.results("probe", ids)
			wantEach(t, results, uncharged)
			if pids := pidsOf(t, results); len(pids) != 2 {
				t.Errorf("results of %d processes, want 2", len(pids))
			}
			if n := w.length("probe:dlq"); n != 0 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}

// TestDrainThatTakesTooLong: what still runs at its end is interrupted,
// uncharged, and runs again on the next host.
func TestDrainThatTakesTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, noLease)
	first := w.serve("FNHOST_DRAIN_TIMEOUT=200ms").ready()
	ids := w.send("probe", 40, `{"sleep_ms": 6000}`)
	w.wantAudit("started", len(ids))
	first.stop()
	if n := w.length("probe:results"); n != 0 {
		t.Fatalf("%d results of handlers that were to be interrupted", n)
	}
	w.serve().ready()
	wantEach(t, w.results("probe", ids), uncharged)
}

// TestHostKilled: another host takes over within the lease, and of the killed
// one nothing is left.
func TestHostKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, "OPS_LEASE_TTL=1s")
	doomed, other := w.serve().ready(), w.serve().ready()
	ids := w.send("probe", 800, `{"sleep_ms": 200}`)
	w.until("probe:results", 100)
	doomed.signal(syscall.SIGKILL)
	<-doomed.exited
	results := w.results("probe", ids)
	wantEach(t, results, uncharged)
	if !pidsOf(t, results)[other.pluginPID("probe")] {
		t.Error("the other host answered nothing")
	}
	orphan := doomed.pluginPID("probe")
	eventually(t, func() bool { return !alive(orphan) }, saying("the killed host's plugin goes on"))
	w.wantAudit("succeeded", len(ids))
	w.wantStats("probe", map[string]int{"ok": len(ids)})
	other.mustLive()
}

// TestSecondInterruptEndsAtOnce and leaves its messages to the next host, once
// their leases have ended.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, "OPS_LEASE_TTL=1s")
	first := w.serve().ready()
	ids := w.send("probe", 10, `{"sleep_ms": 20000}`)
	w.wantAudit("started", len(ids))
	first.signal(syscall.SIGINT)
	eventually(t, func() bool { return first.find("stopping: finishing what runs, handing back the rest") != nil }, saying("the host does not stop"))
	time.Sleep(500 * time.Millisecond) // sooner, it would be taken for the same
	first.signal(syscall.SIGINT)
	first.wantExit(130)
	orphan := first.pluginPID("probe")
	eventually(t, func() bool { return !alive(orphan) }, saying("the plugin outlives its host"))
	if n := w.length("probe:results"); n != 0 {
		t.Errorf("%d results: the host waited for its handlers", n)
	}
	w.serve("FNHOST_DRAIN_TIMEOUT=100ms").ready()
	w.wantAudit("reclaimed", len(ids))
}
