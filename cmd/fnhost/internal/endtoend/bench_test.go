package endtoend

import (
	"strings"
	"testing"
)

// TestBench measures a role that a host serves, and leaves its streams as they were.
func TestBench(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo", "probe"})
	w.serve().ready()
	type report struct {
		Role, Stream                    string
		Messages, Bytes                 int
		Seconds, Rate                   float64
		Results                         float64 `json:"results_per_second"`
		P50                             float64 `json:"p50_ms"`
		Max                             float64 `json:"max_ms"`
		OK, Errors, Dropped, Duplicates int
		Unanswered                      int
		Removed                         map[string]int
	}
	drained := decode[report](t, w.run("bench", "echo", "--messages", "3000", "--size", "100", "-o", "json").
		want(t, 0, "3000 messages, 3000 results, 0 dead letters, 3000 done marks").stdout)
	if drained.Role != "echo" || drained.OK != 3000 || drained.Bytes != 100 || drained.Results <= 0 || drained.P50 <= 0 || drained.Max < drained.P50 || drained.Duplicates+drained.Unanswered+drained.Errors != 0 {
		t.Errorf("got %+v", drained)
	}
	paced := decode[report](t, w.run("bench", "echo", "-n", "200", "--rate", "400", "-o", "json").want(t, 0).stdout)
	if paced.OK != 200 || paced.Rate != 400 || paced.Seconds < 199/400.0 {
		t.Errorf("got %+v; the last message is due after half a second", paced)
	}
	table := w.run("bench", "echo", "-n", "10", "-q").want(t, 0)
	if !strings.Contains(table.stdout, "p99_ms ") || table.stderr != "" {
		t.Errorf("as a table:\n%s\nstderr:\n%s", table.stdout, table.stderr)
	}
	for _, stream := range []string{"echo:tasks", "echo:results", "echo:dlq"} {
		if n := w.length(stream); n != 0 {
			t.Errorf("%s has %d entries afterwards", stream, n)
		}
	}
	if keys := w.redis.Keys(t.Context(), w.key("ops:idemp:*")).Val(); len(keys) > 0 {
		t.Errorf("%d done marks are left, as %s", len(keys), keys[0])
	}
	failed := w.run("bench", "probe", "-n", "5", "--data", `{"fail":"permanent"}`, "-o", "json").want(t, 1, "of 5 messages 5 failed", "publish probe --wait", "5 dead letters")
	if got := decode[report](t, failed.stdout); got.Errors != 5 || got.OK != 0 {
		t.Errorf("got %+v", got)
	}
	if n := w.length("probe:dlq"); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	ids := w.send("echo", 1, `1`)
	w.results("echo", ids)
	w.run("bench", "echo").want(t, 5, "echo:tasks has 1 entries", "--force")
	w.run("bench", "echo", "-n", "20", "--force").want(t, 0)
	if got := w.length("echo:tasks"); got != 1 {
		t.Errorf("%d entries; the one of others stays", got)
	}
	w.results("echo", ids)
}
