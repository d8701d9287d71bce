package plugin

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

func TestMessagesRun(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	var batch []*delivery.Delivery
	for n := range uint64(500) {
		batch = append(batch, message(n+1, "count", strings.Repeat("x", int(n))))
	}
	f.Deliver(batch[:100])
	f.Deliver(batch[100:])
	for n, r := range s.wait(t, 500) {
		if want := strconv.Itoa(int(n) - 1); r.Verdict != delivery.Done || string(r.Result) != want || !r.Started {
			t.Fatalf("delivery %d: %+v, want %s", n, r, want)
		}
		if r.Plugin != (delivery.Plugin{Name: "echo", Version: "1.2.3", SHA256: f.Info().SHA256, PID: f.Info().PID}) {
			t.Fatalf("wrong plugin: %+v, %+v", r.Plugin, f.Info())
		}
	}
	if f.Concurrency() != 2 {
		t.Errorf("concurrency %d, the plugin wants 2", f.Concurrency())
	}
}

func TestLargeMessage(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	const size = 20 << 20
	f.Deliver([]*delivery.Delivery{message(1, "count", strings.Repeat("x", size))})
	if r := s.wait(t, 1)[1]; string(r.Result) != strconv.Itoa(size) {
		t.Fatalf("%+v", r)
	}
}

func TestLoads(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	f.Deliver([]*delivery.Delivery{message(1, "load", "{}")})
	l := <-s.loads
	if l.Key != "k" || l.Cache || l.Delivery != 1 {
		t.Fatalf("%+v", l)
	}
	f.Loaded([]delivery.Loaded{{Request: l.Request, Found: true, Version: "1", Fields: []string{"field", "value"}}})
	if r := s.wait(t, 1)[1]; string(r.Result) != `"value"` {
		t.Fatalf("%+v", r)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	f.Deliver([]*delivery.Delivery{message(1, "wait", ""), message(2, "wait", ""), message(3, "wait", "")})
	f.Cancel([]uint64{1, 2, 3}, delivery.CauseStop)
	got := s.wait(t, 3)
	if got[3].Started || got[3].Verdict != delivery.NotStarted {
		t.Errorf("the third was over the concurrency: %+v", got[3])
	}
}

// A crash answers for everything that was out, and a new process takes over.
func TestCrash(t *testing.T) {
	t.Parallel()
	var seen observed
	f, s := one(t, "serve", Options{Observer: &seen})
	before := f.Info()
	f.Deliver([]*delivery.Delivery{message(1, "count", ""), message(2, "ignore", "")})
	s.wait(t, 1)
	f.Deliver([]*delivery.Delivery{message(3, "exit", ""), message(4, "count", ""), message(5, "count", "")})
	got := s.wait(t, 5)
	if got[1].Verdict != delivery.Done {
		t.Errorf("what had an outcome keeps it: %+v", got[1])
	}
	for n, started := range map[uint64]bool{2: true, 3: true, 4: false, 5: false} {
		r := got[n]
		if r.Verdict != delivery.Died || r.Started != started {
			t.Errorf("delivery %d: %v, started %v; want died, started %v", n, r.Verdict, r.Started, started)
		}
		if !strings.Contains(r.Error.Message, "exit status 7") || !strings.Contains(r.Error.Detail, "last words") || r.Error.Type == "" {
			t.Errorf("the error does not say why: %+v", r.Error)
		}
	}
	eventually(t, "the next generation", f.Ready)
	after := f.Info()
	if after.PID == before.PID || after.Generation != 2 || after.Restarts != 1 || !strings.Contains(after.LastError, "exit status 7") {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if pid := ask[int](t, f, s, 6, "pid"); pid != after.PID {
		t.Errorf("message ran in %d, not in %d", pid, after.PID)
	}
	if seen.count("started echo") != 2 || seen.count("exited echo crash") != 1 {
		t.Errorf("the observer was told: %v", seen.counts)
	}
}

func TestPanicIsInTheReply(t *testing.T) {
	t.Parallel()
	var log logged
	f, s := one(t, "serve", Options{Logger: log.logger()})
	f.Deliver([]*delivery.Delivery{message(1, "panic", "")})
	r := s.wait(t, 1)[1]
	if r.Verdict != delivery.Died || !strings.Contains(r.Error.Detail, "panic: outside of the handler") {
		t.Fatalf("%+v", r)
	}
	eventually(t, "a line about the end with the output", func() bool {
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, "the plugin ended") && strings.Contains(line, "outside of the handler") && strings.Contains(line, `"ERROR"`) {
				return true
			}
		}
		return false
	})
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	f, s := one(t, "rejects", Options{timing: func() timing { t := fastTiming(); t.backoff = time.Hour; t.backoffMax = time.Hour; return t }()})
	if f.Ready() {
		t.Fatal("ready with rejected settings")
	}
	if i := f.Info(); i.State != StateWaiting || !strings.Contains(i.LastError, "setting database.url: there is none") || !strings.Contains(i.LastError, "plugin.settings") {
		t.Errorf("%+v", i)
	}
	f.Deliver([]*delivery.Delivery{message(1, "count", "")})
	if r := s.wait(t, 1)[1]; r.Verdict != delivery.Died || r.Started {
		t.Errorf("%+v", r)
	}
}

