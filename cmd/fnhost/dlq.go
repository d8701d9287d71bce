package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/deadletter"
)

// manyLetters is how many a command changes without being asked whether it should.
const manyLetters = 100

func (a *app) dlqCommand() *cli.Command {
	return &cli.Command{
		Name: "dlq", Usage: "dead letters", Category: "operation",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "print dead letters, the newest first", ArgsUsage: "ROLE|STREAM",
				Flags: append(filterFlags(),
					&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Value: deadletter.DefaultLimit, Usage: "at most so many"}),
				Action: a.dlqAction(dlqList),
			},
			{
				Name: "group", Usage: "count dead letters by the kind of their error", ArgsUsage: "ROLE|STREAM",
				Flags: filterFlags(), Action: a.dlqAction(dlqGroup),
			},
			{
				Name: "requeue", Aliases: []string{"redrive"}, Usage: "run messages again, as if they had just come", ArgsUsage: "ROLE|STREAM [ID...]",
				Flags:  append(changeFlags(), &cli.StringFlag{Name: "to", Usage: "put them on this stream, not on the one that they came from"}),
				Action: a.dlqAction(dlqRequeue),
			},
			{
				Name: "discard", Usage: "remove dead letters for good", ArgsUsage: "ROLE|STREAM [ID...]",
				Flags: changeFlags(), Action: a.dlqAction(dlqDiscard),
			},
		},
	}
}

func filterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "reason", Usage: "permanent, exhausted, poison, expired or oversize"},
		&cli.StringFlag{Name: "type", Usage: "of the message"},
		&cli.DurationFlag{Name: "since", Usage: "dead no longer ago than this, as 2h"},
		&cli.StringFlag{Name: "text", Usage: "somewhere in the message or the error; any case"},
		&cli.StringFlag{Name: "group", Usage: "fingerprint of the error, as 'dlq group' prints it"},
	}
}

func changeFlags() []cli.Flag {
	return append(filterFlags(),
		&cli.BoolFlag{Name: "all", Usage: "all that the other flags leave"},
		&cli.BoolFlag{Name: "dry-run", Usage: "only say what would be done"},
		&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: fmt.Sprintf("do not ask; without a terminal it is needed for more than %d", manyLetters)})
}

// dead is the dead letters of one queue, and a command about them.
type dead struct {
	*session
	letters *deadletter.DeadLetters
	queue   string
	filter  deadletter.Filter
	ids     []string // as given
}

func (a *app) dlqAction(action func(context.Context, *dead) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		most := 1
		if c.Command.Name == "requeue" || c.Command.Name == "discard" {
			most = -1
		}
		if err := wantArgs(c, 1, most, "a role or a dead-letter stream"); err != nil {
			return err
		}
		return a.withRedis(func(ctx context.Context, s *session) error {
			queue, err := s.dlq(ctx, c.Args().First())
			if err != nil {
				return err
			}
			return action(ctx, &dead{
				session: s, queue: queue, filter: filterOf(c), ids: c.Args().Tail(),
				letters: deadletter.New(s.streams.Commands(), s.streams.Keys()),
			})
		})(c)
	}
}

func filterOf(c *cli.Context) deadletter.Filter {
	f := deadletter.Filter{Reason: c.String("reason"), Type: c.String("type"), Text: c.String("text"), Fingerprint: c.String("group")}
	if c.IsSet("since") {
		f.Since = time.Now().Add(-c.Duration("since"))
	}
	return f
}

func dlqList(ctx context.Context, d *dead) error {
	d.filter.Limit = d.c.Int("limit")
	page, err := d.letters.List(ctx, d.queue, d.filter)
	if err != nil {
		return err
	}
	if page.Next != "" {
		d.note(d.c, "there are more: see --limit, or 'fnhost dlq group %s'", d.c.Args().First())
	}
	return render.List(d.print, letterColumns, lettersOf(page.Letters), "no dead letters in "+d.queue)
}

func dlqGroup(ctx context.Context, d *dead) error {
	groups, err := d.letters.Group(ctx, d.queue, d.filter)
	if err != nil {
		return err
	}
	rows := make([]letterGroup, len(groups))
	for i, g := range groups {
		rows[i] = letterGroup{g.Fingerprint, g.Count, g.First, g.Last, g.Sample.Reason, g.Sample.Error, letter(g.Sample)}
	}
	return render.List(d.print, groupColumns, rows, "no dead letters in "+d.queue)
}

