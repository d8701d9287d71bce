package endtoend

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestPluginKilledUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	h := w.serve().ready()
	ids := w.send("probe", 600, `{"sleep_ms": 150}`)
	w.until("probe:results", 100)
	before := h.pluginPID("probe")
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	results := w.results("probe", ids)
	wantEach(t, results, uncharged)
	if pids := pidsOf(t, results); !pids[before] || len(pids) != 2 {
		t.Errorf("results of processes %v, want those of %d and of one after it", pids, before)
	}
	if ended := h.find("the plugin ended; its role waits for the next process"); ended == nil || ended["status"] != "signal: killed" {
		t.Errorf("the log does not say how the plugin ended: %v", ended)
	}
	h.ready()
	if _, metrics := h.get("/metrics"); !strings.Contains(metrics, `fnhost_plugin_exits_total{reason="crash",role="probe"} 1`) {
		t.Error("/metrics does not count the crash")
	}
}

func TestPoisonAmongGoodMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	h := w.serve().ready()
	data := make([]string, 51)
	for i := range data {
		data[i] = fmt.Sprintf(`{"reply": %d, "sleep_ms": 20}`, i)
	}
	data[25] = `{"fail": "exit", "log_lines": 1}`
	ids := w.sendEach("probe", data)
	results := w.results("probe", ids)
	poison := ids[25]
	letter := w.dead("probe", 1)[poison]
	wantLetter(t, letter, "poison", "exit status 3")
	if !strings.Contains(letter["dlqstderr"], "probe prints line 1 of 1") || letter["data"] != data[25] || !strings.HasPrefix(letter["dlqplugin"], "probe v1.2.3 ") {
		t.Errorf("the dead letter does not say what the plugin printed, or which it was, or has lost the data: %v", letter)
	}
	if r := results[poison]; r["status"] != "error" || !strings.Contains(r["error"], "exit status 3") {
		t.Errorf("result of the poison: %v", r)
	}
	delete(results, poison)
	wantEach(t, results, uncharged)
	h.ready()
	next := w.send("probe", 1, `{}`)
	wantEach(t, map[string]entry{"": w.results("probe", append(ids, next...))[next[0]]}, uncharged)
}

// TestManyPoisons: each is found out, whoever else runs beside it.
func TestManyPoisons(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	w.serve().ready()
	data := slices.Repeat([]string{`{"sleep_ms": 20}`}, 60)
	for _, i := range []int{3, 20, 41} {
		data[i] = `{"fail": "exit"}`
	}
	ids := w.sendEach("probe", data)
	results := w.results("probe", ids)
	letters := w.dead("probe", 3)
	for _, i := range []int{3, 20, 41} {
		wantLetter(t, letters[ids[i]], "poison", "exit status 3")
		delete(results, ids[i])
	}
	wantEach(t, results, uncharged)
}

// TestTwoHostsShareTheWork while one of them stops and another comes.
func TestTwoHostsShareTheWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"}, noLease)
	first, second := w.serve().ready(), w.serve().ready()
	ids := w.send("probe", 1200, `{"sleep_ms": 200}`)
	w.until("probe:results", 100)
	first.stop()
	third := w.serve().ready()
	results := w.results("probe", ids)
	wantEach(t, results, uncharged)
	pids := pidsOf(t, results)
	if !pids[first.pluginPID("probe")] || !pids[second.pluginPID("probe")] {
		t.Errorf("results of processes %v, want those of both hosts", pids)
	}
	third.mustLive()
}
