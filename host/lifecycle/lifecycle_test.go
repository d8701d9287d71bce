package lifecycle_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/lifecycle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// part waits for its end, and says what it was.
type part struct {
	lifecycle.Base
	prepare func(context.Context) error
	linger  time.Duration
	cause   error
	stopped *[]*part
}

func (p *part) Start(ctx context.Context) error {
	return p.Go(ctx, p.prepare, func(ctx context.Context) {
		<-ctx.Done()
		p.cause = context.Cause(ctx)
		time.Sleep(p.linger)
		if p.stopped != nil {
			*p.stopped = append(*p.stopped, p)
		}
	})
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestStress(t *testing.T) {
	t.Parallel()
	hosttest.Stress(t, &part{})
}

func TestStopWaitsAndSaysWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &part{linger: time.Minute}
		started := p.Started()
		if isClosed(started) || !isClosed(p.Stopped()) {
			t.Fatal("a part that never started must be stopped and not started")
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !isClosed(started) || isClosed(p.Stopped()) {
			t.Fatal("a running part must be started and not stopped")
		}
		begin := time.Now()
		go p.Stop()
		p.Stop()
		if time.Since(begin) != time.Minute {
			t.Fatalf("Stop came back after %v, the part ended after 1m", time.Since(begin))
		}
		if !errors.Is(p.cause, lifecycle.ErrStop) {
			t.Fatalf("cause %v, want ErrStop", p.cause)
		}
		if !isClosed(p.Stopped()) || isClosed(p.Started()) {
			t.Fatal("a part that has stopped must be ready to start again")
		}
		synctest.Wait()
	})
}

func TestContextEndsThePart(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := &part{}
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	stopped := p.Stopped()
	cancel()
	<-stopped
	if errors.Is(p.cause, lifecycle.ErrStop) {
		t.Fatal("the end of the caller's context is no stop")
	}
}

func TestStopDuringPrepare(t *testing.T) {
	t.Parallel()
	preparing := make(chan struct{})
	p := &part{prepare: func(ctx context.Context) error {
		close(preparing)
		<-ctx.Done()
		return context.Cause(ctx)
	}}
	failed := make(chan error)
	go func() { failed <- p.Start(t.Context()) }()
	<-preparing
	started := p.Started()
	p.Stop()
	if err := <-failed; !errors.Is(err, lifecycle.ErrStop) {
		t.Fatalf("Start gave %v, want ErrStop", err)
	}
	<-started // who waits for a start that fails does not wait for ever
}

func TestStartAllUndoes(t *testing.T) {
	t.Parallel()
	var stopped []*part
	boom := errors.New("boom")
	a, b := &part{stopped: &stopped}, &part{stopped: &stopped}
	c := &part{prepare: func(context.Context) error { return boom }}
	d := &part{stopped: &stopped}
	if err := lifecycle.StartAll(t.Context(), a, b, c, d); !errors.Is(err, boom) {
		t.Fatalf("StartAll gave %v, want boom", err)
	}
	if len(stopped) != 2 || stopped[0] != b || stopped[1] != a {
		t.Fatalf("stopped %v, want b and then a, and nothing of what came after", stopped)
	}
}

func TestStopAllAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := &part{linger: time.Minute}, &part{linger: time.Minute}
		if err := lifecycle.StartAll(t.Context(), a, b); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		lifecycle.StopAll(a, b)
		if time.Since(begin) != time.Minute {
			t.Fatalf("two parts that take a minute each were stopped in %v", time.Since(begin))
		}
	})
}
