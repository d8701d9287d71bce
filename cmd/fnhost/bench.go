package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/bench"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

func (a *app) benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure a role that is being served", ArgsUsage: "ROLE", Category: "messages",
		Description: `fnhost bench echo --messages 20000 --size 240
fnhost bench echo --messages 20000 --rate 2000

It publishes messages to the role's stream, waits for their results, and prints how many came a second, and how long
each took from publish to result. Without --rate all are published at once, and most of that time is waiting in the
stream; with it each is due at a fixed time, and one that is published late counts from when it was due.

The messages are real ones: the function runs for each, and whatever it does to other systems, it does. A stream with
entries is refused, since they may be work that waits. At the end the command takes away its messages, results, dead
letters and done marks; counts of minutes, the audit, emissions and the function's own state and cache stay.`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "messages", Aliases: []string{"n"}, Value: 10_000, Usage: "how many to publish"},
			&cli.IntFlag{Name: "size", Value: 240, Usage: "bytes of a message's data, a JSON string; at least 2"},
			&cli.StringFlag{Name: "data", Aliases: []string{"d"}, Usage: "in place of --size: JSON that the function understands, or @FILE, or - for standard input"},
			&cli.StringFlag{Name: "type", Aliases: []string{"t"}, Value: "fnhost.bench", Usage: "of the messages"},
			&cli.Float64Flag{Name: "rate", Usage: "messages a second; default: as fast as they can be published"},
			&cli.BoolFlag{Name: "force", Usage: "go on though the stream has entries; only our own are taken away"},
			&cli.DurationFlag{Name: "timeout", Value: 30 * time.Second, Usage: "give up when no result has come for so long"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "a role"); err != nil {
				return err
			}
			plan, err := a.benchPlan(c) // what is wrong with it does not need Redis
			if err != nil {
				return err
			}
			return a.withRedis(func(ctx context.Context, s *session) error { return s.bench(ctx, plan) })(c)
		},
	}
}

// benchPlan is the plan, but for the streams.
func (a *app) benchPlan(c *cli.Context) (bench.Plan, error) {
	p := bench.Plan{
		Type: c.String("type"), ContentType: "application/json",
		Messages: c.Int("messages"), Rate: c.Float64("rate"), Patience: c.Duration("timeout"),
	}
	size, hint := c.Int("size"), "see 'fnhost bench --help'"
	switch {
	case p.Messages < 1:
		return p, usage(hint, "--messages %d: there is nothing to measure", p.Messages)
	case p.Rate < 0:
		return p, usage(hint, "--rate %v: there is no such rate", p.Rate)
	case p.Patience <= 0:
		return p, usage(hint, "--timeout %s: no result can come in it", p.Patience)
	case c.IsSet("data") && c.IsSet("size"):
		return p, usage("give one of them", "--data has a size of its own, and --size is given too")
	case size < 2 || size > delivery.MaxDataBytes:
		return p, usage(hint, "--size %d: it may be 2 to %d bytes", size, delivery.MaxDataBytes)
	}
	if !c.IsSet("data") {
		p.Data = []byte(`"` + strings.Repeat("x", size-2) + `"`)
		return p, nil
	}
	data, err := a.data(c.String("data"))
	if err == nil {
		err = checkJSON(data)
	}
	if n := len(data); err == nil && n > delivery.MaxDataBytes {
		err = usage(hint, "the data has more than %d bytes", delivery.MaxDataBytes)
	}
	p.Data = data
	return p, err
}

func (s *session) bench(ctx context.Context, plan bench.Plan) error {
	sub, err := s.subscription(ctx, s.c.Args().First())
	if err != nil {
		return err
	}
	if sub.Results == "" {
		return usage("name another role; of this one 'fnhost check' tells how much waits", "stream %s has no results stream: nothing says when a message is done", sub.Stream)
	}
	if err := s.mayBench(ctx, sub); err != nil {
		return err
	}
	plan.Sub, plan.DLQ, err = s.resolved(sub)
	if err != nil {
		return err
	}
	s.note(s.c, "publishing %d messages of %d bytes to %s; results from %s", plan.Messages, len(plan.Data), sub.Stream, sub.Results)
	report, err := bench.Run(ctx, s.streams, plan)
	if report.Published > 0 {
		s.note(s.c, "%s", takenAway(sub, report.Removed))
	}
	if report.Answered() > 0 {
		if err := render.One(s.print, benchColumns, benched(plan, report)); err != nil {
			return err
		}
	}
	if errors.Is(err, bench.ErrNoAnswer) {
		return fail(exitTimeout, fmt.Sprintf("'fnhost check %s' says whether it is served; or wait longer with --timeout", sub.Role), "%w", err)
	}
	if err != nil {
		return err
	}
	return verdict(sub, report)
}

// resolved is the subscription as hosts have it, and where its dead letters go.
// A role that only a plugin brings is taken to be by the rule.
func (s *session) resolved(sub topology.Subscription) (topology.Subscription, string, error) {
	roles, err := s.withRoles([]string{sub.Role})
	if err != nil {
		return sub, "", err
	}
	role, _ := roles.Role(sub.Role) // withRoles put it there
	for _, known := range role.Subscriptions {
		if known.Stream == sub.Stream {
			return known, role.DLQ, nil
		}
	}
	return sub, role.DLQ, nil
}

