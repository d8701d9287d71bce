package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// drain measures how fast a backlog is worked off: from the first answer on, so
// that no start of a process counts, to the last.
type drain struct {
	size  int // bytes of a payload
	count int
}

func (d drain) Name() string   { return fmt.Sprintf("drain-%d", d.size) }
func (drain) Purpose() Purpose { return Throughput }
func (d drain) Title() string {
	return fmt.Sprintf("Drain of a backlog: %d messages of %d bytes", d.count, d.size)
}

func (drain) Contenders(chosen []Contender) []Contender { return chosen }

func (drain) Metrics() []Metric {
	return []Metric{
		{Name: "msg_per_s", Title: "msg/s", Decimals: 0, Ratio: true, Plot: true},
		{Name: "cpu", Title: "CPU s/100k, all", Decimals: 2, Ratio: true},
		{Name: "host_cpu", Title: "host CPU s/100k", Decimals: 2},
		{Name: "plugin_cpu", Title: "plugin CPU s/100k", Decimals: 2},
		{Name: "redis_cpu", Title: "redis CPU s/100k", Decimals: 2},
		{Name: "commands", Title: "commands/msg", Decimals: 2},
		{Name: "requests", Title: "socket reads of redis/1000 msg", Decimals: 1},
		{Name: "host_peak_mib", Title: "host peak MiB", Decimals: 0},
		{Name: "plugin_peak_mib", Title: "plugin peak MiB", Decimals: 0},
	}
}

func (d drain) Run(ctx context.Context, b *bed, c Contender) (Run, error) {
	if _, err := c.Publish(ctx, b.rdb, strings.Repeat("x", d.size), d.count); err != nil {
		return Run{}, fmt.Errorf("filling the backlog: %w", err)
	}
	p, err := b.start(c)
	if err != nil {
		return Run{}, err
	}
	defer p.stop()
	r, err := d.measure(ctx, b, c, p)
	if err != nil {
		return Run{}, err
	}
	return r, b.exactly(ctx, c, int64(d.count))
}

func (d drain) measure(ctx context.Context, b *bed, c Contender, p crew) (Run, error) {
	if err := b.answered(ctx, c, p, 1); err != nil {
		return Run{}, err
	}
	counted, err := b.counts(ctx)
	if err != nil {
		return Run{}, err
	}
	used, begun := usageOf(p, b.process), time.Now()
	first, err := b.done(ctx, c)
	if err != nil {
		return Run{}, err
	}
	polls, err := b.await(ctx, c, p, int64(d.count))
	if err != nil {
		return Run{}, err
	}
	took, after := time.Since(begun), usageOf(p, b.process)
	now, err := b.counts(ctx)
	if err != nil {
		return Run{}, err
	}
	n := float64(d.count) - float64(first)
	if n <= 0 {
		return Run{}, fmt.Errorf("all %d messages were answered before the measurement began; use more", d.count)
	}
	return d.result(n, took, used, after, now.since(counted, polls), p), nil
}

func (drain) result(n float64, took time.Duration, before, after usage, did count, p crew) Run {
	r := Run{Commands: map[string]float64{}, Micros: map[string]float64{}, Values: map[string]float64{
		"msg_per_s":       n / took.Seconds(),
		"cpu":             (after.all() - before.all()) / n * 1e5,
		"host_cpu":        (after.host - before.host) / n * 1e5,
		"plugin_cpu":      (after.plugins - before.plugins) / n * 1e5,
		"redis_cpu":       (after.redis - before.redis) / n * 1e5,
		"commands":        did.commands() / n,
		"requests":        did.reads / n * 1000,
		"host_peak_mib":   memory("VmHWM", p.pids()...),
		"plugin_peak_mib": memory("VmHWM", p.plugins()...),
	}}
	for name, calls := range did.calls {
		r.Commands[name], r.Micros[name] = calls/n*1000, did.micros[name]/n
	}
	return r
}

// await polls until all are answered, and says how often it asked. It fails when
// nothing moves for long.
func (b *bed) await(ctx context.Context, c Contender, p crew, want int64) (polls int, err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	last, moved := int64(0), time.Now()
	for ; ; polls++ {
		done, err := b.done(ctx, c)
		if err != nil || done >= want {
			return polls, err
		}
		if err := p.ended(); err != nil {
			return polls, err
		}
		if done > last {
			last, moved = done, time.Now()
		} else if time.Since(moved) > patience {
			return polls, fmt.Errorf("%d of %d messages were answered, and no more for %s; it said:\n%s", done, want, patience, p.output())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return polls, ctx.Err()
		}
	}
}

// exactly checks that there are no more answers than messages.
func (b *bed) exactly(ctx context.Context, c Contender, want int64) error {
	select {
	case <-time.After(300 * time.Millisecond):
	case <-ctx.Done():
	}
	got, err := b.done(ctx, c)
	if err == nil && got != want {
		err = fmt.Errorf("%d messages have %d answers", want, got)
	}
	return err
}
