package soak

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/topology"
)

// A found is all that is in Redis when nothing waits any more.
type found struct {
	messages []redis.XMessage
	results  map[string][]redis.XMessage // by the message's entry id
	dead     map[string][]redis.XMessage // by the message's entry id
	emitted  map[string][]redis.XMessage // entries of echo:tasks by the message's id
	echoed   map[string]int              // results of echo by the entry's id
	counters map[string]int64            // of keyed state
}

func (r *rig) find(ctx context.Context) (*found, error) {
	f := &found{counters: map[string]int64{}, echoed: map[string]int{}}
	all := func(stream string) []redis.XMessage {
		rows, err := r.rdb.XRange(ctx, keys.Stream(stream), "-", "+").Result()
		r.report.fault(err)
		return rows
	}
	f.messages = all("probe:tasks")
	f.results, f.dead = by("entryid", all("probe:results")), by("dlqid", all("probe:dlq"))
	f.emitted = by("causationid", all("echo:tasks"))
	for id, results := range by("entryid", all("echo:results")) {
		f.echoed[id] = len(results)
	}
	for _, p := range r.plans {
		if p.counter == "" {
			continue
		}
		n, err := r.rdb.HGet(ctx, keys.State("probe", p.counter), "count").Int64()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, err
		}
		f.counters[p.counter] = n
	}
	return f, nil
}

func by(field string, entries []redis.XMessage) map[string][]redis.XMessage {
	sorted := map[string][]redis.XMessage{}
	for _, e := range entries {
		sorted[text(e, field)] = append(sorted[text(e, field)], e)
	}
	return sorted
}

func text(e redis.XMessage, field string) string {
	v, _ := e.Values[field].(string)
	return v
}

// check compares what was published with everything that came of it. It is to
// be called when nothing waits.
func (r *rig) check(ctx context.Context) {
	verdict, err := r.history.Check(ctx, r.rdb, hosttest.PlacesOf(keys, topology.Subscription{Stream: "probe:tasks", Group: "probe-workers", Results: "probe:results"}, "probe:dlq"))
	r.report.fault(errors.Join(err, verdict.Err()))
	if !verdict.Quiet() {
		r.report.fault(fmt.Errorf("messages still wait: %s", verdict))
	}
	r.report.say("%s", verdict)

	f, err := r.find(ctx)
	r.report.fault(err)
	if err != nil {
		return
	}
	sums, statuses := map[string]int64{}, map[string]int64{}
	for _, m := range f.messages {
		p, err := r.planOf(m)
		if err != nil {
			r.report.fault(err)
			continue
		}
		sums[p.counter] += p.add
		if problem := r.outcome(f, m, p, statuses); problem != nil {
			r.report.fault(fmt.Errorf("message %s (%s, %q): %w; its runs: %s", m.ID, p.kind, p.entry(text(m, "id")), problem, r.story(m.ID)))
		}
	}
	for counter, n := range f.counters {
		if n != sums[counter] {
			r.report.fault(fmt.Errorf("state of %s is %d, want %d", counter, n, sums[counter]))
		}
	}
	for id, n := range f.echoed {
		if n != 1 {
			r.report.fault(fmt.Errorf("entry %s of echo:tasks has %d results", id, n))
		}
	}
	r.executions(f)
	r.report.fault(errors.Join(r.leftovers(ctx), r.counted(ctx, statuses)))
}

func (r *rig) planOf(m redis.XMessage) (plan, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(text(m, "id"), "soak-"))
	if err != nil || n >= len(r.plans) {
		return plan{}, fmt.Errorf("entry %s, %v, is not one that was published", m.ID, m.Values)
	}
	return r.plans[n], nil
}

