package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/stream"
)

// onRedis gives a runner on a Redis of its own, and a client of it.
func onRedis(t *testing.T) (*runner, *stream.Client) {
	t.Helper()
	url := hosttest.Redis(t).URL()
	client, err := stream.Open(stream.Options{URL: url, Namespace: "agentic"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return newRunner(t, "REDIS_URL="+url), client
}

type list[T any] struct{ Items []T }

func TestPublishAndTail(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	d := r.run("publish", "rag", "--type", "rag.query", "--data", `{"query":"x"}`, "--key", "k", "--header", "subject=s", "--id", "m1")
	d.want(t, exitOK)
	if !strings.Contains(d.stdout, "rag:tasks") || !strings.Contains(d.stdout, "m1") {
		t.Errorf("publish says:\n%s", d.stdout)
	}
	entries, err := client.Range(t.Context(), "rag:tasks", "-", "+", 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("got %v, %v", entries, err)
	}
	m := delivery.Read(&entries[0])
	if m.ID != "m1" || m.Type != "rag.query" || m.Data != `{"query":"x"}` || m.PartitionKey != "k" || m.TraceParent == "" {
		t.Errorf("on the stream: %+v", m)
	}
	rows := decode[list[entry]](t, r.run("tail", "rag", "-o", "json").stdout).Items
	if len(rows) != 1 || rows[0].Entry != entries[0].ID || decode[map[string]string](t, string(rows[0].Data))["query"] != "x" || rows[0].Attributes["subject"] != "s" || rows[0].Attributes["source"] != "/fnhost/cli" {
		t.Errorf("tail: got %+v", rows)
	}
	if out := r.run("tail", "rag:tasks").stdout; !strings.Contains(out, "rag.query") || !strings.Contains(out, `{"query":"x"}`) {
		t.Errorf("tail as a table:\n%s", out)
	}
}

func TestPublishFromStandardInputAndFile(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	r.stdin = `{"from":"stdin"}`
	r.run("publish", "rag", "--data", "-").want(t, exitOK)
	big := `"` + strings.Repeat("x", 20<<20) + `"`
	if err := os.WriteFile(r.dir+"/big.json", []byte(big), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run("publish", "rag", "--data", "@big.json").want(t, exitOK)
	r.run("publish", "rag", "--raw", "--data", "no JSON").want(t, exitOK)
	entries, err := client.Range(t.Context(), "rag:tasks", "-", "+", 10)
	if err != nil || len(entries) != 3 {
		t.Fatalf("got %d entries, %v", len(entries), err)
	}
	for i, want := range []string{r.stdin, big, "no JSON"} {
		if m := delivery.Read(&entries[i]); m.Data != want {
			t.Errorf("entry %d: %d bytes that begin %.20q, want %d", i, len(m.Data), m.Data, len(want))
		}
	}
}

func TestUnknownTargets(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	r.run("publish", "rga", "--data", "{}").want(t, exitNotFound, `"rga"`, "did you mean rag?")
	r.run("publish", "rag:taks", "--data", "{}").want(t, exitNotFound, "did you mean rag:tasks?")
	r.run("tail", "nothing:here").want(t, exitNotFound, "nothing:here")
	r.run("dlq", "list", "persits").want(t, exitNotFound, "did you mean persist?")
	if n, err := client.Commands().DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("%d keys made by commands that failed, %v", n, err)
	}
	// A role that only a plugin brings is known by its stream.
	r.run("topology", "init", "echo").want(t, exitOK)
	r.run("publish", "echo", "--data", "{}").want(t, exitOK)
	if n, err := client.Len(t.Context(), "echo:tasks"); err != nil || n != 1 {
		t.Errorf("echo:tasks has %d entries, %v", n, err)
	}
}

// answer plays a host: it answers the first message of the stream.
func answer(t *testing.T, client *stream.Client, role string, reply func(task delivery.Entry) (stream string, fields []string)) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		stop := errors.New("answered")
		err := client.Tail(ctx, role+":tasks", "0", true, func(e delivery.Entry) error {
			if to, fields := reply(e); to != "" {
				if _, err := client.Publish(ctx, to, fields); err != nil {
					return err
				}
			}
			return stop
		})
		if errors.Is(err, stop) {
			err = nil
		}
		done <- err
	}()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("the host of the test: %v", err)
		}
	})
	return done
}

