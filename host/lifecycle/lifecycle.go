// Package lifecycle is Start, Started and Stop, written once and embedded by
// every long-lived part of the host.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrStop is the cause of a part's context once the part is told to stop:
// context.Cause tells a stop from a deadline and from a failure.
var ErrStop = errors.New("stopped")

// A Part is something that runs for long.
type Part interface {
	// Start starts the part and gives an error if it cannot. The part runs until
	// Stop, or until ctx ends. Starting a part that runs does nothing.
	Start(ctx context.Context) error
	// Started is closed once the part has started, or has failed to.
	Started() <-chan struct{}
	// Stop ends the part and waits until it has ended. It may be called without
	// a Start, twice, and by many at once. A stopped part may start again.
	Stop()
}

// Base makes a [Part] of what embeds it. Its zero value is ready to use.
//
//	type Poller struct {
//		lifecycle.Base
//	}
//
//	func (p *Poller) Start(ctx context.Context) error {
//		return p.Go(ctx, p.connect, p.poll) // connect may be nil; poll returns when its context ends
//	}
type Base struct {
	mu      sync.Mutex
	cancel  context.CancelCauseFunc // nil: not running
	started chan struct{}           // of this run, or of the next; made when first asked for
	stopped chan struct{}           // of this run, or of the last
}

// Go runs prepare, if there is one, and then run in a goroutine of its own until
// its context ends. An error of prepare is given back, and the part has not
// started. If the part runs already, Go does nothing.
func (b *Base) Go(ctx context.Context, prepare func(context.Context) error, run func(context.Context)) error {
	ctx, ok := b.begin(ctx)
	if !ok {
		return nil
	}
	if prepare != nil {
		if err := prepare(ctx); err != nil {
			b.end()
			return err
		}
	}
	close(b.startedChan())
	go func() {
		defer b.end()
		run(ctx)
	}()
	return nil
}

func (b *Base) begin(ctx context.Context) (context.Context, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel != nil {
		return nil, false
	}
	ctx, b.cancel = context.WithCancelCause(ctx)
	b.stopped = make(chan struct{})
	return ctx, true
}

func (b *Base) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancel(ErrStop)
	b.cancel = nil
	if b.started != nil {
		select {
		case <-b.started:
		default:
			close(b.started)
		}
		b.started = nil
	}
	close(b.stopped)
}

func (b *Base) startedChan() chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.started == nil {
		b.started = make(chan struct{})
	}
	return b.started
}

// Started is closed once the part has started, or has failed to.
func (b *Base) Started() <-chan struct{} { return b.startedChan() }

// Stopped is closed while the part does not run.
func (b *Base) Stopped() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped == nil {
		b.stopped = make(chan struct{})
		close(b.stopped)
	}
	return b.stopped
}

// Stop cancels the part's context with [ErrStop] and waits until it has ended.
func (b *Base) Stop() {
	b.mu.Lock()
	cancel, stopped := b.cancel, b.stopped
	b.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel(ErrStop)
	<-stopped
}

// StartAll starts the parts in their order. If one cannot start, those before it
// are stopped again, the last first.
func StartAll(ctx context.Context, parts ...Part) error {
	for i, part := range parts {
		if err := part.Start(ctx); err != nil {
			for ; i > 0; i-- {
				parts[i-1].Stop()
			}
			return fmt.Errorf("starting %T: %w", part, err)
		}
	}
	return nil
}

// StopAll stops the parts at the same time and waits for all of them.
func StopAll(parts ...Part) {
	var wg sync.WaitGroup
	for _, part := range parts {
		wg.Go(part.Stop)
	}
	wg.Wait()
}
