package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
)

// A done is what a command line did.
type done struct {
	code           int
	stdout, stderr string
}

// runner runs command lines in an environment of their own.
type runner struct {
	t       *testing.T
	environ []string
	dir     string
	stdin   string
	tty     bool // stdin is a terminal
}

func newRunner(t *testing.T, environ ...string) *runner {
	t.Helper()
	return &runner{t: t, environ: environ, dir: t.TempDir()}
}

func (r *runner) run(args ...string) done {
	r.t.Helper()
	return r.runContext(r.t.Context(), args...)
}

func (r *runner) runContext(ctx context.Context, args ...string) done {
	r.t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{
		stdin: strings.NewReader(r.stdin), stdout: &stdout, stderr: &stderr, environ: r.environ, workdir: r.dir,
		stdinTTY: r.tty, exit: func(code int) { r.t.Errorf("exit(%d)", code) },
	}
	code := a.run(ctx, append([]string{"fnhost"}, args...))
	return done{code, stdout.String(), stderr.String()}
}

// want checks the exit code, and that stderr has each text.
func (d done) want(t *testing.T, code int, stderr ...string) {
	t.Helper()
	if d.code != code {
		t.Errorf("exit code %d, want %d; stdout:\n%s\nstderr:\n%s", d.code, code, d.stdout, d.stderr)
	}
	for _, text := range stderr {
		if !strings.Contains(d.stderr, text) {
			t.Errorf("stderr has no %q:\n%s", text, d.stderr)
		}
	}
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	return v
}

// nowhere is an address that refuses connections.
const nowhere = "REDIS_URL=redis://127.0.0.1:1"

func TestBadCommandLines(t *testing.T) {
	t.Parallel()
	r := newRunner(t, nowhere)
	if err := os.WriteFile(r.dir+"/bad.json", []byte("{\n  \"a\": 1,\n  oops\n}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		code   int
		stderr []string
	}{
		{"pubilsh rag", exitUsage, []string{`"pubilsh"`, `Did you mean "publish"?`, "fnhost help"}},
		{"publish rag --tipe x", exitUsage, []string{"-tipe", "did you mean --type", "fnhost publish --help"}},
		{"publish rag --timeout soon", exitUsage, []string{"soon", "timeout"}},
		{"publish", exitUsage, []string{"wants a role or a stream"}},
		{"publish rag extra", exitUsage, []string{`not "extra"`}},
		{"publish rag --data {\"a\":}", exitUsage, []string{"line 1, column 6", "--raw"}},
		{"publish rag --data @bad.json", exitUsage, []string{"line 3, column 3"}},
		{"publish rag --data @missing.json", exitNotFound, []string{"missing.json", "--data - for standard input"}},
		{"publish rag --header subject", exitUsage, []string{"--header name=value"}},
		{"publish rag --header id=1", exitUsage, []string{"flag of its own"}},
		{"tail rag:tasks -n -3", exitUsage, []string{"-n -3"}},
		{"version -o xml", exitUsage, []string{`"xml"`, "table or json"}},
		{"serve somewhere", exitUsage, []string{"--plugins"}},
		{"config show --ops-hb-interval 60s", exitInvalid, []string{"OPS_HB_INTERVAL"}},
		{"config show --redis-url redis+sentinel://a:1", exitOK, nil},
		{"tail rag:tasks --redis-url redis+sentinel://a:1", exitInvalid, []string{"Sentinel"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			r.run(strings.Fields(c.args)...).want(t, c.code, c.stderr...)
		})
	}
}

func TestRedisUnreachable(t *testing.T) {
	t.Parallel()
	r := newRunner(t, nowhere)
	for _, args := range []string{"publish rag --data {}", "tail rag", "dlq list rag", "dlq requeue rag --all", "topology init", "demo"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			r.run(strings.Fields(args)...).want(t, exitRedis, "127.0.0.1:1", "REDIS_URL")
		})
	}
	t.Run("check is critical", func(t *testing.T) {
		t.Parallel()
		r.run("check").want(t, nagiosCritical, "127.0.0.1:1")
	})
	t.Run("nothing set", func(t *testing.T) {
		t.Parallel()
		newRunner(t, "REDIS_PORT=1").run("tail", "rag").want(t, exitRedis, "fnhost dev")
	})
}

