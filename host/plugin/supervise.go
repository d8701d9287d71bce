package plugin

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sethvargo/go-retry"
)

// Reasons of an exit, as the observer is told.
const (
	ExitCrash     = "crash"     // by itself
	ExitUnhealthy = "unhealthy" // it missed its health checks and was killed
	ExitKilled    = "killed"    // by the host: a breach of the contract, or a handler that ignores its cancel
	ExitSuspect   = "suspect"   // in quarantine, for whatever reason
	ExitShutdown  = "shutdown"  // the host stops, or the quarantine is empty
)

// supervise keeps one generation in service until the function is to stop.
func (f *Function) supervise() {
	defer close(f.stopped)
	var quarantine sync.WaitGroup
	quarantine.Go(f.quarantine.supervise)
	defer quarantine.Wait()
	pauses := pauses{timing: f.set.options.timing}
	number := 1
	for f.quit.Err() == nil {
		g, err := f.start(f.quit, number)
		if err == nil {
			f.activate(g, StateReady, "")
			number++
		} else {
			f.startFailed(err)
		}
		f.once.Do(func() { close(f.tried) })
		served, explained := time.Duration(0), false
		if g != nil {
			served, explained = f.attend(g)
		}
		f.pause(pauses.next(served, explained))
	}
	f.activate(nil, StateStopped, "")
}

func (f *Function) startFailed(err error) {
	if f.quit.Err() != nil {
		return
	}
	f.activate(nil, StateWaiting, err.Error())
	f.log.Error("the plugin does not start; its role waits", "error", err)
	f.set.observer.PluginStartFailed(f.Role())
}

// attend sees a generation through to its end, and gives the time that it was
// in service, and whether a message explains its death.
func (f *Function) attend(g *generation) (served time.Duration, explained bool) {
	g.watch(f.quit.Done())
	served = time.Since(g.started)
	if f.quit.Err() != nil {
		g.stop(f.stopContext())
		g.finish()
		f.set.observer.PluginExited(f.Role(), ExitShutdown)
		return served, false
	}
	explained = g.explained()
	f.activate(nil, StateWaiting, "") // before the replies, which would be delivered again at once
	g.finish()
	f.activate(nil, StateWaiting, g.ending())
	g.log.Error("the plugin ended; its role waits for the next process",
		"status", g.ending(), "served", served, "plugin_pid", g.plugin.PID, "output", g.tail(tailLines))
	f.set.observer.PluginExited(f.Role(), g.exitReason())
	return served, explained
}

func (g *generation) exitReason() string {
	switch g.endedBy() {
	case "":
		return ExitCrash
	case reasonHung:
		return ExitUnhealthy
	}
	return ExitKilled
}

// pause waits before the next start.
func (f *Function) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.quit.Done():
	}
}

// pauses says how long to wait before a restart: not at all after the first
// crash, then longer and longer, until a process was in service for long enough.
// A death that a message explains makes nobody wait: the message is found out, by
// itself, and the plugin is not the worse for it.
type pauses struct {
	timing  timing
	backoff retry.Backoff
}

// next takes the time that the process was in service, 0 if it did not start, and
// whether a message explains its death.
func (p *pauses) next(served time.Duration, explained bool) time.Duration {
	if served >= p.timing.stable || explained {
		p.backoff = nil
	}
	if p.backoff == nil {
		p.backoff = retry.WithJitterPercent(25, retry.WithCappedDuration(p.timing.backoffMax, retry.NewExponential(p.timing.backoff)))
		if served > 0 {
			return 0
		}
	}
	d, _ := p.backoff.Next() // it never says to stop
	return d
}

// errStopped is the cause of the contexts of a function that is to stop.
var errStopped = errors.New("the host stops")

// stop stops the function and waits for its process's end. Deliveries that are
// out may finish as long as ctx lasts.
func (f *Function) stop(ctx context.Context) {
	f.mu.Lock()
	if f.stopCtx == nil {
		f.stopCtx = ctx
	}
	f.mu.Unlock()
	f.cancel(errStopped)
	<-f.stopped
}

func (f *Function) stopContext() context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopCtx
}
