package plugin

import (
	"context"
	"time"
)

// A Quarantine is a second process of a function, of the same binary and with
// the same settings, for messages that may kill it. It runs one message at a
// time. It is started when it is woken, and ends when it has had nothing to do
// for a while. What becomes of it is no matter to the function's own process,
// nor are its ends counted against that: they are what it is for.
//
// It answers through the function's sink, and no load has the number of one of
// the function's own.
type Quarantine struct {
	slot
	function *Function
	wanted   chan struct{}
}

func newQuarantine(f *Function) *Quarantine {
	return &Quarantine{slot: newSlot(&f.sink), function: f, wanted: make(chan struct{}, 1)}
}

// Wake has a process start unless one is ready. If none can be started, Changed
// is signalled after a pause, and it may be woken again.
func (q *Quarantine) Wake() {
	select {
	case q.wanted <- struct{}{}:
	default:
	}
}

// Concurrency is 1.
func (q *Quarantine) Concurrency() int { return 1 }

// Kill kills the process, if there is one. When it returns, nothing is handed to
// that process any more.
func (q *Quarantine) Kill(reason string) {
	if g := q.active.Swap(nil); g != nil {
		g.kill(reason)
	}
}

// supervise starts a process whenever one is wanted, until the function is to
// stop.
func (q *Quarantine) supervise() {
	f := q.function
	pauses := pauses{timing: f.set.options.timing}
	for number := 1; q.awaitWake(); number++ {
		begun := time.Now()
		g, err := f.launch(f.quit, f.log.With("quarantine", number), number, q.Concurrency())
		if err != nil {
			q.startFailed(err)
			f.pause(pauses.next(0, false))
			q.signal()
			continue
		}
		g.log.Info("the plugin is ready for messages that must run alone", "plugin_pid", g.plugin.PID, "took", time.Since(begun))
		q.activate(g, "")
		if died, busy := q.attend(g); died && !busy { // else the message that ran has paid for it
			f.pause(pauses.next(time.Since(g.started), false))
			q.signal()
		}
	}
}

func (q *Quarantine) awaitWake() bool {
	select {
	case <-q.wanted:
		return q.function.quit.Err() == nil
	case <-q.function.quit.Done():
		return false
	}
}

func (q *Quarantine) startFailed(err error) {
	f := q.function
	if f.quit.Err() != nil {
		return
	}
	q.activate(nil, err.Error())
	f.log.Error("the plugin does not start for messages that must run alone; they wait, the others go on", "error", err)
	f.set.observer.PluginStartFailed(f.Role())
}

// activate makes a process the one in service. lastError says why there is none
// that was wanted.
func (q *Quarantine) activate(g *generation, lastError string) {
	pid := 0
	if g != nil {
		pid = g.plugin.PID
		select {
		case <-q.wanted: // that was for this one
		default:
		}
	}
	f := q.function
	f.mu.Lock()
	f.info.QuarantinePID, f.info.QuarantineError = pid, lastError
	f.mu.Unlock()
	q.put(g)
	q.signal()
}

// attend sees a process through to its end, and says whether it has died, and
// whether while a message ran.
func (q *Quarantine) attend(g *generation) (died, busy bool) {
	f := q.function
	done, cancel := context.WithCancel(f.quit)
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		g.awaitIdle(done.Done())
		cancel()
	}()
	g.watch(done.Done())
	died = done.Err() == nil
	cancel()
	<-idle
	q.activate(nil, "") // before the replies, which would be delivered again at once
	if !died {
		q.end(g)
		return false, false
	}
	busy = g.busy()
	g.finish()
	g.log.Warn("the plugin ended while it ran a message alone, or had none", "status", g.ending(),
		"busy", busy, "plugin_pid", g.plugin.PID, "output", g.tail(tailLines))
	f.set.observer.PluginExited(f.Role(), ExitSuspect)
	return true, busy
}

// end ends a process that is idle, or whose function is to stop.
func (q *Quarantine) end(g *generation) {
	f := q.function
	ctx := context.Background()
	if f.quit.Err() != nil {
		ctx = f.stopContext()
	}
	g.stop(ctx)
	g.finish()
	g.log.Info("the plugin ended; no message must run alone", "status", g.ending(), "plugin_pid", g.plugin.PID)
	f.set.observer.PluginExited(f.Role(), ExitShutdown)
}

// awaitIdle waits until the generation has had nothing to do for long enough, and
// takes no more deliveries from then on; or until stop is closed.
func (g *generation) awaitIdle(stop <-chan struct{}) {
	ticker := time.NewTicker(g.timing.idle)
	defer ticker.Stop()
	for seen := uint64(0); ; {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		arrived, retired := g.retire(seen)
		if retired {
			return
		}
		seen = arrived
	}
}

// retire ends the taking of deliveries if none is out and none has come since
// there were so many.
func (g *generation) retire(seen uint64) (arrived uint64, retired bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.out) > 0 || g.arrived != seen {
		return g.arrived, false
	}
	g.ended = true
	return g.arrived, true
}

func (g *generation) busy() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.out) > 0
}