// outcome says what is wrong with what came of one message.
func (r *rig) outcome(f *found, m redis.XMessage, p plan, statuses map[string]int64) error {
	results, dead := f.results[m.ID], f.dead[m.ID]
	if len(results) != 1 || len(dead) > 1 {
		return fmt.Errorf("%d results and %d dead letters", len(results), len(dead))
	}
	status, attempt := text(results[0], "status"), text(results[0], "attempt")
	statuses[status]++
	if len(dead) == 1 && text(dead[0], "dlqreason") != p.reason && r.condemned(m, dead[0]) {
		return nil
	}
	switch {
	case status != p.status:
		return fmt.Errorf("status %s, want %s: %v", status, p.status, results[0].Values)
	case p.attempt > 0 && attempt != strconv.Itoa(p.attempt):
		return fmt.Errorf("it was answered on attempt %s, want %d", attempt, p.attempt)
	case p.reason == "" && len(dead) > 0:
		return fmt.Errorf("it is a dead letter: %v", dead[0].Values)
	case p.reason != "" && (len(dead) == 0 || text(dead[0], "dlqreason") != p.reason):
		return fmt.Errorf("dead letters %v, want one for reason %s", dead, p.reason)
	}
	emitted := f.emitted[text(m, "id")]
	if len(emitted) != p.emits {
		return fmt.Errorf("it made %d entries of echo:tasks, want %d: %v", len(emitted), p.emits, emitted)
	}
	for _, e := range emitted {
		if f.echoed[e.ID] != 1 {
			return fmt.Errorf("its emission %s has %d results", e.ID, f.echoed[e.ID])
		}
	}
	return nil
}

// condemned says that a message was taken for poison because we ended the very
// process in which it ran alone: from inside there is no telling.
func (r *rig) condemned(m, letter redis.XMessage) bool {
	runs := r.journal.of(m.ID)
	if text(letter, "dlqreason") != "poison" || len(runs) == 0 {
		return false
	}
	if _, ours := r.killed.Load(runs[len(runs)-1].pid); !ours {
		return false
	}
	r.report.say("message %s was taken for poison: it ran alone when its process was killed, and had run in two that ended", m.ID)
	return true
}

// story tells a message's runs.
func (r *rig) story(id string) string {
	var b strings.Builder
	for _, run := range r.journal.of(id) {
		_, killed := r.killed.Load(run.pid)
		fmt.Fprintf(&b, "[attempt %d, fence %d, process %d (killed: %t), from %d to %d]", run.attempt, run.fence, run.pid, killed, run.begin, run.end)
	}
	return b.String()
}

// executions checks that no lease was used for two, and counts what ran.
func (r *rig) executions(f *found) {
	total, again := 0, 0
	var waits []time.Duration
	for _, m := range f.messages {
		runs := r.journal.of(m.ID)
		total += len(runs)
		if len(runs) > 0 {
			waits = append(waits, time.Unix(0, runs[0].begin).Sub(delivery.IDTime(m.ID)))
		}
		fences := map[uint64]bool{}
		for _, run := range runs {
			if fences[run.fence] {
				r.report.fault(fmt.Errorf("message %s ran twice under one lease: %s", m.ID, r.story(m.ID)))
			}
			fences[run.fence] = true
		}
		if p, err := r.planOf(m); err == nil && p.runs >= 0 && len(runs) > p.runs {
			again += len(runs) - p.runs
		}
	}
	r.report.say("executions: %d, of which %d were of messages that had to run again after a fault", total, again)
	slices.Sort(waits)
	r.report.say("from publication to the first run: p50 %s, p99 %s, max %s; if p50 is not small, the machine was too busy for the times above",
		rounded(waits, 50), rounded(waits, 99), rounded(waits, 100))
}

// rounded gives a percentile of sorted times.
func rounded(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100].Round(time.Millisecond)
}

// leftovers looks for locks without an outcome.
func (r *rig) leftovers(ctx context.Context) error {
	var errs []error
	locks := r.rdb.Scan(ctx, 0, keys.Namespace+":"+topology.DefaultIdempPrefix+":*", 1000).Iterator()
	for locks.Next(ctx) {
		if value := r.rdb.Get(ctx, locks.Val()).Val(); strings.HasPrefix(value, "P|") {
			errs = append(errs, fmt.Errorf("lock %s is left: %s", locks.Val(), value))
		}
	}
	return errors.Join(append(errs, locks.Err())...)
}

// counted compares the minutes' counts with the results.
func (r *rig) counted(ctx context.Context, want map[string]int64) error {
	got := map[string]int64{}
	minutes := r.rdb.Scan(ctx, 0, keys.Namespace+":ops:stats:probe:m:*", 1000).Iterator()
	for minutes.Next(ctx) {
		counts, err := r.rdb.HGetAll(ctx, minutes.Val()).Result()
		if err != nil {
			return err
		}
		for status := range want {
			n, _ := strconv.ParseInt(counts[status], 10, 64)
			got[status] += n
		}
	}
	for status, n := range want {
		if got[status] != n {
			return fmt.Errorf("the minutes' counts say %d with status %s, want %d", got[status], status, n)
		}
	}
	return minutes.Err()
}