func dlqRequeue(ctx context.Context, d *dead) error {
	ids, err := d.chosen(ctx)
	if err != nil {
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
	if err := d.confirm(ctx, "requeue", ids); err != nil {
		return err
	}
	results, err := d.letters.Requeue(ctx, d.queue, ids, options)
	if err != nil {
		d.note(d.c, "%d of %d were requeued before the error", len(results), len(ids))
		return err
	}
	rows, failed, gone := requeues(results)
	if err := render.List(d.print, requeueColumns, rows, "nothing matches in "+d.queue); err != nil {
		return err
	}
	return partly("requeued", len(results), failed, gone)
}

// requeues gives the rows, and how many failed, and how many of those because
// the letter was not there.
func requeues(results []deadletter.Result) (rows []requeue, failed, gone int) {
	for _, r := range results {
		row := requeue{ID: r.ID, To: r.To, New: r.New}
		if r.Err != nil {
			row.Error = r.Err.Error()
			failed++
		}
		if errors.Is(r.Err, deadletter.ErrGone) {
			gone++
		}
		rows = append(rows, row)
	}
	return rows, failed, gone
}

// partly is the end of a command that failed for some of what it was to do.
func partly(done string, all, failed, gone int) error {
	switch {
	case failed == 0:
		return nil
	case gone == all:
		return fail(exitNotFound, "'fnhost dlq list' prints the ids", "none of the %d dead letters is there", all)
	case failed == all:
		return fail(exitFailed, "the error of each is in the output", "none of the %d dead letters could be %s", all, done)
	}
	return fail(exitPartly, "the error of each is in the output", "%d of %d dead letters could not be %s", failed, all, done)
}

func dlqDiscard(ctx context.Context, d *dead) error {
	ids, err := d.chosen(ctx)
	if err != nil {
		return err
	}
	if err := d.confirm(ctx, "discard", ids); err != nil {
		return err
	}
	result := discarded{Stream: d.queue, Chosen: len(ids), DryRun: d.c.Bool("dry-run")}
	if !result.DryRun {
		if result.Discarded, err = d.letters.Discard(ctx, d.queue, ids); err != nil {
			return err
		}
	}
	if err := render.One(d.print, discardedColumns, result); err != nil {
		return err
	}
	if missing := len(ids) - int(result.Discarded); !result.DryRun && missing > 0 {
		return partly("discarded", len(ids), missing, missing)
	}
	return nil
}

// chosen are the ids given, or those of all letters that the flags choose, the
// oldest first.
func (d *dead) chosen(ctx context.Context) ([]string, error) {
	filtered := d.filter != deadletter.Filter{}
	switch {
	case len(d.ids) > 0 && (filtered || d.c.Bool("all")):
		return nil, usage("give IDs, or flags that choose", "IDs and flags that choose exclude each other")
	case len(d.ids) > 0:
		return d.ids, nil
	case !filtered && !d.c.Bool("all"):
		return nil, usage("give IDs, or --group FINGERPRINT, or another filter, or --all", "which dead letters?")
	}
	var ids []string
	d.filter.OldestFirst, d.filter.Limit = true, manyLetters
	for {
		page, err := d.letters.List(ctx, d.queue, d.filter)
		if err != nil {
			return nil, err
		}
		for _, l := range page.Letters {
			ids = append(ids, l.ID)
		}
		if d.filter.Cursor = page.Next; page.Next == "" {
			return ids, nil
		}
	}
}

// confirm asks before many letters are changed.
func (d *dead) confirm(ctx context.Context, doing string, ids []string) error {
	if len(ids) <= manyLetters || d.c.Bool("yes") || d.c.Bool("dry-run") {
		return nil
	}
	if !d.stdinTTY {
		return fail(exitConfirm, "give --yes if that is meant; --dry-run shows what would be done", "this would %s %d dead letters of %s", doing, len(ids), d.queue)
	}
	fmt.Fprintf(d.stderr, "This will %s %d dead letters of %s, among them:\n", doing, len(ids), d.queue)
	for _, id := range ids[:3] {
		if l, ok, err := d.letters.Get(ctx, d.queue, id); err == nil && ok {
			fmt.Fprintf(d.stderr, "  %s  %s  %s\n", l.ID, l.Type, render.Printable(l.Error))
		}
	}
	fmt.Fprintf(d.stderr, "Type %s to go on: ", d.queue)
	answer, _ := bufio.NewReader(d.stdin).ReadString('\n') // no answer is none
	if strings.TrimSpace(answer) != d.queue {
		return fail(exitConfirm, "nothing was changed", "not confirmed")
	}
	return nil
}

// A letter is a dead letter as it is shown: a deadletter.Letter without omissions.
type letter struct {
	ID          string    `json:"id"`
	Time        time.Time `json:"time"`
	Reason      string    `json:"reason"`
	Error       string    `json:"error"`
	ErrorType   string    `json:"errortype"`
	Fingerprint string    `json:"group"`
	Stream      string    `json:"stream"`
	EntryID     string    `json:"entryid"`
	Attempts    int       `json:"attempts"`
	Plugin      string    `json:"plugin"`
	Stderr      string    `json:"stderr"`
	MessageID   string    `json:"message"`
	Type        string    `json:"type"`
	Fields      []string  `json:"fields"` // of the message, names and values in turn
}

func lettersOf(from []deadletter.Letter) []letter {
	rows := make([]letter, len(from))
	for i, l := range from {
		rows[i] = letter(l)
	}
	return rows
}

var letterColumns = []render.Column[letter]{
	{Key: "id", Cell: func(l letter) string { return l.ID }},
	{Key: "time", Cell: func(l letter) string { return stamp(l.Time) }},
	{Key: "reason", Cell: func(l letter) string { return l.Reason }},
	{Key: "type", Cell: func(l letter) string { return l.Type }, Width: 24},
	{Key: "attempts", Cell: func(l letter) string { return strconv.Itoa(l.Attempts) }, Right: true},
	{Key: "group", Cell: func(l letter) string { return l.Fingerprint }},
	{Key: "error", Cell: func(l letter) string { return l.Error }, Width: 80},
}

// stamp is a time for people.
func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// A letterGroup is the dead letters of one kind of error.
type letterGroup struct {
	Fingerprint string    `json:"group"`
	Count       int       `json:"count"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Reason      string    `json:"reason"` // of the newest
	Error       string    `json:"error"`  // of the newest
	Sample      letter    `json:"sample"` // the newest
}

var groupColumns = []render.Column[letterGroup]{
	{Key: "count", Cell: func(g letterGroup) string { return strconv.Itoa(g.Count) }, Right: true},
	{Key: "group", Cell: func(g letterGroup) string { return g.Fingerprint }},
	{Key: "first", Cell: func(g letterGroup) string { return stamp(g.First) }},
	{Key: "last", Cell: func(g letterGroup) string { return stamp(g.Last) }},
	{Key: "reason", Cell: func(g letterGroup) string { return g.Reason }},
	{Key: "error", Cell: func(g letterGroup) string { return g.Error }, Width: 80},
}

// A requeue is what became of one letter.
type requeue struct {
	ID    string `json:"id"`
	To    string `json:"to"`
	New   string `json:"new"` // id of the message's new entry
	Error string `json:"error"`
}

var requeueColumns = []render.Column[requeue]{
	{Key: "id", Cell: func(r requeue) string { return r.ID }},
	{Key: "to", Cell: func(r requeue) string { return r.To }},
	{Key: "new", Cell: func(r requeue) string { return r.New }},
	{Key: "error", Cell: func(r requeue) string { return r.Error }, Width: 80},
}

// A discarded is what a discard did.
type discarded struct {
	Stream    string `json:"stream"`
	Chosen    int    `json:"chosen"`
	Discarded int64  `json:"discarded"`
	DryRun    bool   `json:"dryrun"`
}

var discardedColumns = []render.Column[discarded]{
	{Key: "stream", Cell: func(d discarded) string { return d.Stream }},
	{Key: "chosen", Cell: func(d discarded) string { return strconv.Itoa(d.Chosen) }},
	{Key: "discarded", Cell: func(d discarded) string { return strconv.FormatInt(d.Discarded, 10) }},
}
