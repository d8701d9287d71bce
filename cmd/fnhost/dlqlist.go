package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/deadletter"
	"github.com/fnhost/fnhost/host/delivery"
)

func (a *app) dlqListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "print dead letters, the newest first", ArgsUsage: "ROLE|STREAM",
		Description: "Filters: a letter must match all that are given. -o json has every field, and next_cursor for the next page.",
		Flags: filterFlags(
			&cli.IntFlag{Name: "limit", Aliases: []string{"n"}, Value: deadletter.DefaultLimit, Usage: "at most so many"},
			&cli.StringFlag{Name: "cursor", Usage: "go on from there: next_cursor of the page before"},
			&cli.IntFlag{Name: "scan", Usage: "look at no more than so many entries; 0: all that are needed"},
			&cli.BoolFlag{Name: "oldest", Usage: "the oldest first"},
			allRolesFlag()),
		Action: a.dlqAction(1, dlqList),
	}
}

func (a *app) dlqGroupCommand() *cli.Command {
	return &cli.Command{
		Name: "group", Usage: "count dead letters by the kind of their error", ArgsUsage: "ROLE|STREAM",
		Description: "Of one kind are errors of the same reason and type whose texts differ only in numbers, ids, times and quoted parts.\n" +
			"EXAMPLE is the newest letter: see 'fnhost dlq show'.",
		Flags: filterFlags(allRolesFlag()), Action: a.dlqAction(1, dlqGroup),
	}
}

// letterPage is a part of the letters, as JSON.
type letterPage struct {
	Items     []letter `json:"items"`
	Next      string   `json:"next_cursor"` // empty: there are no more
	Scanned   int      `json:"scanned"`     // entries looked at
	Truncated bool     `json:"truncated"`   // whether there may be more
}

func dlqList(ctx context.Context, d *dead) error {
	d.filter.Limit, d.filter.Scan, d.filter.OldestFirst = d.c.Int("limit"), d.c.Int("scan"), d.c.Bool("oldest")
	if d.filter.Limit < 1 || d.filter.Scan < 0 {
		return usage("give -n 1 or more, and --scan 0 or more", "-n %d --scan %d: there is no such number of dead letters", d.filter.Limit, d.filter.Scan)
	}
	if err := d.begin(d.c.String("cursor")); err != nil {
		return err
	}
	page, window := letterPage{Items: []letter{}}, ""
	for i, q := range d.queues {
		part, err := d.letters.List(ctx, q.name, d.filter)
		if err != nil {
			return err
		}
		page.Scanned += part.Scanned
		for _, l := range part.Letters {
			page.Items = append(page.Items, shown(q, l))
		}
		d.filter.Cursor = ""
		if page.Next = d.next(i, part); page.Next != "" {
			window = fmt.Sprintf("from %s to %s", stamp(delivery.IDTime(part.First)), stamp(delivery.IDTime(part.Last)))
			break
		}
		d.filter.Limit -= len(part.Letters)
	}
	page.Truncated = page.Next != ""
	if err := d.printPage(page); err != nil || !page.Truncated {
		return err
	}
	d.note(d.c, "\n%s looked at, %s\nthere are more: --cursor %s, or a longer page with -n", count(page.Scanned, "entry", "entries"), window, page.Next)
	return nil
}

// begin starts at a cursor: an id, or with --all-roles the queue before it.
func (d *dead) begin(cursor string) error {
	if cursor == "" {
		return nil
	}
	name, id, both := strings.Cut(cursor, "/")
	if !both {
		name, id = d.queues[0].name, cursor
	}
	id, ok := parseID(id)
	for i, q := range d.queues {
		if ok && q.name == name {
			d.queues, d.filter.Cursor = d.queues[i:], id
			return nil
		}
	}
	return usage("give next_cursor of the page before, with the same role and filters", "--cursor %s is of no page of %s", cursor, d.where())
}

