// Package bench measures a role that is being served: it publishes messages to
// the role's stream, follows the results without a group, and takes away again
// what it put there.
package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

// Source is the CloudEvents source of the messages.
const Source = "/fnhost/bench"

// A Plan is what is to be measured.
type Plan struct {
	Sub         topology.Subscription // with a results stream
	DLQ         string                // of the role; empty: none
	Type        string
	Data        []byte
	ContentType string
	Messages    int
	// Rate is how many messages a second are published, whatever becomes of the
	// earlier ones; 0: as fast as they can be.
	Rate float64
	// Patience is how long to wait while nothing is published or answered.
	Patience time.Duration
}

// A Report is what was measured. Latencies are from when a message was due, or
// without a rate from when its publish began, to when its result was read.
type Report struct {
	Published int
	OK        int // results by status
	Errors    int
	Dropped   int
	// Duplicates are results beyond the first of a message: there must be none.
	Duplicates int
	Publishing time.Duration // from the first publish to the end of the last
	Took       time.Duration // from the first publish to the last result
	Latencies  []time.Duration
	Removed    Removed
}

// Removed is what was taken away again.
type Removed struct {
	Messages    int64 `json:"messages"`
	Results     int64 `json:"results"`
	DeadLetters int64 `json:"dead_letters"`
	DoneMarks   int64 `json:"done_marks"`
	// Left are messages that a host had when we gave up: they end by themselves,
	// and stay, as do their results.
	Left int64 `json:"left"`
}

// Answered is how many messages have a result.
func (r *Report) Answered() int { return len(r.Latencies) }

// PerSecond is how many messages were answered a second.
func (r *Report) PerSecond() float64 { return rate(r.Answered(), r.Took) }

// PublishedPerSecond is how many messages were published a second.
func (r *Report) PublishedPerSecond() float64 { return rate(r.Published, r.Publishing) }

func rate(n int, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}

// Percentile is the latency that the share q (0 to 1) of the messages does not
// pass; 0 without any.
func (r *Report) Percentile(q float64) time.Duration {
	n := len(r.Latencies)
	if n == 0 {
		return 0
	}
	rank := int(q*float64(n) + 0.999999)
	return r.Latencies[min(max(rank, 1), n)-1]
}

// ErrNoAnswer ends a run in which nothing was answered for as long as the plan's
// patience.
var ErrNoAnswer = errors.New("no result came")

// Run measures. It takes away what it put into Redis, whatever happened, also
// after ctx has ended: so it may return some seconds later. The report is of
// what was done until then, with an error too.
func Run(ctx context.Context, c *stream.Client, plan Plan) (Report, error) {
	r, err := newRun(ctx, c, plan)
	if err != nil {
		return Report{}, err
	}
	err = r.measure(ctx)
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	removed, cleanErr := r.clean(clean, err != nil)
	report := r.report()
	report.Removed = removed
	return report, errors.Join(err, cleanErr)
}

// run is one measurement. Its publisher and its reader each have fields of their
// own, so that they need no lock; the index is a message's number.
type run struct {
	c    *stream.Client
	plan Plan
	id   string // the beginning of all message ids
	logs []follow

	begun time.Time

	// the publisher's
	due       []time.Duration // since begun
	entries   []string        // entry ids; empty: not published
	count     int             // of those published
	published time.Duration

	// the reader's
	seen       []time.Duration // since begun; 0: no result yet
	results    []string        // entry ids of all our results
	answered   int
	duplicates int
	statuses   map[string]int
	last       time.Duration
}

// A follow is a stream that may get entries of ours.
type follow struct {
	stream string
	end    string // the id of its last entry before us
	there  bool   // it existed
}

func newRun(ctx context.Context, c *stream.Client, plan Plan) (*run, error) {
	r := &run{
		c: c, plan: plan, id: "bench-" + call.NewID() + "-",
		due: make([]time.Duration, plan.Messages), entries: make([]string, plan.Messages),
		seen: make([]time.Duration, plan.Messages), results: make([]string, 0, plan.Messages), statuses: map[string]int{},
	}
	for _, name := range []string{plan.Sub.Results, plan.DLQ} {
		f := follow{stream: name, end: "0-0"}
		if name != "" {
			last, err := c.RangeBack(ctx, name, "+", "-", 1)
			if err != nil {
				return nil, err
			}
			if len(last) > 0 {
				f.end = last[0].ID
			}
			n, err := c.Commands().Exists(ctx, c.Keys().Stream(name)).Result()
			if err != nil {
				return nil, fmt.Errorf("looking for stream %s: %w", name, err)
			}
			f.there = n > 0
		}
		r.logs = append(r.logs, f)
	}
	return r, nil
}

func (r *run) report() Report {
	p := Report{
		Published: r.count, Duplicates: r.duplicates, Publishing: r.published, Took: r.last,
		OK: r.statuses[delivery.StatusOK], Errors: r.statuses[delivery.StatusError], Dropped: r.statuses[delivery.StatusDropped],
	}
	for i, at := range r.seen {
		if at > 0 {
			p.Latencies = append(p.Latencies, at-r.due[i])
		}
	}
	slices.Sort(p.Latencies)
	return p
}
