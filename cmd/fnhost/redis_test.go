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

// letterFields are those of a dead letter, after the message's own.
func letterFields(origin, id, problem, fingerprint string, message ...string) []string {
	return append(slices.Clone(message), "dlqreason", "permanent", "dlqerror", problem, "dlqerrortype", "permanent", "dlqfingerprint", fingerprint,
		"dlqstream", origin, "dlqid", id, "dlqattempts", "3", "dlqtime", time.Now().UTC().Format(time.RFC3339Nano))
}

// withLetters gives a Redis whose rag:dlq has n letters, of two kinds.
func withLetters(t *testing.T, n int) (*runner, *stream.Client, []string) {
	t.Helper()
	r, client := onRedis(t)
	r.run("topology", "init").want(t, exitOK)
	ids := make([]string, n)
	for i := range ids {
		kind := i % 2
		id, err := client.Publish(t.Context(), "rag:dlq", letterFields("rag:tasks", fmt.Sprintf("%d-0", i+1),
			fmt.Sprintf("problem %d", kind), fmt.Sprintf("fp%d", kind), "type", fmt.Sprintf("t%d", kind), "id", fmt.Sprint("m", i), "data", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id
	}
	return r, client, ids
}

func TestDLQListAndGroup(t *testing.T) {
	t.Parallel()
	r, _, ids := withLetters(t, 5)
	all := decode[list[letter]](t, r.run("dlq", "list", "rag", "-o", "json").stdout).Items
	if len(all) != 5 || all[0].ID != ids[4] || all[0].Error != "problem 0" || all[0].Attempts != 3 {
		t.Errorf("list: got %+v", all)
	}
	for filter, want := range map[string]int{"--type t1": 2, "--group fp0": 3, "--text PROBLEM": 5, "--since 1h": 5, "--reason poison": 0, "--limit 2": 2} {
		args := append([]string{"dlq", "list", "rag", "-o", "json"}, strings.Fields(filter)...)
		if got := decode[list[letter]](t, r.run(args...).stdout).Items; len(got) != want {
			t.Errorf("%s: %d letters, want %d", filter, len(got), want)
		}
	}
	groups := decode[list[letterGroup]](t, r.run("dlq", "group", "rag:dlq", "-o", "json").stdout).Items
	if len(groups) != 2 || groups[0].Fingerprint != "fp0" || groups[0].Count != 3 || groups[1].Count != 2 {
		t.Errorf("group: got %+v", groups)
	}
	for _, command := range []string{"list", "group"} {
		if out := r.run("dlq", command, "rag").stdout; !strings.Contains(out, "problem 1") || !strings.Contains(out, "fp1") {
			t.Errorf("dlq %s as a table:\n%s", command, out)
		}
	}
	if out := r.run("dlq", "list", "persist").stdout; !strings.Contains(out, "no dead letters in persist:dlq") {
		t.Errorf("an empty one says %q", out)
	}
}

func TestDLQRequeue(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, 5)
	length := func(stream string, want int64) {
		t.Helper()
		if n, err := client.Len(t.Context(), stream); err != nil || n != want {
			t.Errorf("%s has %d entries, %v; want %d", stream, n, err, want)
		}
	}
	r.run("dlq", "requeue", "rag").want(t, exitUsage, "--all")
	r.run("dlq", "requeue", "rag", ids[0], "--all").want(t, exitUsage, "exclude each other")
	r.run("dlq", "requeue", "rag", "--all", "--dry-run").want(t, exitOK)
	length("rag:dlq", 5)
	length("rag:tasks", 0)
	r.run("dlq", "requeue", "rag", ids[0]).want(t, exitOK)
	length("rag:dlq", 4)
	length("rag:tasks", 1)
	r.run("dlq", "requeue", "rag", ids[0]).want(t, exitNotFound, "none of the 1")
	d := r.run("dlq", "requeue", "rag", ids[0], ids[1], "-o", "json")
	d.want(t, exitPartly, "1 of 2")
	if rows := decode[list[requeue]](t, d.stdout).Items; len(rows) != 2 || rows[0].Error == "" || rows[1].New == "" || rows[1].To != "rag:tasks" {
		t.Errorf("got %+v", rows)
	}
	r.run("dlq", "redrive", "rag", "--group", "fp0").want(t, exitOK)
	length("rag:dlq", 1)
	r.run("dlq", "requeue", "rag", "--all", "--to", "persist").want(t, exitOK)
	length("rag:dlq", 0)
	length("persist:tasks", 1)
	first, err := client.Range(t.Context(), "rag:tasks", "-", "+", 1)
	if err != nil || delivery.Read(&first[0]).ID != "m0" || strings.Contains(strings.Join(first[0].Fields, " "), "dlq") {
		t.Errorf("the message must come back as it was: %v, %v", first, err)
	}
}

func TestDLQDiscard(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, 4)
	r.run("dlq", "discard", "rag", "--type", "t1", "--dry-run").want(t, exitOK)
	d := r.run("dlq", "discard", "rag", "--type", "t1", "-o", "json")
	d.want(t, exitOK)
	if got := decode[discarded](t, d.stdout); got.Discarded != 2 {
		t.Errorf("got %+v", got)
	}
	r.run("dlq", "discard", "rag", ids[1]).want(t, exitNotFound)
	r.run("dlq", "discard", "rag", ids[0], ids[1]).want(t, exitPartly)
	if n, err := client.Len(t.Context(), "rag:dlq"); err != nil || n != 1 {
		t.Errorf("%d left, %v", n, err)
	}
}

func TestManyLettersAreConfirmed(t *testing.T) {
	t.Parallel()
	r, client, _ := withLetters(t, manyLetters+1)
	left := func(want int64) {
		t.Helper()
		if n, err := client.Len(t.Context(), "rag:dlq"); err != nil || n != want {
			t.Errorf("%d left, %v; want %d", n, err, want)
		}
	}
	r.run("dlq", "discard", "rag", "--all").want(t, exitConfirm, "101", "--yes")
	left(manyLetters + 1)
	r.tty, r.stdin = true, "no\n"
	r.run("dlq", "requeue", "rag", "--all").want(t, exitConfirm, "Type rag:dlq", "problem", "nothing was changed")
	left(manyLetters + 1)
	r.stdin = "rag:dlq\n"
	r.run("dlq", "requeue", "rag", "--type", "t0", "--all").want(t, exitOK) // 51: not asked
	r.run("dlq", "discard", "rag", "--all", "--yes").want(t, exitOK)
	left(0)
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
	d = r.run("check", "rag", "echo")
	d.want(t, nagiosWarning) // all there, but nobody serves
	if first, _, _ := strings.Cut(d.stdout, "\n"); !strings.HasPrefix(first, "FNHOST WARNING") {
		t.Errorf("the first line is for the monitor: %q", first)
	}
	r.environ = append(r.environ, "OPS_HB_ENABLED=0")
	r.run("check").want(t, exitOK)
	if out := r.run("check", "--problems").stdout; strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "FNHOST OK") {
		t.Errorf("got %q", out)
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
	r.run("demo", "--goroot", r.dir, "--timeout", "200ms").want(t, exitTimeout, "3 of 3 messages", "fnhost check rag persist")
}
