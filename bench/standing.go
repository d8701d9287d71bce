package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// standing measures what a contender costs while it waits, and how much memory
// it holds while it works off a backlog that is far larger than memory should
// notice.
type standing struct {
	backlog int
	last    time.Duration // of each half
}

func (standing) Name() string     { return "standing" }
func (standing) Purpose() Purpose { return Latency }
func (s standing) Title() string {
	return fmt.Sprintf("Idle for %s, then %d messages of 240 bytes at once", s.last, s.backlog)
}

func (standing) Metrics() []Metric {
	return []Metric{
		{Name: "idle_requests", Title: "idle: socket reads of redis/s", Decimals: 1},
		{Name: "idle_cpu", Title: "idle: CPU %", Decimals: 2},
		{Name: "idle_mib", Title: "idle: host MiB", Decimals: 1},
		{Name: "backlog_mib", Title: "backlog: host MiB, median", Decimals: 1},
		{Name: "backlog_peak_mib", Title: "backlog: host MiB, peak", Decimals: 1},
		{Name: "waiting", Title: "waiting at the end", Decimals: 0},
	}
}

func (s standing) Run(ctx context.Context, b *bed, c Contender) (Run, error) {
	p, err := start(c.Command(b.site))
	if err != nil {
		return Run{}, err
	}
	defer p.stop()
	payload := strings.Repeat("x", 240)
	if _, err := c.Publish(ctx, b.rdb, payload, 1); err != nil {
		return Run{}, err
	}
	if err := b.answered(ctx, c, p, 1); err != nil {
		return Run{}, err
	}
	r := Run{Values: map[string]float64{}}
	if err := s.idle(ctx, b, p, &r); err != nil {
		return Run{}, err
	}
	return r, s.load(ctx, b, c, p, payload, &r)
}

func (s standing) idle(ctx context.Context, b *bed, p *process, r *Run) error {
	before, err := b.counts(ctx)
	if err != nil {
		return err
	}
	used := usageOf(p, b.process)
	if err := sleep(ctx, s.last); err != nil {
		return err
	}
	after, err := b.counts(ctx)
	if err != nil {
		return err
	}
	now := usageOf(p, b.process)
	r.Values["idle_requests"] = after.since(before, 0).reads / s.last.Seconds()
	r.Values["idle_cpu"] = (now.host + now.plugins - used.host - used.plugins) / s.last.Seconds() * 100
	r.Values["idle_mib"] = memory("VmRSS", p.cmd.Process.Pid)
	return nil
}

// load watches the host's memory while a backlog grows and waits: publishing is
// faster than any contender.
func (s standing) load(ctx context.Context, b *bed, c Contender, p *process, payload string, r *Run) error {
	published := make(chan error, 1)
	go func() {
		_, err := c.Publish(ctx, b.rdb, payload, s.backlog)
		published <- err
	}()
	var samples []float64
	for until := time.Now().Add(s.last); time.Now().Before(until); {
		samples = append(samples, memory("VmRSS", p.cmd.Process.Pid))
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	if err := <-published; err != nil {
		return err
	}
	done, err := b.rdb.XLen(ctx, c.Results()).Result()
	if err != nil {
		return err
	}
	slices.Sort(samples)
	r.Values["backlog_mib"] = samples[len(samples)/2]
	r.Values["backlog_peak_mib"] = samples[len(samples)-1]
	r.Values["waiting"] = float64(int64(s.backlog) + 1 - done)
	return p.ended()
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
