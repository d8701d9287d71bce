package main

import (
	"cmp"
	"context"
	"errors"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/deadletter"
)

func (a *app) dlqRequeueCommand() *cli.Command {
	return &cli.Command{
		Name: "requeue", Aliases: []string{"redrive"}, Usage: "run messages again, as if they had just come", ArgsUsage: "ROLE|STREAM [ID...]",
		Description: "Each message is added to the stream that it came from and removed here in one step, the oldest first. It may be\n" +
			"interrupted at any time: the same command again goes on with the rest. The message runs with all its attempts.",
		Flags: changeFlags(
			&cli.StringFlag{Name: "to", Usage: "put them on this stream, or that of this role, not on the one that they came from"},
			&cli.StringFlag{Name: "rate", Usage: "at most so many a second: 50, 50/s or 600/m"},
			allRolesFlag()),
		Action: a.dlqAction(anyNumber, dlqRequeue),
	}
}

const (
	shownRows = 20   // rows of single letters for people
	keptRows  = 1000 // and in JSON
)

func dlqRequeue(ctx context.Context, d *dead) error {
	if err := d.selected(); err != nil {
		return err
	}
	options := deadletter.Options{DryRun: d.c.Bool("dry-run")}
	if to := d.c.String("to"); to != "" {
		sub, err := d.subscription(ctx, to)
		if err != nil {
			return err
		}
		options.To = sub.Stream
	}
	var err error
	if options.Pace, err = d.pace(); err != nil {
		return err
	}
	w := &change{dead: d, verb: "requeue", asks: 2}
	if err := w.plan(ctx, options); err != nil {
		return err
	}
	if err := w.confirm(ctx); err != nil {
		return err
	}
	report := requeueReport{Items: []requeue{}, Targets: []target{}, Matched: w.total, DryRun: options.DryRun}
	if err := w.requeue(ctx, options, &report); err != nil {
		return w.ended(ctx, report.Requeued, err)
	}
	return w.printRequeue(&report)
}

