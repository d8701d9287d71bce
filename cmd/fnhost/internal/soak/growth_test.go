package soak

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A growth is what the host that is never ended holds, over time.
type growth struct {
	mu      sync.Mutex
	samples []sample
}

type sample struct {
	rss, heap  float64 // MiB; rss is 0 where there is no /proc
	goroutines float64
}

// watch samples the host each second, until the context ends.
func (g *growth) watch(ctx context.Context, h *host) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if s, ok := look(h); ok {
			g.mu.Lock()
			g.samples = append(g.samples, s)
			g.mu.Unlock()
		}
	}
}

func look(h *host) (s sample, ok bool) {
	_, body, err := h.get("/metrics")
	if err != nil {
		return s, false
	}
	goroutines, ok1 := metric(body, "go_goroutines")
	heap, ok2 := metric(body, "go_memstats_heap_inuse_bytes")
	return sample{goroutines: goroutines, heap: heap / (1 << 20), rss: rss(h.cmd.Process.Pid)}, ok1 && ok2
}

// rss is what a process holds in memory, in MiB.
func rss(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024
		}
	}
	return 0
}

// rest is what the host holds while nothing is to be done, no more than enough if
// it comes to that: idle connections, and the process for messages that must run
// alone, are kept for a while.
func (r *rig) rest(h *host, enough func(sample) bool) (s sample, err error) {
	err = r.until(patience, func() string { return "the host does not come to rest: " + s.String() }, func() bool {
		var ok bool
		s, ok = look(h)
		return ok && enough(s)
	})
	return s, err
}

// trend compares the second quarter of the samples with the last one.
func (g *growth) trend() (early, late sample) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := len(g.samples)
	return median(g.samples[n/4 : n/2]), median(g.samples[n*3/4:])
}

func median(samples []sample) sample {
	if len(samples) == 0 {
		return sample{}
	}
	of := func(value func(sample) float64) float64 {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = value(s)
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return sample{
		rss:        of(func(s sample) float64 { return s.rss }),
		heap:       of(func(s sample) float64 { return s.heap }),
		goroutines: of(func(s sample) float64 { return s.goroutines }),
	}
}

func (s sample) String() string {
	return fmt.Sprintf("%.0f goroutines, %.1f MiB resident, %.1f MiB of heap", s.goroutines, s.rss, s.heap)
}

// grown says what of a later sample is more than noise above an earlier one.
func (s sample) grown(later sample) error {
	if later.goroutines > s.goroutines*1.1+30 || later.rss > s.rss*1.2+16 || later.heap > s.heap*1.2+16 {
		return fmt.Errorf("the host that was never ended grows: %s, and then %s", s, later)
	}
	return nil
}