// mayBench refuses a stream that has entries, and a role that nobody serves.
func (s *session) mayBench(ctx context.Context, sub topology.Subscription) error {
	n, err := s.streams.Len(ctx, sub.Stream)
	if err != nil {
		return err
	}
	if n > 0 && !s.c.Bool("force") {
		return fail(exitConflict, "measure on a stream of its own, as with another REDIS_NAMESPACE; or give --force, and take what else runs into account",
			"stream %s has %d entries, which may be work that waits", sub.Stream, n)
	}
	if !s.cfg.Heartbeat.Enabled {
		return nil
	}
	beats := s.streams.Commands().Scan(ctx, 0, s.streams.Keys().Heartbeats(sub.Role), 10_000).Iterator()
	if beats.Next(ctx) {
		return nil
	}
	if err := beats.Err(); err != nil {
		return fmt.Errorf("looking for hosts of role %s: %w", sub.Role, err)
	}
	return fail(exitConflict, fmt.Sprintf("start 'fnhost serve' with its plugin; 'fnhost check %s' says more. Hosts with OPS_HB_ENABLED=0 are not seen: set it here too", sub.Role),
		"no host serves role %s", sub.Role)
}

func takenAway(sub topology.Subscription, r bench.Removed) string {
	text := fmt.Sprintf("taken away again: %d messages, %d results, %d dead letters, %d done marks; what stays: the counts of these minutes, and the audit if the host keeps one",
		r.Messages, r.Results, r.DeadLetters, r.DoneMarks)
	if r.Left > 0 {
		text += fmt.Sprintf("\n%d messages of %s are still with a host: they, and their results in %s, stay", r.Left, sub.Stream, sub.Results)
	}
	return text
}

// verdict is an error if a message did not end well.
func verdict(sub topology.Subscription, r bench.Report) error {
	switch {
	case r.Duplicates > 0:
		return fail(exitFailed, "this must never happen: please report it, with the hosts' logs", "%d results came for messages that had one", r.Duplicates)
	case r.Errors+r.Dropped > 0:
		return fail(exitFailed, fmt.Sprintf("does the function take such messages? Give --type and --data that it understands; 'fnhost publish %s --wait' shows its answer", sub.Role),
			"of %d messages %d failed and %d were dropped", r.Published, r.Errors, r.Dropped)
	}
	return nil
}

// A benchmark is a report as it is printed. Times are in milliseconds.
type benchmark struct {
	Role       string  `json:"role"`
	Stream     string  `json:"stream"`
	Messages   int     `json:"messages"`
	Bytes      int     `json:"bytes"` // of the data of one
	Rate       float64 `json:"rate"`  // asked for; 0: none
	Seconds    float64 `json:"seconds"`
	Published  float64 `json:"published_per_second"`
	PerSecond  float64 `json:"results_per_second"`
	P50        float64 `json:"p50_ms"`
	P90        float64 `json:"p90_ms"`
	P99        float64 `json:"p99_ms"`
	P999       float64 `json:"p99.9_ms"`
	Max        float64 `json:"max_ms"`
	OK         int     `json:"ok"`
	Errors     int     `json:"errors"`
	Dropped    int     `json:"dropped"`
	Unanswered int     `json:"unanswered"`
	Duplicates int     `json:"duplicates"`

	Removed bench.Removed `json:"removed"`
}

func benched(plan bench.Plan, r bench.Report) benchmark {
	ms := func(q float64) float64 { return float64(r.Percentile(q).Microseconds()) / 1000 }
	return benchmark{
		Role: plan.Sub.Role, Stream: plan.Sub.Stream, Messages: r.Published, Bytes: len(plan.Data), Rate: plan.Rate,
		Seconds: r.Took.Seconds(), Published: r.PublishedPerSecond(), PerSecond: r.PerSecond(),
		P50: ms(0.5), P90: ms(0.9), P99: ms(0.99), P999: ms(0.999), Max: ms(1),
		OK: r.OK, Errors: r.Errors, Dropped: r.Dropped, Unanswered: r.Published - r.Answered(), Duplicates: r.Duplicates, Removed: r.Removed,
	}
}

var benchColumns = []render.Column[benchmark]{
	{Key: "role", Cell: func(b benchmark) string { return b.Role }},
	{Key: "messages", Cell: func(b benchmark) string { return strconv.Itoa(b.Messages) }, Right: true},
	{Key: "bytes", Cell: func(b benchmark) string { return strconv.Itoa(b.Bytes) }, Right: true},
	{Key: "seconds", Cell: func(b benchmark) string { return decimal(b.Seconds, 2) }, Right: true},
	{Key: "results_per_second", Cell: func(b benchmark) string { return decimal(b.PerSecond, 0) }, Right: true},
	{Key: "p50_ms", Cell: func(b benchmark) string { return decimal(b.P50, 2) }, Right: true},
	{Key: "p90_ms", Cell: func(b benchmark) string { return decimal(b.P90, 2) }, Right: true},
	{Key: "p99_ms", Cell: func(b benchmark) string { return decimal(b.P99, 2) }, Right: true},
	{Key: "p99.9_ms", Cell: func(b benchmark) string { return decimal(b.P999, 2) }, Right: true},
	{Key: "max_ms", Cell: func(b benchmark) string { return decimal(b.Max, 1) }, Right: true},
	{Key: "ok", Cell: func(b benchmark) string { return strconv.Itoa(b.OK) }, Right: true},
	{Key: "errors", Cell: func(b benchmark) string { return strconv.Itoa(b.Errors) }, Right: true},
	{Key: "unanswered", Cell: func(b benchmark) string { return strconv.Itoa(b.Unanswered) }, Right: true},
}

func decimal(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