// requeue does it, and reports each letter.
func (w *change) requeue(ctx context.Context, options deadletter.Options, report *requeueReport) (err error) {
	set, stop := w.progress("requeueing")
	defer stop()
	for i, q := range w.queues {
		options.Audit = w.audit(q)
		options.Done = func(r deadletter.Result) {
			report.add(q, r)
			set(report.Requeued + report.Failed)
		}
		switch {
		case len(w.ids) > 0:
			_, err = w.letters.Requeue(ctx, q.name, w.ids, options)
		case i < len(w.plans) && w.plans[i].Letters > 0:
			err = w.letters.RequeueAll(ctx, q.name, w.part(i), options)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printRequeue prints the letters if they are few, or else their targets.
func (w *change) printRequeue(r *requeueReport) error {
	var err error
	if w.print.Format != render.JSON && r.Matched > shownRows {
		err = render.List(w.print, targetColumns, r.Targets, "")
	} else {
		err = render.Page(w.print, requeueColumns, r.Items, w.none(), r)
	}
	if err != nil {
		return err
	}
	if r.DryRun && r.Matched > 0 {
		w.note(w.c, "nothing was changed: this would requeue %s of %s", countLetters(r.Matched-r.Failed), w.where())
	} else if r.Matched > 1 {
		w.note(w.c, "%s of %s", w.past(r.Requeued), countLetters(r.Matched))
	}
	if r.denied > 0 && r.denied == r.Matched {
		return notAllowed(errors.New(r.Items[0].Error))
	}
	return partly("requeued", r.Matched, r.Failed, r.gone)
}

// A requeueReport is what a requeue did, or with DryRun would do.
type requeueReport struct {
	Items     []requeue `json:"items"` // of many the first
	Truncated bool      `json:"truncated"`
	Matched   int       `json:"matched"`
	Requeued  int       `json:"requeued"`
	Failed    int       `json:"failed"`
	DryRun    bool      `json:"dry_run"`
	Targets   []target  `json:"targets"`

	gone, denied int // of those that failed
}

func (r *requeueReport) add(q queue, result deadletter.Result) {
	row := requeue{Queue: q.name, ID: result.ID, To: result.To, New: result.New}
	t := r.target(q, result.To)
	t.Letters++
	switch {
	case result.Err != nil:
		row.Error = result.Err.Error()
		t.Failed, t.Error = t.Failed+1, row.Error
		r.Failed++
		switch {
		case errors.Is(result.Err, deadletter.ErrGone):
			r.gone++
		case errors.Is(result.Err, deadletter.ErrNotAllowed):
			r.denied++
		}
	case !r.DryRun:
		r.Requeued++
	}
	if len(r.Items) < keptRows {
		r.Items = append(r.Items, row)
	} else {
		r.Truncated = true
	}
}

func (r *requeueReport) target(q queue, to string) *target {
	for i := range r.Targets {
		if r.Targets[i].Queue == q.name && r.Targets[i].To == to {
			return &r.Targets[i]
		}
	}
	r.Targets = append(r.Targets, target{Queue: q.name, To: to})
	return &r.Targets[len(r.Targets)-1]
}

// A target is what became of the letters of one queue that go to one stream.
type target struct {
	Queue   string `json:"queue"`
	To      string `json:"to"` // empty: the letters do not say where they came from
	Letters int    `json:"letters"`
	Failed  int    `json:"failed"`
	Error   string `json:"error"` // the last one
}

var targetColumns = []render.Column[target]{
	{Key: "queue", Cell: func(t target) string { return t.Queue }, Width: 24},
	{Key: "to", Cell: func(t target) string { return cmp.Or(t.To, "not known") }, Width: 24},
	{Key: "letters", Cell: func(t target) string { return thousands(t.Letters) }, Right: true},
	{Key: "failed", Cell: func(t target) string { return thousands(t.Failed) }, Right: true},
	{Key: "error", Cell: func(t target) string { return t.Error }, Width: 2 * wide, Under: true},
}

// A requeue is what became of one letter.
type requeue struct {
	Queue string `json:"queue"`
	ID    string `json:"id"`
	To    string `json:"to"`
	New   string `json:"new"` // id of the message's new entry
	Error string `json:"error"`
}

var requeueColumns = []render.Column[requeue]{
	{Key: "id", Cell: func(r requeue) string { return r.ID }},
	{Key: "to", Cell: func(r requeue) string { return cmp.Or(r.To, "not known") }, Width: 30},
	{Key: "new", Cell: func(r requeue) string { return dashed(r.New) }},
	{Key: "error", Cell: func(r requeue) string { return r.Error }, Width: 2 * wide, Under: true},
}

func (a *app) dlqDiscardCommand() *cli.Command {
	return &cli.Command{
		Name: "discard", Usage: "remove dead letters for good", ArgsUsage: "ROLE|STREAM [ID...]",
		Description: "It always asks, or needs --yes. 'fnhost dlq export' keeps them in a file first.",
		Flags:       changeFlags(), Action: a.dlqAction(anyNumber, dlqDiscard),
	}
}

func dlqDiscard(ctx context.Context, d *dead) error {
	if err := d.selected(); err != nil {
		return err
	}
	w := &change{dead: d, verb: "discard", asks: 1}
	if err := w.plan(ctx, deadletter.Options{}); err != nil {
		return err
	}
	if err := w.confirm(ctx); err != nil {
		return err
	}
	result := discarded{Stream: d.queues[0].name, Chosen: w.total, DryRun: d.c.Bool("dry-run")}
	if !result.DryRun {
		if err := w.discard(ctx, &result.Discarded); err != nil {
			return w.ended(ctx, result.Discarded, err)
		}
	}
	if err := render.One(d.print, discardedColumns, result); err != nil {
		return err
	}
	if missing := w.total - result.Discarded; !result.DryRun && missing > 0 {
		return partly("discarded", w.total, missing, missing)
	}
	return nil
}

func (w *change) discard(ctx context.Context, removed *int) (err error) {
	set, stop := w.progress("discarding")
	defer stop()
	q := w.queues[0]
	if len(w.ids) > 0 {
		*removed, err = w.letters.Discard(ctx, q.name, w.ids, w.audit(q))
		return err
	}
	if w.total == 0 {
		return nil
	}
	return w.letters.DiscardAll(ctx, q.name, w.part(0), w.audit(q), func(n int) {
		*removed = n
		set(n)
	})
}

// A discarded is what a discard did.
type discarded struct {
	Stream    string `json:"stream"`
	Chosen    int    `json:"chosen"`
	Discarded int    `json:"discarded"`
	DryRun    bool   `json:"dryrun"`
}

var discardedColumns = []render.Column[discarded]{
	{Key: "stream", Cell: func(d discarded) string { return d.Stream }},
	{Key: "chosen", Cell: func(d discarded) string { return strconv.Itoa(d.Chosen) }},
	{Key: "discarded", Cell: func(d discarded) string { return strconv.Itoa(d.Discarded) }},
}