func resultOf(status, name, value string) func(delivery.Entry) (string, []string) {
	return func(e delivery.Entry) (string, []string) {
		m := delivery.Read(&e)
		return "rag:results", []string{
			"id", "rag:tasks/" + e.ID, "type", m.Type + ".result", "causationid", m.ID, "entryid", e.ID, "status", status, "attempt", "1", name, value,
		}
	}
}

func TestPublishAndWaitForTheResult(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	answer(t, client, "rag", resultOf("ok", "data", `[1,2]`))
	d := r.run("publish", "rag", "--wait", "--type", "rag.query", "--data", "{}", "--timeout", "60s", "-o", "json")
	d.want(t, exitOK, "answered after")
	if e := decode[entry](t, d.stdout); e.Status != "ok" || !slices.Equal(decode[[]int](t, string(e.Data)), []int{1, 2}) || e.Type != "rag.query.result" || e.Stream != "rag:results" {
		t.Errorf("got %+v, want the whole result entry", e)
	}
}

func TestPublishAndWaitPrintsDataForPeople(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	answer(t, client, "rag", resultOf("ok", "data", `{"n":1}`))
	d := r.run("publish", "rag", "--wait", "--data", "{}", "--timeout", "60s", "-q")
	d.want(t, exitOK)
	if d.stdout != "{\n  \"n\": 1\n}\n" || d.stderr != "" {
		t.Errorf("stdout %q, stderr %q", d.stdout, d.stderr)
	}
}

func TestPublishAndWaitForADeadLetter(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	answer(t, client, "rag", func(e delivery.Entry) (string, []string) {
		return "rag:dlq", letterFields("rag:tasks", e.ID, "no such collection", "fp1", "type", "rag.query")
	})
	d := r.run("publish", "rag", "--wait", "--data", "{}", "--timeout", "60s")
	d.want(t, exitFailed, "dead-lettered (permanent): no such collection", "fnhost dlq requeue rag")
	if !strings.Contains(d.stdout, "no such collection") {
		t.Errorf("the dead letter is not printed:\n%s", d.stdout)
	}
}

func TestPublishAndWaitForAResultWithoutDeadLetter(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	r.environ = append(r.environ, "ENABLE_DLQ=0")
	answer(t, client, "rag", resultOf("error", "error", `{"type":"permanent","message":"no"}`))
	r.run("publish", "rag", "--wait", "--data", "{}", "--timeout", "60s").want(t, exitFailed, "permanent: no")
}

func TestPublishAndWaitTimesOut(t *testing.T) {
	t.Parallel()
	r, _ := onRedis(t)
	r.run("publish", "rag", "--wait", "--data", "{}", "--timeout", "100ms").want(t, exitTimeout, "no result after 100ms", "fnhost check rag")
}

