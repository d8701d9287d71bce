package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fixed is the seed of the short form that is always run, besides a random one.
const fixed = 4

// TestNothingIsLost: whatever ends or stalls, each message comes to exactly the
// outcome that it must have.
func TestNothingIsLost(t *testing.T) {
	seeds := []uint64{*seed}
	if *seed == 0 && *long {
		seeds = []uint64{rand.Uint64()}
	} else if *seed == 0 {
		seeds = []uint64{fixed, rand.Uint64()}
	}
	for _, s := range seeds {
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			t.Parallel() // they wait most of the time
			soak(t, s)
		})
	}
}

func soak(t *testing.T, seed uint64) {
	if *hosts < 2 {
		t.Fatal("a soak needs two hosts at least: one is never ended")
	}
	r := newRig(t)
	r.report.begun = time.Now()
	for place := range *hosts {
		_, err := r.start(place)
		r.must(err)
	}
	for _, h := range r.every() {
		r.must(r.serving(h))
	}
	steady := r.host(0)

	r.stopCleanly(rand.New(rand.NewPCG(seed, 1)))
	before, err := r.rest(steady, func(sample) bool { return true })
	r.must(err)

	watching, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { r.growth.watch(watching, steady) })
	r.strike(seed)
	stop()
	all.Wait()

	r.report.fault(r.settle())
	after, err := r.rest(steady, func(s sample) bool { return !*long || s.goroutines <= before.goroutines+3 })
	r.report.fault(err)
	early, late := r.growth.trend()
	r.report.say("the host that was never ended, at rest before and after: %s; %s", before, after)
	r.report.say("the same under load, in the second and the last quarter: %s; %s", early, late)
	if *long {
		r.report.fault(r.report.late())
		r.report.fault(early.grown(late))
		r.report.fault(before.grown(after))
	}
	for _, h := range r.every() {
		r.report.fault(r.stop(h))
	}
	r.report.fault(r.orphans())
	r.read()
	r.check(t.Context())

	t.Logf("seed %d, %d hosts, %d messages, %s\n%s", seed, *hosts, r.history.Len(), time.Since(r.report.begun).Round(time.Second), &r.report)
	for _, err := range r.report.errs {
		t.Error(err)
	}
}

// strike has faults strike while messages are published.
func (r *rig) strike(seed uint64) {
	ctx, end := context.WithCancel(r.t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		defer end()
		n := *messages * 9 / 10
		r.load(ctx, rand.New(rand.NewPCG(seed, 2)), len(kinds), n, *length, max(1, n/2000))
	})
	r.chaos(ctx, rand.New(rand.NewPCG(seed, 3)))
	all.Wait()
}

// stopCleanly ends hosts under load as an operator does, one after another: no
// message may run more often than it has to.
func (r *rig) stopCleanly(rnd *rand.Rand) {
	ctx, end := context.WithCancel(r.t.Context())
	defer end()
	var all sync.WaitGroup
	all.Go(func() {
		defer end()
		r.load(ctx, rnd, clean, *messages/10, *length/6, 0)
	})
	stops := 0
	for place := 1; ctx.Err() == nil; place = 1 + place%(*hosts-1) {
		r.report.fault(r.halfDone())
		r.report.fault(r.stop(r.host(place)))
		r.must(r.replace(place, nil))
		stops++
	}
	all.Wait()
	r.must(r.settle())
	r.read()
	messages, extra := 0, 0
	rows, err := r.rdb.XRange(r.t.Context(), keys.Stream("probe:tasks"), "-", "+").Result()
	r.must(err)
	for _, m := range rows {
		p, err := r.planOf(m)
		r.must(err)
		messages++
		if n := len(r.journal.of(m.ID)); n != p.runs {
			extra++
			r.report.fault(fmt.Errorf("message %s (%s) ran %d times, want %d, though hosts were only stopped: %s", m.ID, p.kind, n, p.runs, r.story(m.ID)))
		}
	}
	r.report.say("%d hosts stopped cleanly under load: %d messages, %d ran not as often as they had to", stops, messages, extra)
}

// halfDone publishes messages, and waits until each has failed once and waits for
// its next attempt: whoever takes them over must know of the first.
func (r *rig) halfDone() error {
	plans := make([]plan, 24)
	for i := range plans {
		plans[i] = plan{kind: "half done", status: "ok", attempt: 2, runs: 2, data: map[string]any{"fail": "retry", "fail_attempts": 1, "after_ms": 3000}}
	}
	ids := r.publish(r.t.Context(), plans)
	return r.until(patience, func() string { return "a message did not run at all" }, func() bool {
		r.read()
		return !slices.ContainsFunc(ids, func(id string) bool { return len(r.journal.of(id)) == 0 })
	})
}

// orphans looks for plugins that outlive their hosts.
func (r *rig) orphans() error {
	var left []string
	err := r.until(patience, func() string { return fmt.Sprintf("plugins outlive their hosts: %v", left) }, func() bool {
		left = left[:0]
		processes, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is well formed; none where there is no /proc
		for _, exe := range processes {
			if path, err := os.Readlink(exe); err == nil && strings.HasPrefix(path, filepath.Join(r.dir, "state-")) {
				left = append(left, filepath.Base(filepath.Dir(exe)))
			}
		}
		return len(left) == 0
	})
	return err
}
