package endtoend

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

type items[T any] struct{ Items []T }

// lists reads what a command printed with -o json.
func lists[T any](t *testing.T, d done) []T {
	t.Helper()
	d.want(t, 0)
	return decode[items[T]](t, d.stdout).Items
}

func TestPublishAndWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo", "probe"})
	w.serve().ready()
	d := w.run("publish", "echo", "--type", "greet", "--data", `{"hello":"world"}`, "--wait").want(t, 0)
	if !strings.Contains(d.stdout, `"hello": "world"`) {
		t.Errorf("stdout is not the result: %s", d.stdout)
	}
	type result struct {
		Status     string
		Data       any
		Attributes map[string]string
	}
	r := decode[result](t, w.run("publish", "echo", "--data", `[1]`, "--wait", "--id", "my-1", "-o", "json").want(t, 0).stdout)
	if r.Status != "ok" || fmt.Sprint(r.Data) != "[1]" || r.Attributes["causationid"] != "my-1" {
		t.Errorf("the result as JSON: %+v", r)
	}
	dead := w.run("publish", "probe", "--data", `{"fail":"permanent"}`, "--wait").
		want(t, 1, "dead-lettered (permanent)", "the message asked for a failure", "fnhost dlq requeue probe ")
	if !strings.Contains(dead.stdout, "permanent") {
		t.Errorf("stdout is not the dead letter: %s", dead.stdout)
	}
	w.run("publish", "probe", "--data", `{"fail":"drop"}`, "--wait").want(t, 1, "dropped")
	w.run("publish", "probe", "--data", `{"sleep_ms":4000}`, "--wait", "--timeout", "1s").want(t, 124, "has no result after 1s", "fnhost check probe")
	w.run("publish", "nobody", "--data", `1`).want(t, 3, `"nobody"`, "roles:")
	type publication struct{ Stream, Entry, ID string }
	p := decode[publication](t, w.run("publish", "echo", "--data", `2`, "-o", "json").want(t, 0).stdout)
	if p.Stream != "echo:tasks" || p.ID == "" {
		t.Errorf("a publication: %+v", p)
	}
	eventually(t, func() bool {
		return slices.ContainsFunc(w.entries("echo:results"), func(e entry) bool { return e["entryid"] == p.Entry })
	}, saying("the published message has no result"))
}

func TestTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo"})
	w.serve().ready()
	var ids []string
	for _, data := range []string{`"a"`, `"b"`, `"c"`} { // one by one, so that the results are in order
		ids = append(ids, w.send("echo", 1, data)...)
		w.results("echo", ids)
	}
	type row struct {
		Entry, Status string
		Data          any
	}
	rows := lists[row](t, w.run("tail", "echo:results", "-n", "2", "-o", "json"))
	if len(rows) != 2 || rows[1].Data != "c" || rows[1].Status != "ok" {
		t.Errorf("the newest two: %+v", rows)
	}
	if d := w.run("tail", "echo").want(t, 0); strings.Count(d.stdout, "\n") != 5 || !strings.Contains(d.stdout, ids[0]) {
		t.Errorf("the tasks as a table, with a head:\n%s", d.stdout)
	}
	follow := w.start(nil, "tail", "echo:results", "-f", "-n", "1", "-o", "json")
	eventually(t, func() bool { return strings.Count(follow.out.String(), "\n") == 1 }, saying("tail -f does not print the newest entry"))
	w.send("echo", 1, `"d"`)
	eventually(t, func() bool { return strings.Count(follow.out.String(), "\n") == 2 }, saying("tail -f does not print what comes"))
	last := strings.Split(strings.TrimSpace(follow.out.String()), "\n")[1]
	if got := decode[row](t, last); got.Data != "d" {
		t.Errorf("what came: %+v", got)
	}
	follow.signal(syscall.SIGINT)
	follow.wantExit(130)
}

// TestRequeue: the cause is mended, the message runs again, and its new result
// is told from the first by nothing but its status and entry.
func TestRequeue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"probe"})
	w.config("roles:\n  probe:\n    emits: []\n")
	h := w.serve().ready()
	id := w.add("probe:tasks", "id", "order-7", "type", "order", "data", `{"reply": "done", "emit": [{"stream": "probe", "data": {}}]}`)
	typed := w.add("probe:tasks", "type", "other", "data", `{"fail": "permanent"}`)
	w.results("probe", []string{id, typed})
	type letter struct{ ID, Reason, Error, Message, EntryID, Group string }
	letters := lists[letter](t, w.run("dlq", "list", "probe", "-o", "json"))
	i := slices.IndexFunc(letters, func(l letter) bool { return l.EntryID == id })
	if len(letters) != 2 || i < 0 || letters[i].Reason != "permanent" || letters[i].Message != "order-7" || letters[i].Group == "" {
		t.Fatalf("dead letters: %+v", letters)
	}
	type group struct {
		Group string
		Count int
	}
	if groups := lists[group](t, w.run("dlq", "group", "probe", "-o", "json")); len(groups) != 2 || groups[0].Count != 1 {
		t.Errorf("groups: %+v", groups)
	}
	w.run("dlq", "requeue", "probe", "123-4").want(t, 3)
	h.stop()
	w.config("")
	w.serve().ready()
	type requeued struct{ ID, To, New, Error string }
	done := lists[requeued](t, w.run("dlq", "requeue", "probe", letters[i].ID, "-o", "json"))
	if len(done) != 1 || done[0].To != "probe:tasks" || done[0].New == "" || done[0].Error != "" {
		t.Fatalf("requeued: %+v", done)
	}
	var again entry
	eventually(t, func() bool {
		for _, r := range w.entries("probe:results") {
			if r["entryid"] == done[0].New {
				again = r
			}
		}
		return again != nil
	}, saying("the requeued message has no result"))
	wantEach(t, map[string]entry{done[0].New: again}, entry{"status": "ok", "attempt": "1", "correlationid": "order-7", "causationid": "order-7", "type": "order.result"})
	if n := w.length("probe:dlq"); n != 1 {
		t.Errorf("%d dead letters are left, want the other one", n)
	}
	if d := decode[struct{ Discarded int }](t, w.run("dlq", "discard", "probe", "--all", "--yes", "-o", "json").want(t, 0).stdout); d.Discarded != 1 {
		t.Errorf("discarded: %+v", d)
	}
}

func TestCheckTellsHowItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo"})
	w.run("check", "echo").want(t, 2) // critical: there is no group
	w.run("topology", "init", "echo").want(t, 0)
	w.run("check", "echo").want(t, 0) // nobody serves it, and nobody waits for it
	h := w.serve().ready()
	wantEach(t, w.results("echo", w.send("echo", 10, `1`)), uncharged)
	type row struct{ Check, Subject, Status, Detail string }
	eventually(t, func() bool { return w.run("check", "echo").code == 0 }, func() string { return w.run("check", "echo").stdout })
	rows := lists[row](t, w.run("check", "echo", "-o", "json"))
	if !slices.ContainsFunc(rows, func(r row) bool { return strings.Contains(r.Subject, "echo") && r.Status == "ok" }) {
		t.Errorf("check -o json: %+v", rows)
	}
	if first, _, _ := strings.Cut(w.run("check", "echo").stdout, "\n"); !strings.HasPrefix(first, "FNHOST OK") {
		t.Errorf("the first line: %q", first)
	}
	h.stop()
	w.run("check", "echo").want(t, 1)
	w.server.Stop()
	w.run("check", "echo").want(t, 2, w.server.Addr())
	w.run("dlq", "list", "echo").want(t, 6, w.server.Addr(), "REDIS_URL")
}

func TestCommandsThatNeedNoHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, "REDIS_MAX_RETRIES=5", "REDIS_PASSWORD=hunter2")
	w.config("roles:\n  echo:\n    timeout: 5s\n")
	type setting struct{ Setting, Value, Origin string }
	settings := lists[setting](t, w.run("config", "show", "--origin", "--ops-lease-ttl", "20s", "-o", "json"))
	for _, want := range []setting{
		{"REDIS_MAX_RETRIES", "5", "environment"}, {"OPS_LEASE_TTL", "20s", "flag --ops-lease-ttl"}, {"OPS_HB_TTL", "30", "default"},
		{"REDIS_PASSWORD", "***", "environment"}, {"roles.echo.timeout", "5s", "fnhost.yaml:3"},
	} {
		if !slices.Contains(settings, want) {
			t.Errorf("config show has no %v", want)
		}
	}
	if d := w.run("config", "show", "--origin").want(t, 0); strings.Contains(d.stdout, "hunter2") || !strings.Contains(d.stdout, "fnhost.yaml:3") {
		t.Errorf("config show: a secret, or an origin is missing:\n%s", d.stdout)
	}
	type subscription struct{ Role, Stream, Group, Results, Key string }
	subs := lists[subscription](t, w.run("topology", "show", "echo", "-o", "json"))
	if !slices.ContainsFunc(subs, func(s subscription) bool {
		return s.Stream == "echo:tasks" && s.Group == "echo-workers" && s.Key == "e2e:echo:tasks"
	}) {
		t.Errorf("topology show: %+v", subs)
	}
	type group struct{ Stream, Group, State string }
	if made := lists[group](t, w.run("topology", "init", "-o", "json")); !slices.Contains(made, group{"rag:tasks", "rag-workers", "created"}) {
		t.Errorf("topology init: %+v", made)
	}
	if v := decode[struct{ Version string }](t, w.run("version", "-o", "json").want(t, 0).stdout); v.Version != "v1.2.3" {
		t.Errorf("version: %+v", v)
	}
	type problem struct {
		Error struct{ Code, Message, Hint string }
	}
	if p := decode[problem](t, w.run("tail", "nobody", "-o", "json", "-q").want(t, 3).stderr).Error; p.Code != "not_found" || p.Message == "" || p.Hint == "" {
		t.Errorf("an error as JSON: %+v", p)
	}
	w.run("pubish", "rag").want(t, 2, "publish")
}

// TestDevBringsARedis of its own, which other commands can use.
func TestDevBringsARedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo", "probe"})
	w.env = w.env[1:] // no REDIS_URL
	dev := w.start(nil, "dev", "--plugins", w.plugins).ready()
	url := ""
	for line := range strings.Lines(dev.out.String()) {
		if strings.HasPrefix(line, "REDIS_URL=") {
			url = strings.TrimSpace(line)
		}
	}
	if url == "" || !strings.Contains(dev.log.String(), "nothing in it is durable") {
		t.Fatalf("fnhost dev prints no REDIS_URL, or not that nothing is durable:\n%s\n%s", dev.out, dev.log)
	}
	w.env = append(w.env, url)
	if d := w.run("publish", "echo", "--data", `{"a":1}`, "--wait").want(t, 0); !strings.Contains(d.stdout, `"a": 1`) {
		t.Errorf("the result: %s", d.stdout)
	}
	w.run("publish", "probe", "--data", `{"fail":"retry"}`, "--wait").want(t, 1, "dead-lettered (exhausted)")
	eventually(t, func() bool { return w.run("check", "echo").code == 0 }, func() string { return w.run("check", "echo").stdout })
	eventually(t, func() bool { return strings.Contains(dev.out.String(), "serving") }, func() string { return "no table of what is served:\n" + dev.out.String() })
	dev.stop()
	w.run("publish", "echo", "--data", `1`).want(t, 6)
}