// next is the cursor after a page of the queue of that number.
func (d *dead) next(i int, part deadletter.Page) string {
	switch full := len(part.Letters) == d.filter.Limit; {
	case part.Next != "" && d.c.Bool("all-roles"):
		return d.queues[i].name + "/" + part.Next
	case part.Next != "":
		return part.Next
	case full && i+1 < len(d.queues): // the next queue from its beginning
		return d.queues[i+1].name + "/" + d.beginning()
	}
	return ""
}

// beginning is a cursor before the first id.
func (d *dead) beginning() string {
	if d.filter.OldestFirst {
		return "0-0"
	}
	return "18446744073709551615-18446744073709551615"
}

// arg is how the user named the queues.
func (d *dead) arg() string {
	if d.c.Bool("all-roles") {
		return "--all-roles"
	}
	return d.c.Args().First()
}

// printPage prints a page; of several queues with a table for each.
func (d *dead) printPage(page letterPage) error {
	none := d.none()
	if d.print.Format == render.JSON || !d.c.Bool("all-roles") || len(page.Items) == 0 {
		return render.Page(d.print, letterColumns, page.Items, none, page)
	}
	return sections(d.print, page.Items, func(l letter) string { return l.Queue }, letterColumns)
}

// none is said where there is nothing.
func (d *dead) none() string {
	if d.filtered() {
		return "no dead letters match in " + d.where()
	}
	return "no dead letters in " + d.where()
}

// filtered says whether a flag leaves out letters.
func (d *dead) filtered() bool {
	for _, name := range []string{"reason", "type", "error", "text", "stream", "group", "since", "until"} {
		if d.c.IsSet(name) {
			return true
		}
	}
	return false
}

// sections prints a table for each queue.
func sections[T any](p *render.Printer, items []T, queueOf func(T) string, columns []render.Column[T]) error {
	for begin, first := 0, true; begin < len(items); first = false {
		end := begin + 1
		for end < len(items) && queueOf(items[end]) == queueOf(items[begin]) {
			end++
		}
		if !first {
			fmt.Fprintln(p.Out)
		}
		fmt.Fprintln(p.Out, p.Bold(queueOf(items[begin])))
		if err := render.List(p, columns, items[begin:end], ""); err != nil {
			return err
		}
		begin = end
	}
	return nil
}

// groupPage is all groups, as JSON.
type groupPage struct {
	Items []letterGroup `json:"items"`
}

func dlqGroup(ctx context.Context, d *dead) error {
	page := groupPage{Items: []letterGroup{}}
	for _, q := range d.queues {
		groups, err := d.letters.Group(ctx, q.name, d.filter)
		if err != nil {
			return err
		}
		for _, g := range groups {
			page.Items = append(page.Items, letterGroup{
				q.name, g.Fingerprint, g.Count, g.First.UTC(), g.Last.UTC(), g.Reason, errorLine(g.Sample), g.Sample.ID, shown(q, g.Sample),
			})
		}
	}
	if d.print.Format == render.JSON || !d.c.Bool("all-roles") || len(page.Items) == 0 {
		return render.Page(d.print, groupColumns, page.Items, d.none(), page)
	}
	return sections(d.print, page.Items, func(g letterGroup) string { return g.Queue }, groupColumns)
}

// A death is what a dead letter says of it, in whatever form it is given.
type death struct {
	Queue       string    `json:"queue"`
	ID          string    `json:"id"`
	Time        time.Time `json:"time"`
	Reason      string    `json:"reason"`
	Error       string    `json:"error"`
	ErrorType   string    `json:"errortype"`
	Fingerprint string    `json:"group"`
	Stream      string    `json:"stream"`
	EntryID     string    `json:"entryid"`
	Attempts    int       `json:"attempts"`
}

func deathOf(q queue, l deadletter.Letter) death {
	return death{q.name, l.ID, l.Time.UTC(), l.Reason, l.Error, l.ErrorType, l.Fingerprint, l.Stream, l.EntryID, l.Attempts}
}