func TestErrorsAsJSON(t *testing.T) {
	t.Parallel()
	type body struct {
		Error struct{ Code, Message, Hint string }
	}
	r := newRunner(t, nowhere)
	for _, c := range []struct{ args, code string }{
		{"tail rag -o json", "redis_unreachable"},
		{"pubilsh --output=json", "usage"},
		{"publish rag --data { -o json", "usage"},
		{"publish rag --data @missing -o json", "not_found"},
	} {
		d := r.run(strings.Fields(c.args)...)
		got := decode[body](t, d.stderr).Error
		if got.Code != c.code || got.Message == "" || got.Hint == "" || d.stdout != "" {
			t.Errorf("%s: got %+v, stdout %q; want code %q, what, what to do, and no data", c.args, got, d.stdout, c.code)
		}
	}
	r.environ = append(r.environ, "FNHOST_OUTPUT=json")
	decode[body](t, r.run("tail", "rag").stderr)
}

func TestMoreThan64MiBIsRefused(t *testing.T) {
	t.Parallel()
	r := newRunner(t, nowhere)
	f, err := os.Create(r.dir + "/big")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(64<<20+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	r.run("publish", "rag", "--raw", "--data", "@big").want(t, exitUsage, "64 MiB")
}

// TestEveryColumnIsInJSON holds for every command that prints data.
func TestEveryColumnIsInJSON(t *testing.T) {
	t.Parallel()
	covers(t, "version", buildColumns)
	covers(t, "config show", originColumns)
	covers(t, "publish", publicationColumns)
	covers(t, "tail", entryColumns)
	covers(t, "check", checkedColumns)
	covers(t, "dlq list", letterColumns)
	covers(t, "dlq group", groupColumns)
	covers(t, "dlq requeue", requeueColumns)
	covers(t, "dlq requeue", targetColumns)
	covers(t, "dlq discard", discardedColumns)
	covers(t, "topology show", subscriptionColumns)
	covers(t, "topology init", madeColumns)
	covers(t, "demo", answerColumns)
	covers(t, "campaign status", viewColumns)
	covers(t, "campaign start --watch", outcomeColumns)
	covers(t, "workflow validate", definitionColumns)
	covers(t, "workflow validate", problemColumns)
	covers(t, "dev", servedColumns)
}

func covers[T any](t *testing.T, command string, columns []render.Column[T]) {
	t.Helper()
	var zero T
	b, err := json.Marshal(zero)
	if err != nil {
		t.Fatal(err)
	}
	keys := decode[map[string]any](t, string(b))
	for _, c := range columns {
		if _, ok := keys[c.Key]; !ok {
			t.Errorf("%s: the table has column %q, its JSON has no such key: %s", command, c.Key, b)
		}
		c.Cell(zero) // must cope
	}
}

// TestEveryFlagTellsItsVariable also catches two flags of one name.
func TestEveryFlagTellsItsVariable(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	help := r.run("--help")
	help.want(t, exitOK)
	for _, f := range settingFlags() {
		d := f.(cli.DocGenerationFlag)
		if !strings.Contains(help.stdout, "$"+d.GetEnvVars()[0]) || !strings.Contains(help.stdout, "--"+f.Names()[0]) {
			t.Errorf("help has no --%s with $%s", f.Names()[0], d.GetEnvVars()[0])
		}
	}
	for _, c := range (&app{}).tree().Commands {
		d := r.run(c.Name, "--help")
		if d.code != exitOK || !strings.Contains(d.stdout, c.Usage) {
			t.Errorf("%s --help: %+v", c.Name, d)
		}
	}
}

func TestConfigShow(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "REDIS_URL=redis://:hunter2@redis.example:6380/1", "REDIS_MAX_RETRIES=5")
	d := r.run("config", "show", "--origin", "--redis-namespace", "demo")
	d.want(t, exitOK)
	if strings.Contains(d.stdout, "hunter2") {
		t.Error("the password is shown")
	}
	// Only what these rows say is fixed; further settings may come.
	golden, err := os.ReadFile("testdata/config-show.golden")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for line := range strings.Lines(d.stdout) {
		lines[strings.Join(strings.Fields(line), " ")] = true
	}
	for want := range strings.Lines(string(golden)) {
		if !lines[strings.TrimSpace(want)] {
			t.Errorf("no line %q in:\n%s", strings.TrimSpace(want), d.stdout)
		}
	}
	type list struct{ Items []setting }
	rows := decode[list](t, r.run("config", "show", "-o", "json").stdout).Items
	if i := slices.IndexFunc(rows, func(s setting) bool { return s.Name == "REDIS_MAX_RETRIES" }); i < 0 || rows[i].Value != "5" || rows[i].Origin != "environment" {
		t.Errorf("JSON: got %+v", rows)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if b := decode[build](t, newRunner(t).run("version", "-o", "json").stdout); b.Version == "" || b.Go == "" || b.Platform == "" {
		t.Errorf("got %+v", b)
	}
}

func TestTopologyShowNeedsNoRedis(t *testing.T) {
	t.Parallel()
	type list struct{ Items []subscription }
	d := newRunner(t, nowhere).run("topology", "show", "echo", "-o", "json")
	d.want(t, exitOK)
	rows := decode[list](t, d.stdout).Items
	for _, want := range []string{"cm:commands", "orchestrator:tasks", "persist:tasks", "rag:tasks", "echo:tasks"} {
		if !slices.ContainsFunc(rows, func(s subscription) bool { return s.Stream == want && s.Key == "agentic:"+want }) {
			t.Errorf("no stream %s in %+v", want, rows)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want int
	}{
		{"a plain error", t.Context(), errors.New("x"), exitFailed},
		{"a failure, wrapped", t.Context(), fmt.Errorf("y: %w", fail(exitConflict, "", "x")), exitConflict},
		{"Ctrl-C", ended, fmt.Errorf("y: %w", context.Canceled), exitInterrupted},
		{"too slow", t.Context(), fmt.Errorf("y: %w", context.DeadlineExceeded), exitTimeout},
	} {
		if f := explain(c.ctx, c.err); f.exit != c.want {
			t.Errorf("%s: exit %d, want %d", c.name, f.exit, c.want)
		}
	}
}

func TestSecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	code := 0
	a := &app{stderr: &stderr, exit: func(c int) { code = c }}
	ctx, cancel := context.WithCancel(t.Context())
	signals := make(chan os.Signal, 3)
	signals <- os.Interrupt
	signals <- os.Interrupt
	close(signals)
	a.await(signals, cancel, 0)
	if ctx.Err() == nil || code != exitInterrupted || !strings.Contains(stderr.String(), "at once") {
		t.Errorf("context %v, code %d, stderr %q", ctx.Err(), code, stderr.String())
	}
}

func TestAnInterruptPassedOnByAnotherProgramIsNotASecondOne(t *testing.T) {
	t.Parallel()
	a := &app{stderr: os.Stderr, exit: func(c int) { t.Errorf("exit(%d)", c) }}
	ctx, cancel := context.WithCancel(t.Context())
	signals := make(chan os.Signal, 3)
	signals <- os.Interrupt
	signals <- os.Interrupt
	close(signals)
	a.await(signals, cancel, time.Hour)
	if ctx.Err() == nil {
		t.Error("the context goes on")
	}
}

func TestOneInterruptIsGraceful(t *testing.T) {
	t.Parallel()
	a := &app{stderr: os.Stderr, exit: func(c int) { t.Errorf("exit(%d) after one signal", c) }}
	ctx, stop := a.interrupts()
	p, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("SIGINT did not end the context")
	}
	stop()
}
