package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// openLoop measures the time from when a message should have been sent to when a
// reader of the results stream has its answer. Messages are due at a fixed rate
// whatever becomes of the earlier ones, and a late one counts from when it was
// due: so a stall is seen by all the messages that it held up.
type openLoop struct {
	rate  int // messages a second
	size  int // bytes of a payload
	last  time.Duration
	warm  time.Duration // at the beginning, not counted
	drain time.Duration // for the last answers
}

func (o openLoop) Name() string   { return fmt.Sprintf("latency-%d", o.rate) }
func (openLoop) Purpose() Purpose { return Latency }
func (o openLoop) Title() string {
	return fmt.Sprintf("Latency from publish to result at %d msg/s, open loop, %s, %d bytes", o.rate, o.last, o.size)
}

// Contenders leaves out what differs from another in drains alone.
func (openLoop) Contenders(chosen []Contender) []Contender { return distinct(chosen) }

func (openLoop) Metrics() []Metric {
	return []Metric{
		{Name: "p50_ms", Title: "p50 ms", Decimals: 2, Ratio: true, Plot: true},
		{Name: "p90_ms", Title: "p90 ms", Decimals: 2},
		{Name: "p99_ms", Title: "p99 ms", Decimals: 2, Ratio: true, Plot: true},
		{Name: "p999_ms", Title: "p99.9 ms", Decimals: 2},
		{Name: "max_ms", Title: "max ms", Decimals: 1},
		{Name: "unanswered", Title: "unanswered", Decimals: 0},
		{Name: "host_cpu", Title: "host CPU %", Decimals: 1},
		{Name: "plugin_cpu", Title: "plugin CPU %", Decimals: 1},
		{Name: "redis_cpu", Title: "redis CPU %", Decimals: 1},
	}
}

func (o openLoop) Run(ctx context.Context, b *bed, c Contender) (Run, error) {
	p, err := b.start(c)
	if err != nil {
		return Run{}, err
	}
	defer p.stop()
	payload := strings.Repeat("x", o.size)
	if _, err := c.Publish(ctx, b.rdb, payload, 1); err != nil {
		return Run{}, err
	}
	if err := b.answered(ctx, c, p, 1); err != nil {
		return Run{}, err
	}
	before, begun := usageOf(p, b.process), time.Now()
	due, seen, err := o.measure(ctx, b, c, payload)
	if err != nil {
		return Run{}, err
	}
	after, took := usageOf(p, b.process), time.Since(begun).Seconds()
	r := Run{Values: o.percentiles(due, seen, time.Now())}
	r.Values["host_cpu"] = (after.host - before.host) / took * 100
	r.Values["plugin_cpu"] = (after.plugins - before.plugins) / took * 100
	r.Values["redis_cpu"] = (after.redis - before.redis) / took * 100
	return r, p.ended()
}

// measure publishes and reads at once. due and seen are times by message key.
func (o openLoop) measure(ctx context.Context, b *bed, c Contender, payload string) (due, seen map[string]time.Time, err error) {
	total := int(float64(o.rate) * (o.warm + o.last).Seconds())
	reading, cancel := context.WithTimeout(ctx, o.warm+o.last+o.drain)
	defer cancel()
	var readErr error
	var reader sync.WaitGroup
	reader.Go(func() { seen, readErr = readResults(reading, b.addr, c, total) })
	due, err = o.publish(ctx, b, c, payload, total)
	if err != nil {
		cancel()
	}
	reader.Wait()
	return due, seen, errors.Join(err, readErr)
}

// publish sends each message when it is due; those that have become due
// meanwhile go together.
func (o openLoop) publish(ctx context.Context, b *bed, c Contender, payload string, total int) (map[string]time.Time, error) {
	rdb := directClient(b.addr)
	defer rdb.Close()
	runtime.LockOSThread() // the runtime's timers are too coarse: it sleeps itself
	defer runtime.UnlockOSThread()
	due := make(map[string]time.Time, total)
	interval := time.Second / time.Duration(o.rate)
	begun := time.Now().Add(50 * time.Millisecond)
	for sent := 0; sent < total; {
		wait := time.Until(begun.Add(time.Duration(sent) * interval))
		if wait > 0 {
			pause := syscall.NsecToTimespec(wait.Nanoseconds())
			_ = syscall.Nanosleep(&pause, nil) // cut short, it is asked again
			continue
		}
		ready := min(int(-wait/interval)+1, total-sent)
		keys, err := c.Publish(ctx, rdb, payload, ready)
		if err != nil {
			return nil, fmt.Errorf("publishing: %w", err)
		}
		for i, key := range keys {
			due[key] = begun.Add(time.Duration(sent+i) * interval)
		}
		sent += ready
	}
	return due, nil
}

// readResults notes when each answer is seen, until all are or ctx ends.
func readResults(ctx context.Context, addr string, c Contender, want int) (map[string]time.Time, error) {
	rdb := directClient(addr)
	defer rdb.Close()
	results := c.Results()[0]
	last, err := rdb.XRevRangeN(ctx, results, "+", "-", 1).Result()
	if err != nil || len(last) == 0 {
		return nil, fmt.Errorf("the results stream is empty: %w", err)
	}
	seen := make(map[string]time.Time, want)
	for from := last[0].ID; len(seen) < want && ctx.Err() == nil; {
		reply, err := rdb.Do(ctx, "XREAD", "COUNT", 1000, "BLOCK", 100, "STREAMS", results, from).Slice()
		now := time.Now()
		if errors.Is(err, redis.Nil) || ctx.Err() != nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading results: %w", err)
		}
		for _, e := range reply[0].([]any)[1].([]any) {
			from = e.([]any)[0].(string)
			seen[field(e.([]any)[1].([]any), c.KeyField())] = now
		}
	}
	return seen, nil
}

func field(fields []any, name string) string {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == name {
			value, _ := fields[i+1].(string)
			return value
		}
	}
	return ""
}

// percentiles are of the messages that were due after the warm-up. One without
// an answer until the end counts as answered then: it took at least so long, and
// to leave it out would flatter.
func (o openLoop) percentiles(due, seen map[string]time.Time, end time.Time) map[string]float64 {
	var begun time.Time
	for _, at := range due {
		if begun.IsZero() || at.Before(begun) {
			begun = at
		}
	}
	var took []time.Duration
	unanswered := 0
	for key, at := range due {
		if at.Sub(begun) < o.warm {
			continue
		}
		answer, ok := seen[key]
		if !ok {
			answer = end
			unanswered++
		}
		took = append(took, answer.Sub(at))
	}
	slices.Sort(took)
	return map[string]float64{
		"p50_ms": percentile(took, 0.5), "p90_ms": percentile(took, 0.9), "p99_ms": percentile(took, 0.99),
		"p999_ms": percentile(took, 0.999), "max_ms": percentile(took, 1), "unanswered": float64(unanswered),
	}
}