func TestTailFollows(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	for i := range 3 {
		if _, err := client.Publish(t.Context(), "rag:tasks", []string{"type", fmt.Sprint("t", i)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &lineCounter{at: 3, then: func(n int) {
		if n == 2 { // the two that were asked for are out: now one comes
			_, _ = client.Publish(ctx, "rag:tasks", []string{"type", "new"})
			return
		}
		cancel()
	}}
	a := &app{stdin: strings.NewReader(""), stdout: out, stderr: &bytes.Buffer{}, environ: r.environ, workdir: r.dir}
	if code := a.run(ctx, []string{"fnhost", "tail", "-f", "rag", "-n", "2", "-o", "json"}); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	var types []string
	for line := range strings.Lines(out.String()) {
		types = append(types, decode[entry](t, line).Type)
	}
	if !slices.Equal(types, []string{"t1", "t2", "new"}) {
		t.Errorf("got %q, one line of JSON each", types)
	}
}

// lineCounter calls then at its second line and at line at.
type lineCounter struct {
	bytes.Buffer
	at, lines int
	then      func(lines int)
}

func (l *lineCounter) Write(p []byte) (int, error) {
	n, err := l.Buffer.Write(p)
	l.lines += bytes.Count(p, []byte("\n"))
	if l.lines == 2 || l.lines == l.at {
		l.then(l.lines)
	}
	return n, err
}

func TestTailFrom(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	var ids []string
	for i := range 15 {
		id, err := client.Publish(t.Context(), "audit:events", []string{"type", fmt.Sprint(i)})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for _, c := range []struct {
		args        []string
		count       int
		first, last string
	}{
		{nil, 10, "5", "14"},
		{[]string{"-n", "3"}, 3, "12", "14"},
		{[]string{"--from", ids[2]}, 12, "3", "14"},
		{[]string{"--from", "0"}, 15, "0", "14"},
	} {
		rows := decode[list[entry]](t, r.run(append([]string{"tail", "audit:events", "-o", "json"}, c.args...)...).stdout).Items
		if len(rows) != c.count || rows[0].Type != c.first || rows[len(rows)-1].Type != c.last {
			t.Errorf("%q: got %+v", c.args, rows)
		}
	}
}

func TestTopologyInitAndCheck(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	d := r.run("check", "rag", "-o", "json")
	d.want(t, nagiosCritical) // no group
	if _, err := client.Publish(t.Context(), "rag:tasks", []string{"type", "x"}); err != nil {
		t.Fatal(err)
	}
	d = r.run("topology", "init", "echo", "-o", "json")
	d.want(t, exitOK, "1 entries that were there already are skipped")
	rows := decode[list[madeGroup]](t, d.stdout).Items
	if i := slices.IndexFunc(rows, func(g madeGroup) bool { return g.Stream == "rag:tasks" }); i < 0 || rows[i].State != "created" || rows[i].Skipped != 1 {
		t.Errorf("got %+v", rows)
	}
	for _, row := range decode[list[madeGroup]](t, r.run("topology", "init", "echo", "-o", "json").stdout).Items {
		if row.State != "exists" {
			t.Errorf("the second time: got %+v", row)
		}
	}
	r.environ = append(r.environ, "OPS_HB_ENABLED=0") // nobody serves here
	r.run("check").want(t, exitOK)
	if out := r.run("check", "--problems").stdout; strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "FNHOST OK") {
		t.Errorf("got %q", out)
	}
	if _, err := client.Publish(t.Context(), "rag:dlq", letterFields("rag:tasks", "1-0", "problem", "fp")); err != nil {
		t.Fatal(err)
	}
	d = r.run("check", "rag", "echo")
	d.want(t, nagiosWarning)
	if first, _, _ := strings.Cut(d.stdout, "\n"); !strings.HasPrefix(first, "FNHOST WARNING") {
		t.Errorf("the first line is for the monitor: %q", first)
	}
	for _, role := range []string{"rag", "echo"} {
		rows := decode[list[checked]](t, r.run("check", role, "-o", "json").stdout).Items
		if !slices.ContainsFunc(rows, func(c checked) bool { return c.Subject == role+":tasks/"+role+"-workers" && c.Status == "ok" }) {
			t.Errorf("check %s: got %+v", role, rows)
		}
	}
}

func TestDemoSaysWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	r, _ := onRedis(t)
	r.run("demo", "--goroot", r.dir).want(t, exitNotFound, "go_spec.html", "--goroot")
	if err := os.MkdirAll(r.dir+"/doc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(r.dir+"/src/testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"doc/go_spec.html", "doc/go_mem.html", "src/testdata/Isaac.Newton-Opticks.txt"} {
		if err := os.WriteFile(r.dir+"/"+name, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.run("demo", "--goroot", r.dir, "--timeout", "200ms").want(t, exitTimeout, "1 of 1 messages", "fnhost check cm orchestrator rag persist")
}