// A letter is a dead letter as it is shown: a deadletter.Letter without omissions.
type letter struct {
	death
	Plugin    string `json:"plugin"`
	Stderr    string `json:"stderr"`
	MessageID string `json:"message"`
	Type      string `json:"type"`
	From      string `json:"requeuedfrom"`
	Requeues  int    `json:"requeues"`
	// Fields are the message's names and values in turn. If one is no UTF-8, they
	// are in FieldsBase64.
	Fields       []string `json:"fields"`
	FieldsBase64 [][]byte `json:"fields_base64,omitempty"`
}

// shown is a letter of a queue as it is shown.
func shown(q queue, l deadletter.Letter) letter {
	fields, bytes := textOrBytes(l.Fields)
	return letter{
		deathOf(q, l), l.Plugin, l.Stderr, l.MessageID, l.Type, l.From, l.Requeues, fields, bytes,
	}
}

// textOrBytes gives the fields as text, or if JSON could not have them so, as bytes.
func textOrBytes(fields []string) ([]string, [][]byte) {
	bytes := make([][]byte, len(fields))
	text := true
	for i, f := range fields {
		bytes[i], text = []byte(f), text && utf8.ValidString(f)
	}
	if text {
		return append([]string{}, fields...), nil
	}
	return []string{}, bytes
}

// wide is the room of a line below a row, on a terminal of 80 columns.
const wide = 78

// errorLine is an error with its type, if that says something.
func errorLine(l deadletter.Letter) string {
	switch l.ErrorType {
	case "", "error", "*errors.errorString", "*fmt.wrapError":
		return l.Error
	}
	if l.Error == "" || strings.HasPrefix(l.Error, l.ErrorType) {
		return l.Error
	}
	return l.ErrorType + ": " + l.Error
}

var letterColumns = []render.Column[letter]{
	{Key: "id", Cell: func(l letter) string { return l.ID }},
	{Key: "time", Cell: func(l letter) string { return ago(l.Time) }},
	{Key: "reason", Cell: func(l letter) string { return dashed(l.Reason) }, Width: 10},
	{Key: "attempts", Cell: func(l letter) string { return strconv.Itoa(l.Attempts) }, Right: true},
	{Key: "group", Cell: func(l letter) string { return dashed(l.Fingerprint) }},
	{Key: "type", Cell: func(l letter) string { return dashed(l.Type) }, Width: 14},
	{Key: "error", Cell: func(l letter) string {
		return errorLine(deadletter.Letter{Error: l.Error, ErrorType: l.ErrorType})
	}, Width: wide, Under: true},
}

// dashed is text, or a dash where there is none.
func dashed(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// A letterGroup is the dead letters of one kind of error.
type letterGroup struct {
	Queue       string    `json:"queue"`
	Fingerprint string    `json:"group"`
	Count       int       `json:"count"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Reason      string    `json:"reason"`
	Error       string    `json:"error"`   // of the newest
	Example     string    `json:"example"` // the newest
	Sample      letter    `json:"sample"`  // the newest, without its fields
}

var groupColumns = []render.Column[letterGroup]{
	{Key: "count", Cell: func(g letterGroup) string { return thousands(g.Count) }, Right: true},
	{Key: "group", Cell: func(g letterGroup) string { return dashed(g.Fingerprint) }},
	{Key: "reason", Cell: func(g letterGroup) string { return dashed(g.Reason) }, Width: 10},
	{Key: "first", Cell: func(g letterGroup) string { return ago(g.First) }},
	{Key: "last", Cell: func(g letterGroup) string { return ago(g.Last) }},
	{Key: "example", Cell: func(g letterGroup) string { return g.Example }},
	{Key: "error", Cell: func(g letterGroup) string { return g.Error }, Width: wide, Under: true},
}
