package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/deadletter"
	"github.com/fnhost/fnhost/host/delivery"
)

func (a *app) dlqShowCommand() *cli.Command {
	action := a.dlqAction(2, dlqShow)
	return &cli.Command{
		Name: "show", Aliases: []string{"inspect"}, Usage: "print everything about one dead letter", ArgsUsage: "ROLE|STREAM ID",
		Description: "--raw prints the message's data alone, byte for byte.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "raw", Usage: "only the data, exactly as it is"}},
		Action: func(c *cli.Context) error {
			if c.NArg() == 1 {
				return usage("'fnhost dlq list "+c.Args().First()+"' prints the ids", "which dead letter?")
			}
			return action(c)
		},
	}
}

// A whole is a letter with its message read: the data apart from the attributes.
type whole struct {
	letter
	// Data is JSON, or else a string; of bytes that are no text, DataBase64.
	Data       json.RawMessage `json:"data"`
	DataBase64 []byte          `json:"data_base64,omitempty"`
}

func dlqShow(ctx context.Context, d *dead) error {
	q, id := d.queues[0], d.ids[0]
	l, there, err := d.letters.Get(ctx, q.name, id)
	if err != nil {
		return err
	}
	if !there {
		return fail(exitNotFound, fmt.Sprintf("'fnhost dlq list %s' prints the ids", d.arg()), "there is no dead letter %s in %s: it was requeued or discarded before, or trimmed", id, q.name)
	}
	m := delivery.Read(&delivery.Entry{ID: l.EntryID, Fields: l.Fields})
	switch {
	case d.c.Bool("raw"):
		_, err := d.stdout.Write([]byte(m.Data))
		return err
	case d.print.Format == render.JSON:
		w := whole{letter: shown(q, l)}
		if m.HasData {
			w.Data, w.DataBase64 = jsonOf(m.Data)
		}
		return render.Page(d.print, letterColumns, nil, "", w)
	}
	_, err = d.stdout.Write(d.sheet(q, l, m))
	return err
}

// sheet is all of a letter for people.
func (d *dead) sheet(q queue, l deadletter.Letter, m delivery.Message) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", d.print.Bold(fmt.Sprintf("dead letter %s of %s", l.ID, q.name)))
	lines(&b, []string{
		"reason", reasonLine(l), "error", l.Error, "error type", l.ErrorType, "group", l.Fingerprint,
		"died", stamp(l.Time) + ", " + ago(l.Time), "origin", originLine(l), "plugin", pluginLine(l.Plugin), "requeued", requeuedLine(l),
	})
	if len(m.Attributes) > 0 {
		fmt.Fprintf(&b, "\n%s\n", d.print.Bold("attributes"))
		lines(&b, m.Attributes)
	}
	if m.HasData {
		fmt.Fprintf(&b, "\n%s %s\n", d.print.Bold("data"), d.print.Faint(count(len(m.Data), "byte", "bytes")))
		b.WriteString(indented(dataText(m.Data)))
	}
	if l.Stderr != "" {
		fmt.Fprintf(&b, "\n%s %s\n", d.print.Bold("detail"), d.print.Faint("a stack, or the last output of the plugin"))
		b.WriteString(indented(l.Stderr))
	}
	fmt.Fprintf(&b, "\n%s\n", d.print.Faint(fmt.Sprintf("again: fnhost dlq requeue %s %s", d.arg(), l.ID)))
	return b.Bytes()
}

func reasonLine(l deadletter.Letter) string {
	if l.Attempts == 0 {
		return l.Reason
	}
	return strings.TrimPrefix(l.Reason+", after ", ", ") + count(l.Attempts, "attempt", "attempts")
}

func originLine(l deadletter.Letter) string {
	if l.Stream == "" || l.EntryID == "" {
		return cmp.Or(l.Stream, "not known: another program wrote this")
	}
	return fmt.Sprintf("%s, entry %s of %s", l.Stream, l.EntryID, stamp(delivery.IDTime(l.EntryID)))
}

func pluginLine(plugin string) string {
	parts := strings.Fields(plugin)
	if n := len(parts); n > 0 && len(parts[n-1]) == 64 {
		parts[n-1] = "sha256 " + parts[n-1][:12]
	}
	return strings.Join(parts, " ")
}

func requeuedLine(l deadletter.Letter) string {
	if l.Requeues == 0 {
		return ""
	}
	return count(l.Requeues, "time", "times") + " before, last from " + l.From
}

// lines prints names and values in turn, one a line, aligned; not the empty ones.
func lines(b *bytes.Buffer, pairs []string) {
	width := 10
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, min(24, utf8.RuneCountInString(pairs[i])))
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, value := render.Printable(pairs[i]), pairs[i+1]
		if value == "" {
			continue
		}
		if !utf8.ValidString(value) {
			value = strconv.QuoteToASCII(value)
		}
		fmt.Fprintf(b, "  %-*s  %s\n", width, name, render.Printable(value))
	}
}

const (
	mostText  = 64 << 10 // of data shown to people
	mostBytes = 4 << 10
)

// dataText is data for people: JSON indented, text as it is, bytes as a dump.
func dataText(data string) string {
	var pretty bytes.Buffer
	switch {
	case json.Valid([]byte(data)):
		if json.Indent(&pretty, []byte(data), "", "  ") == nil {
			data = pretty.String()
		}
	case !utf8.ValidString(data):
		return shortened(hex.Dump([]byte(data[:min(len(data), mostBytes)])), len(data)-mostBytes)
	}
	if len(data) <= mostText {
		return data
	}
	return shortened(data[:mostText], len(data)-mostText)
}

func shortened(text string, more int) string {
	if more <= 0 {
		return text
	}
	return strings.TrimRight(text, "\n") + "\n... " + count(more, "byte", "bytes") + " more: see --raw"
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		b.WriteString(strings.TrimRight("  "+render.Printable(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    ")), " ") + "\n")
	}
	return b.String()
}
