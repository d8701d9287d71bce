package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// echo is how long after a signal another one is taken for the same: a program
// that runs fnhost may pass on to it what its terminal has sent to both.
const echo = 250 * time.Millisecond

// interrupts gives a context that the first SIGINT or SIGTERM ends. A second
// SIGINT ends the process at once: leases and pending entries stay in Redis, and
// whoever runs next takes them over. stop gives the signals back.
func (a *app) interrupts() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.await(signals, cancel, echo)
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		<-done
		cancel()
	}
}

// await ends when the channel is closed.
func (a *app) await(signals <-chan os.Signal, cancel context.CancelFunc, echo time.Duration) {
	var first time.Time
	for s := range signals {
		if first.IsZero() {
			first = time.Now()
			cancel()
		} else if s == os.Interrupt && time.Since(first) >= echo {
			fmt.Fprintln(a.stderr, "fnhost: interrupted again: stopping at once")
			a.exit(exitInterrupted)
		}
	}
}
