package main

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// What a host may allocate for a message, with one result and an entry of 240
// bytes: about a third more than it does, since that varies with how many
// messages share a batch. Lower them when it does with less.
var allowance = map[string]struct {
	audit         bool
	allocs, bytes float64
}{
	"audit=0": {false, 40, 8_000},
	"audit=1": {true, 100, 15_000},
}

// TestAllocationsOfAMessage counts what a host in this process allocates while it
// works off a backlog; the plugin and Redis have processes of their own.
func TestAllocationsOfAMessage(t *testing.T) {
	const n = 60_000
	for name, may := range allowance {
		t.Run(name, func(t *testing.T) {
			c := fnhost{concurrency: 2048, audit: may.audit}
			bed := newBed(t, Throughput)
			if _, err := c.Publish(t.Context(), bed.rdb, strings.Repeat("x", 240), n); err != nil {
				t.Fatal(err)
			}
			begin(t, newHost(t, bed, c))
			if err := bed.answered(t.Context(), c, nil, 1); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			first, err := bed.done(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			// Seldom, since asking allocates too.
			err = eventually(t.Context(), 50*time.Millisecond, func() (bool, error) {
				done, err := bed.done(t.Context(), c)
				return done >= n, err
			})
			if err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if first > n/2 {
				t.Fatalf("%d of %d messages were answered before the count began: the rest says too little; publish more", first, n)
			}
			counted := float64(n - first)
			allocs := float64(after.Mallocs-before.Mallocs) / counted
			bytes := float64(after.TotalAlloc-before.TotalAlloc) / counted
			t.Logf("%.1f allocations and %.0f bytes a message", allocs, bytes)
			if allocs > may.allocs || bytes > may.bytes {
				t.Errorf("%.1f allocations and %.0f bytes a message; at most %.0f and %.0f are allowed", allocs, bytes, may.allocs, may.bytes)
			}
		})
	}
}
