package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/hosttest"
)

// start runs a command line until the context ends, and gives its stdout line by
// line, and its exit code.
func (r *runner) start(ctx context.Context, args ...string) (*bufio.Reader, <-chan int) {
	out, in := io.Pipe()
	code := make(chan int, 1)
	a := &app{stdin: strings.NewReader(""), stdout: in, stderr: io.Discard, environ: r.environ, workdir: r.dir}
	go func() {
		c := a.run(ctx, append([]string{"fnhost"}, args...))
		_ = in.Close()
		code <- c
	}()
	return bufio.NewReader(out), code
}

func wantCode(t *testing.T, code <-chan int, want int) {
	t.Helper()
	select {
	case got := <-code:
		if got != want {
			t.Errorf("exit code %d, want %d", got, want)
		}
	case <-time.After(time.Minute):
		t.Fatal("the command did not end")
	}
}

func TestDevBringsARedisForOtherCommands(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "FNHOST_METRICS_ADDR=off")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, code := r.start(ctx, "dev", "--plugins", r.dir)
	line, err := out.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "REDIS_URL=redis://127.0.0.1:") {
		t.Fatalf("first line %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	other := newRunner(t, strings.TrimSpace(line))
	other.run("topology", "init").want(t, exitOK)
	other.run("publish", "rag", "--data", "{}").want(t, exitOK)
	if rows := decode[list[entry]](t, other.run("tail", "rag", "-o", "json").stdout).Items; len(rows) != 1 {
		t.Errorf("got %+v", rows)
	}
	cancel()
	wantCode(t, code, exitOK)
	other.run("tail", "rag").want(t, exitRedis) // it is gone with its command
}

func TestServeWaitsForRedisAndEndsWell(t *testing.T) {
	t.Parallel()
	redis := hosttest.Redis(t)
	redis.Stop()
	r := newRunner(t, "FNHOST_METRICS_ADDR=off", "REDIS_URL="+redis.URL())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, code := r.start(ctx, "serve", "--plugins", r.dir)
	redis.Restart()
	groups := func() bool { // the host makes them once it is there
		return r.run("check", "rag", "-o", "json", "--problems").code != nagiosCritical
	}
	for deadline := time.Now().Add(time.Minute); !groups(); {
		if time.Now().After(deadline) {
			t.Fatal("the host did not make its groups")
		}
	}
	cancel()
	wantCode(t, code, exitOK)
}

func TestServeRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "FNHOST_METRICS_ADDR=off", nowhere)
	r.run("serve", "--plugins", "missing").want(t, exitFailed, "missing", "create it")
	r.run("serve", "--redis-url", "redis+sentinel://a:1").want(t, exitInvalid, "Sentinel")
	r.run("serve", "--redis-max-retries", "many").want(t, exitInvalid, "REDIS_MAX_RETRIES", "--redis-max-retries")
}

func TestDemoWantsItsRolesServed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows []servedRole
		want string
	}{
		"none":    {nil, "no plugin of role rag"},
		"refused": {[]servedRole{{Role: "rag", State: "serving"}, {Role: "persist", State: "paused", Reason: "it crashed"}}, "role persist is paused: it crashed"},
	} {
		if err := mustServe(c.rows, "rag", "persist"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if err := mustServe([]servedRole{{Role: "rag", State: "serving"}}, "rag"); err != nil {
		t.Errorf("got %v", err)
	}
	if !settled(nil) || settled([]servedRole{{State: "starting"}}) || !settled([]servedRole{{State: "serving"}, {State: "refused"}}) {
		t.Error("settled: what starts is not; the rest is, and so is nothing")
	}
	if rows := served(new(host.Host)); rows != nil {
		t.Errorf("a host that has not started serves %+v", rows)
	}
}
