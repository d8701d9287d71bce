package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// standing measures how much memory a contender holds while it works: with few
// messages waiting, and with a backlog that is far larger than memory should
// notice. Each in a fresh process.
type standing struct {
	backlog int
	last    time.Duration // of each half
}

// few is how many messages wait when few do: enough that nobody runs dry.
const few = 10_000

func (standing) Name() string     { return "standing" }
func (standing) Purpose() Purpose { return Throughput }
func (s standing) Title() string {
	return fmt.Sprintf("Memory of the host with %d messages waiting, and with %d", few, s.backlog)
}

// Contenders leaves asynq out: it publishes a message at a time, and would take
// minutes to fill the backlog.
func (standing) Contenders(chosen []Contender) []Contender {
	return slices.DeleteFunc(distinct(chosen), func(c Contender) bool { return c.Name() == asynqQueue{}.Name() })
}

func (standing) Metrics() []Metric {
	return []Metric{
		{Name: "idle_mib", Title: "empty: MiB", Decimals: 1},
		{Name: "few_mib", Title: "few: MiB, median", Decimals: 1},
		{Name: "backlog_mib", Title: "backlog: MiB, median", Decimals: 1},
		{Name: "backlog_peak_mib", Title: "backlog: MiB, peak", Decimals: 1},
		{Name: "above_mib", Title: "backlog above few: MiB", Decimals: 1},
		{Name: "waiting", Title: "waiting at the end", Decimals: 0},
	}
}

func (s standing) Run(ctx context.Context, b *bed, c Contender) (Run, error) {
	r, payload := Run{Values: map[string]float64{}}, strings.Repeat("x", 240)
	if err := s.few(ctx, b, c, payload, &r); err != nil {
		return Run{}, err
	}
	return r, s.many(ctx, b, c, payload, &r)
}

// few keeps few messages waiting.
func (s standing) few(ctx context.Context, b *bed, c Contender, payload string, r *Run) error {
	p, err := b.begin(ctx, c, payload)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	r.Values["idle_mib"] = memory("VmRSS", p.pids()...)
	published := int64(1)
	samples, _, err := s.sample(ctx, b, c, p, func(done int64) (bool, error) {
		if published-done > few/2 {
			return true, nil
		}
		_, err := c.Publish(ctx, b.rdb, payload, few/2)
		published += few / 2
		return true, err
	})
	if err != nil {
		return err
	}
	r.Values["few_mib"] = samples[len(samples)/2]
	_, err = b.await(ctx, c, p, published)
	return err
}

// many has the backlog wait from the start, and ends before it has gone.
func (s standing) many(ctx context.Context, b *bed, c Contender, payload string, r *Run) error {
	before, err := b.done(ctx, c)
	if err != nil {
		return err
	}
	if _, err := c.Publish(ctx, b.rdb, payload, s.backlog); err != nil {
		return fmt.Errorf("filling the backlog: %w", err)
	}
	p, err := b.start(c)
	if err != nil {
		return err
	}
	defer p.stop()
	if err := b.answered(ctx, c, p, before+1); err != nil {
		return err
	}
	all := before + int64(s.backlog)
	samples, done, err := s.sample(ctx, b, c, p, func(done int64) (bool, error) { return all-done > few, nil })
	if err != nil {
		return err
	}
	r.Values["backlog_mib"] = samples[len(samples)/2]
	r.Values["backlog_peak_mib"] = samples[len(samples)-1]
	r.Values["above_mib"] = r.Values["backlog_mib"] - r.Values["few_mib"]
	r.Values["waiting"] = float64(all - done)
	return p.ended()
}

// sample gives the memory of the hosts, in order of size, and how many messages
// were answered at the end; before each sample, more says whether to go on.
func (s standing) sample(ctx context.Context, b *bed, c Contender, p crew, more func(done int64) (bool, error)) (mib []float64, done int64, err error) {
	for until := time.Now().Add(s.last); len(mib) == 0 || time.Now().Before(until); {
		if done, err = b.done(ctx, c); err != nil {
			return nil, 0, err
		}
		goOn, err := more(done)
		if err != nil {
			return nil, 0, err
		}
		mib = append(mib, memory("VmRSS", p.pids()...))
		if !goOn {
			break
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return nil, 0, err
		}
	}
	slices.Sort(mib)
	return mib, done, nil
}

// begin starts a contender and waits until it is up, and for its first answers,
// one for each stream.
func (b *bed) begin(ctx context.Context, c Contender, payload string) (crew, error) {
	p, err := b.start(c)
	if err != nil {
		return nil, err
	}
	n := len(c.Results())
	if _, err = c.Publish(ctx, b.rdb, payload, n); err == nil {
		err = b.answered(ctx, c, p, int64(n))
	}
	if many, ok := c.(fnhost); ok && err == nil {
		err = eventually(ctx, 20*time.Millisecond, func() (bool, error) { return many.up(ctx, b.rdb) })
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
