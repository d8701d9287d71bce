package endtoend

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/hosttest"
)

func TestRedisDownAtStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo"})
	w.server.Stop()
	h := w.serve()
	body := ""
	eventually(t, func() bool {
		h.mustLive()
		var code int
		code, body = h.get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "waiting for Redis")
	}, func() string { return "/readyz does not say that the host waits for Redis: " + body })
	if !strings.Contains(body, w.server.Addr()) || !strings.Contains(body, "refused") {
		t.Errorf("/readyz does not say which Redis, and why: %s", body)
	}
	if code, _ := h.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz is %d, want 200: the process lives", code)
	}
	if said := h.find("Redis does not answer; waiting for it"); said == nil || !strings.Contains(said["redis"].(string), w.server.Addr()) {
		t.Errorf("the log does not say it: %v", said)
	}
	w.server.Restart()
	h.ready()
	wantEach(t, w.results("echo", w.send("echo", 10, `1`)), uncharged)
}

func TestRedisKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server := hosttest.Redis(t, hosttest.AppendOnly...)
	w := worldOn(t, server, []string{"probe"}, "OPS_LEASE_TTL=3s")
	h := w.serve().ready()
	ids := w.send("probe", 600, `{"sleep_ms": 150}`)
	w.until("probe:results", 50)
	server.Kill()
	eventually(t, func() bool {
		h.mustLive()
		code, _ := h.get("/readyz")
		return code == http.StatusServiceUnavailable
	}, saying("/readyz is not 503 while Redis is down"))
	server.Restart()
	wantEach(t, w.results("probe", ids), uncharged)
	h.ready()
	if n := w.length("probe:dlq"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestRedisStalledWhileStateIsLoaded: handlers wait for their state, are
// cancelled by their timeout, and answer; so the loops that carry the cancels
// and the answers wait for nobody, and the process need not be killed.
func TestRedisStalledWhileStateIsLoaded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	w.config("roles:\n  probe:\n    timeout: 4s\n    max_retries: 20\n")
	h := w.serve().ready()
	pid := h.pluginPID("probe")
	// They sleep until Redis stalls, and load their state then.
	ids := w.send("probe", 40, `{"sleep_ms": 3000, "state": {"key": "k", "add": 0}}`)
	w.wantAudit("started", len(ids))
	w.server.Pause()
	time.Sleep(6 * time.Second) // the length of the stall is what is tested
	if code, _ := h.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz is %d while Redis stalls", code)
	}
	w.server.Resume()
	results := w.results("probe", ids)
	wantEach(t, results, entry{"status": "ok"})
	charged := 0
	for _, r := range results {
		if r["attempt"] != "1" {
			charged++
		}
	}
	if charged == 0 {
		t.Error("no handler ran into its timeout: the test shows nothing")
	}
	if pids := pidsOf(t, results); len(pids) != 1 || !pids[pid] {
		t.Errorf("answers of processes %v, want only %d: it was replaced", pids, pid)
	}
	h.ready()
	wantEach(t, w.results("probe", append(ids, w.send("probe", 5, `{}`)...)), entry{"status": "ok"})
}

// TestGroupLost: somebody destroys the group under load; it is made again where
// it was, and every message still has one result.
func TestGroupLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, "OPS_LEASE_TTL=1s")
	h := w.serve().ready()
	ids := w.send("probe", 400, `{"sleep_ms": 200}`)
	w.until("probe:results", 50)
	if err := w.redis.XGroupDestroy(t.Context(), w.key("probe:tasks"), "probe-workers").Err(); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, w.send("probe", 20, `{}`)...)
	wantEach(t, w.results("probe", ids), uncharged)
	if h.find("a consumer group was lost") == nil {
		t.Error("the log does not say that the group was lost")
	}
	h.ready()
}