func TestChangedIsSignalled(t *testing.T) {
	t.Parallel()
	f, _ := one(t, "serve", Options{})
	select {
	case <-f.Changed():
	case <-time.After(patience):
		t.Fatal("the first start was not signalled")
	}
	f.Kill("a test")
	for signals := 0; f.Info().Generation < 2; signals++ {
		select {
		case <-f.Changed():
		case <-time.After(patience):
			t.Fatalf("no signal: %+v", f.Info())
		}
	}
}

func TestKillIsReported(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	f.Deliver([]*delivery.Delivery{message(1, "ignore", "")})
	f.Kill("a handler ignores its timeout")
	r := s.wait(t, 1)[1]
	if r.Verdict != delivery.Died || !r.Started || !strings.Contains(r.Error.Message, "by the host: a handler ignores its timeout") {
		t.Errorf("%+v", r)
	}
}

// A process that is stopped answers nothing: not the health check, not go-plugin.
func TestFrozenProcessIsReplaced(t *testing.T) {
	t.Parallel()
	quick := fastTiming()
	quick.healthEvery, quick.health, quick.dump = 50*time.Millisecond, 200*time.Millisecond, 50*time.Millisecond
	quick.misses = 10 // a loaded machine is no hang
	f, s := one(t, "serve", Options{timing: quick})
	f.Deliver([]*delivery.Delivery{message(1, "wait", "")})
	if err := syscall.Kill(f.Info().PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r := s.wait(t, 1)[1]
	if r.Verdict != delivery.Died || !strings.Contains(r.Error.Message, reasonHung) {
		t.Errorf("%+v", r)
	}
	eventually(t, "the next generation", f.Ready)
}

// A process that hangs says where, if it still can.
func TestHungProcessShowsItsStacks(t *testing.T) {
	t.Parallel()
	var log logged
	var seen observed
	patient := fastTiming()
	patient.dump = patience
	f, s := one(t, "serve", Options{timing: patient, Logger: log.logger(), Observer: &seen})
	f.Deliver([]*delivery.Delivery{message(1, "wait", "")})
	f.active.Load().hung()
	if r := s.wait(t, 1)[1]; r.Verdict != delivery.Died || !strings.Contains(r.Error.Message, reasonHung) {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(log.String(), "SIGQUIT") || !strings.Contains(log.String(), "goroutine ") {
		t.Error("no stacks in the log")
	}
	eventually(t, "the exit's reason", func() bool { return seen.count("exited echo "+ExitUnhealthy) == 1 })
}

// Nor does a frozen process hold up the host's end.
func TestFrozenProcessIsStopped(t *testing.T) {
	t.Parallel()
	quick := fastTiming()
	quick.shutdown, quick.terminate = 100*time.Millisecond, 100*time.Millisecond
	f, _ := one(t, "serve", Options{timing: quick})
	pid := f.Info().PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := f.set.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if alive(pid) {
		t.Error("the process is still there")
	}
}

func TestStopLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	var batch []*delivery.Delivery
	for n := range uint64(200) {
		batch = append(batch, message(n+1, "count", ""))
	}
	f.Deliver(batch)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.set.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for n, r := range s.wait(t, 200) {
		if r.Verdict != delivery.Done {
			t.Fatalf("delivery %d: %+v", n, r)
		}
	}
	if i := f.Info(); i.State != StateStopped || f.Ready() {
		t.Errorf("%+v", i)
	}
	if left, _ := os.ReadDir(filepath.Join(f.set.options.StateDir, "sockets")); len(left) > 0 {
		t.Errorf("sockets are left: %v", left)
	}
}

// A grandchild that lives for a minute holds stdout and stderr open: it dies with
// its group, or, if it has left the group, is not waited for.
func TestGrandchildDelaysNothing(t *testing.T) {
	t.Parallel()
	left := filepath.Join(t.TempDir(), "pids")
	t.Cleanup(func() {
		pids, _ := os.ReadFile(left)
		for field := range strings.FieldsSeq(string(pids)) {
			if pid, err := strconv.Atoi(field); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
	for name, env := range map[string][]string{"stays": nil, "leaves": {leaveKey + "=" + left}} {
		t.Run(name, func(t *testing.T) {
			f, s := one(t, "grandchild", Options{}, env...)
			f.Deliver([]*delivery.Delivery{message(1, "wait", "")})
			begun := time.Now()
			if err := syscall.Kill(f.Info().PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if r := s.wait(t, 1)[1]; r.Verdict != delivery.Died {
				t.Errorf("%+v", r)
			}
			if took := time.Since(begun); took > 30*time.Second {
				t.Errorf("it took %s to notice", took)
			}
		})
	}
}

// The end of its stdin ends a plugin, also where the system has no death signal.
func TestLifeline(t *testing.T) {
	t.Parallel()
	patient := fastTiming()
	patient.streamEnd = patience // the race detector makes an exit last a second
	f, _ := one(t, "serve", Options{timing: patient})
	f.active.Load().cutLifeline()
	eventually(t, "the plugin's end", func() bool { return f.Info().Generation == 2 })
	if i := f.Info(); i.LastError != "exit status 0" {
		t.Errorf("it did not end by itself: %+v", i)
	}
}

func TestHostKilledLeavesNoOrphan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	install(t, dir, "echo", "serve")
	host := exec.Command(os.Args[0])
	host.Env = append(os.Environ(), playKey+"=host", "TEST_DIR="+dir, "TEST_STATE="+t.TempDir())
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 32)
	n, err := out.Read(line)
	pid, atoiErr := strconv.Atoi(string(bytes.TrimSpace(line[:n])))
	if err != nil || atoiErr != nil || !alive(pid) {
		t.Fatalf("the host said %q: %v", line[:n], err)
	}
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait()
	eventually(t, "the plugin's end", func() bool { return !alive(pid) })
}

func TestEnvironment(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://:secret@localhost")
	t.Setenv("LANG", "of-the-host")
	t.Setenv("TZ", "of-the-host")
	role := func(string) RoleOptions { return RoleOptions{Env: []string{"TZ=of-the-role", "OWN=yes"}} }
	f, s := one(t, "serve", Options{Role: role})
	env := map[string]string{}
	for _, e := range ask[[]string](t, f, s, 1, "environ") {
		key, value, _ := strings.Cut(e, "=")
		env[key] = value
	}
	for key, want := range map[string]string{"TZ": "of-the-role", "LANG": "of-the-host", "OWN": "yes", "FNHOST_LIFELINE": "stdin", "FNHOST_LOG_LEVEL": "debug"} {
		if env[key] != want {
			t.Errorf("%s is %q, want %q", key, env[key], want)
		}
	}
	if env["PATH"] == "" {
		t.Error("no PATH")
	}
	for key, value := range env {
		if strings.HasPrefix(key, "REDIS_") || strings.Contains(value, "secret") {
			t.Errorf("the plugin sees %s=%s", key, value)
		}
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	var log logged
	f, s := one(t, "serve", Options{Logger: log.logger()})
	f.Deliver([]*delivery.Delivery{message(1, "log", "")})
	s.wait(t, 1)
	eventually(t, "the plugin's line", func() bool {
		for line := range strings.Lines(log.String()) {
			if strings.Contains(line, `"careful"`) {
				for _, want := range []string{`"level":"WARN"`, `"n":5`, `"role":"echo"`, `"generation":1`, `"entry_id":"1-0"`} {
					if !strings.Contains(line, want) {
						t.Fatalf("no %s in %s", want, line)
					}
				}
				return true
			}
		}
		return false
	})
}

// What a plugin prints can neither crash nor stop nor flood the host.
func TestOddOutput(t *testing.T) {
	t.Parallel()
	for _, play := range []string{"odd json", "long line"} {
		t.Run(play, func(t *testing.T) {
			t.Parallel()
			f, s := one(t, play, Options{Logger: slog.New(slog.DiscardHandler)})
			if pid := ask[int](t, f, s, 1, "pid"); pid != f.Info().PID {
				t.Error(pid)
			}
		})
	}
	t.Run("spam", func(t *testing.T) {
		t.Parallel()
		var log logged
		var seen observed
		f, s := one(t, "serve", Options{Logger: log.logger(), Observer: &seen})
		f.Deliver([]*delivery.Delivery{message(1, "spam", "")})
		if r := s.wait(t, 1)[1]; r.Verdict != delivery.Done {
			t.Fatalf("%+v", r)
		}
		if lines := strings.Count(log.String(), "spam spam"); lines > 150_000 {
			t.Errorf("%d lines went to the log", lines)
		}
		eventually(t, "the count of lines that were left out", func() bool {
			ask[int](t, f, s, uint64(time.Now().UnixNano()), "log")
			return strings.Contains(log.String(), "lines were left out") && seen.count("suppressed echo") > 0
		})
	})
}

func TestBreaches(t *testing.T) {
	t.Parallel()
	t.Run("no verdict", func(t *testing.T) {
		t.Parallel()
		f, s := one(t, "raw", Options{})
		f.Deliver([]*delivery.Delivery{message(1, "", "no verdict")})
		if r := s.wait(t, 1)[1]; r.Verdict != delivery.Died || !strings.Contains(r.Error.Message, "without a verdict") {
			t.Errorf("%+v", r)
		}
		eventually(t, "the next generation", func() bool { return f.Info().Generation == 2 })
	})
	t.Run("outcomes before the one without a verdict count", func(t *testing.T) {
		t.Parallel()
		f, s := one(t, "raw", Options{})
		f.Deliver([]*delivery.Delivery{message(1, "", "wait"), message(2, "", "done and no verdict")})
		if r := s.wait(t, 2); r[1].Verdict != delivery.Done || r[2].Verdict != delivery.Died {
			t.Errorf("%+v", r)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		t.Parallel()
		var seen observed
		f, s := one(t, "raw", Options{Observer: &seen})
		f.Deliver([]*delivery.Delivery{message(1, "", "twice and unknown")})
		f.Deliver([]*delivery.Delivery{message(2, "", "twice and unknown")})
		for n, r := range s.wait(t, 2) {
			if r.Verdict != delivery.Done {
				t.Errorf("delivery %d: %+v", n, r)
			}
		}
		if f.Info().Generation != 1 {
			t.Error("it was replaced")
		}
		eventually(t, "the count of breaches", func() bool { return seen.count("breach echo unknown delivery") == 4 })
	})
	t.Run("stream", func(t *testing.T) {
		t.Parallel()
		f, s := one(t, "raw", Options{})
		f.Deliver([]*delivery.Delivery{message(1, "", "end the stream")})
		if r := s.wait(t, 1)[1]; r.Verdict != delivery.Died || !strings.Contains(r.Error.Message, "uninvited") {
			t.Errorf("%+v", r)
		}
		eventually(t, "the next generation", func() bool { return f.Info().Generation == 2 })
	})
}

func TestPauses(t *testing.T) {
	t.Parallel()
	p := pauses{timing: defaultTiming}
	if d := p.next(time.Second, false); d != 0 {
		t.Errorf("the first crash waits %s", d)
	}
	last := time.Duration(0)
	for range 7 {
		d := p.next(time.Second, false)
		if d <= last/2 || d > 40*time.Second {
			t.Errorf("%s after %s", d, last)
		}
		last = d
	}
	for range 100 {
		if d := p.next(0, false); d < 19*time.Second || d > 40*time.Second { // the limit of 30 s, and what comes before it, less or more a quarter
			t.Fatalf("%s at the end", d)
		}
	}
	if d := p.next(time.Hour, false); d != 0 {
		t.Errorf("%s after an hour in service", d)
	}
	p.next(time.Second, false)
	if d := p.next(time.Second, true); d != 0 {
		t.Errorf("%s after a death that a message explains", d)
	}
}
