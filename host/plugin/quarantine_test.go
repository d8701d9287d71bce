package plugin

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// quarantined waits until the quarantine is ready.
func quarantined(t *testing.T, f *Function) *Quarantine {
	t.Helper()
	q := f.Quarantine()
	if q.Ready() {
		t.Error("a quarantine is there before it is wanted")
	}
	q.Wake()
	eventually(t, "the quarantine", q.Ready)
	return q
}

func TestQuarantineIsAnotherProcess(t *testing.T) {
	t.Parallel()
	var seen observed
	f, s := one(t, "serve", Options{Observer: &seen})
	before := f.Info()
	q := quarantined(t, f)
	f.Deliver([]*delivery.Delivery{message(3, "ignore", ""), message(4, "pid", "")})
	q.Deliver([]*delivery.Delivery{message(1, "pid", "")})
	s.wait(t, 2)
	q.Deliver([]*delivery.Delivery{message(2, "exit", "")})
	got := s.wait(t, 3)
	if got[1].Plugin.PID == before.PID || got[1].Verdict != delivery.Done || got[1].Plugin.SHA256 != before.SHA256 || got[4].Plugin.PID != before.PID {
		t.Errorf("ran in %+v and %+v, the function's own is %d", got[1].Plugin, got[4].Plugin, before.PID)
	}
	if r := got[2]; r.Verdict != delivery.Died || !r.Started || !strings.Contains(r.Error.Message, "exit status 7") || !strings.Contains(r.Error.Detail, "last words") || r.Plugin.PID != got[1].Plugin.PID {
		t.Errorf("the death in quarantine: %+v", r)
	}
	eventually(t, "the count of the death", func() bool { return seen.count("exited echo "+ExitSuspect) == 1 })
	if after := f.Info(); after.PID != before.PID || after.Generation != 1 || after.LastError != "" || after.QuarantinePID != 0 || !f.Ready() {
		t.Errorf("the death in quarantine is the function's: %+v", after)
	}
	if seen.count("exited echo crash") != 0 {
		t.Error("it counts as a crash")
	}
}

// Poison after poison does not make the next one wait longer and longer.
func TestQuarantineStartsAgainAtOnce(t *testing.T) {
	t.Parallel()
	slow := fastTiming()
	slow.backoff, slow.backoffMax = time.Hour, time.Hour
	f, s := one(t, "serve", Options{timing: slow})
	for n := range uint64(4) {
		q := quarantined(t, f)
		q.Deliver([]*delivery.Delivery{message(n+1, "exit", "")})
		s.wait(t, int(n)+1)
		eventually(t, "the end of the process", func() bool { return f.Info().QuarantinePID == 0 })
	}
}

func TestQuarantineEndsWhenIdle(t *testing.T) {
	t.Parallel()
	quick := fastTiming()
	quick.idle = 100 * time.Millisecond
	var seen observed
	f, s := one(t, "serve", Options{timing: quick, Observer: &seen})
	q := quarantined(t, f)
	q.Deliver([]*delivery.Delivery{message(1, "wait", "")})
	time.Sleep(5 * quick.idle)
	if !q.Ready() {
		t.Fatal("it ended while a message ran")
	}
	pid := f.Info().QuarantinePID
	q.Cancel([]uint64{1}, delivery.CauseStop)
	s.wait(t, 1)
	eventually(t, "the end of the idle process", func() bool { return !q.Ready() && !alive(pid) })
	eventually(t, "the count of its end", func() bool { return seen.count("exited echo "+ExitShutdown) == 1 })
	q.Deliver([]*delivery.Delivery{message(2, "pid", "")})
	if r := s.wait(t, 2)[2]; r.Verdict != delivery.Died || r.Started {
		t.Errorf("delivered to nobody: %+v", r)
	}
	quarantined(t, f)
}

func TestQuarantineAnswersLoadsAndIsKilled(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	q := quarantined(t, f)
	q.Deliver([]*delivery.Delivery{message(1, "load", "")})
	mine := <-s.loads
	f.Deliver([]*delivery.Delivery{message(2, "load", "")})
	other := <-s.loads
	answers := []delivery.Loaded{
		{Request: other.Request, Found: true, Version: "1", Fields: []string{"field", "other"}},
		{Request: mine.Request, Found: true, Version: "1", Fields: []string{"field", "mine"}},
	}
	f.Loaded(answers) // each takes its own
	q.Loaded(answers)
	if got := s.wait(t, 2); string(got[1].Result) != `"mine"` || string(got[2].Result) != `"other"` {
		t.Errorf("%s and %s", got[1].Result, got[2].Result)
	}
	q.Deliver([]*delivery.Delivery{message(3, "ignore", "")})
	q.Kill("a handler ignores its timeout")
	if q.Ready() {
		t.Error("a killed process can take messages")
	}
	if r := s.wait(t, 3)[3]; r.Verdict != delivery.Died || !r.Started || !strings.Contains(r.Error.Message, "by the host: a handler ignores its timeout") {
		t.Errorf("%+v", r)
	}
	if i := f.Info(); i.Generation != 1 || !f.Ready() {
		t.Errorf("the function's own process was killed: %+v", i)
	}
}

func TestQuarantineThatCannotStart(t *testing.T) {
	t.Parallel()
	var log logged
	f, s := one(t, "serve", Options{Logger: log.logger()})
	staged, err := os.ReadFile(f.binary.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.binary.path); err != nil {
		t.Fatal(err)
	}
	q := f.Quarantine()
	q.Wake()
	eventually(t, "the reason", func() bool { return f.Info().QuarantineError != "" })
	eventually(t, "the log", func() bool { return strings.Contains(log.String(), "messages that must run alone; they wait") })
	if pid := ask[int](t, f, s, 1, "pid"); pid != f.Info().PID {
		t.Error("the function does not go on")
	}
	if err := os.WriteFile(f.binary.path, staged, 0o755); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the quarantine", func() bool {
		select {
		case <-q.Changed(): // as the dispatcher does
			q.Wake()
		default:
		}
		return q.Ready()
	})
	if i := f.Info(); i.QuarantineError != "" || i.QuarantinePID == 0 {
		t.Errorf("%+v", i)
	}
}

func TestQuarantineStopsWithTheFunction(t *testing.T) {
	t.Parallel()
	f, s := one(t, "serve", Options{})
	q := quarantined(t, f)
	pid := f.Info().QuarantinePID
	q.Deliver([]*delivery.Delivery{message(1, "count", "")})
	if err := f.set.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.wait(t, 1)[1]; r.Verdict != delivery.Done {
		t.Errorf("a handler could not finish: %+v", r)
	}
	if alive(pid) || q.Ready() {
		t.Error("the process is still there")
	}
}
