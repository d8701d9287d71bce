// Package render prints data, as a table for people or as JSON for programs. All
// commands print through it, so that JSON always has what the table has.
package render

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Format is how data is printed.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
)

// ParseFormat gives the format of that name.
func ParseFormat(name string) (Format, error) {
	switch f := Format(strings.ToLower(name)); f {
	case Table, JSON:
		return f, nil
	case "":
		return Table, nil
	}
	return "", fmt.Errorf("output format %q is not known; give table or json", name)
}

// A Column is one column of a table of T. Key is the column's name in JSON, and
// in capitals its heading.
type Column[T any] struct {
	Key  string
	Cell func(T) string
	// Width cuts longer cells, in characters; 0: no limit.
	Width int
	// Wrap breaks cells at Width in place of cutting them.
	Wrap bool
	// Right aligns numbers.
	Right bool
	// Under prints the cell on a line of its own, below its row; nothing if it is
	// empty.
	Under bool
}

// A Printer prints to Out.
type Printer struct {
	Out    io.Writer
	Format Format
	Color  bool
	Ruled  bool // with lines between the rows of a table
}

// List prints items: a table, or `{"items":[...]}`. empty is said, as a row of
// its own, in place of a table without rows.
func List[T any](p *Printer, columns []Column[T], items []T, empty string) error {
	if p.Format == JSON {
		if items == nil {
			items = []T{}
		}
		return p.json(struct {
			Items []T `json:"items"`
		}{items}, "  ")
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(p.Out, empty)
		return err
	}
	return rows(p, columns, items)
}

// Page prints a part of a longer list: a table as List does, or as JSON page,
// which has the items under `items` and says what part they are.
func Page[T any](p *Printer, columns []Column[T], items []T, empty string, page any) error {
	if p.Format == JSON {
		return p.json(page, "  ")
	}
	return List(p, columns, items, empty)
}

func rows[T any](p *Printer, columns []Column[T], items []T) error {
	columns, under := split(columns)
	w := p.writer()
	head, configs := make(table.Row, len(columns)), make([]table.ColumnConfig, len(columns))
	for i, c := range columns {
		head[i] = strings.ToUpper(c.Key)
		configs[i] = config(i+1, c)
	}
	w.AppendHeader(head)
	w.SetColumnConfigs(configs)
	for _, item := range items {
		w.AppendRow(row(columns, item))
	}
	lines := strings.Split(w.Render(), "\n")
	for i, line := range lines {
		if _, err := fmt.Fprintln(p.Out, line); err != nil {
			return err
		}
		if item := i - len(lines) + len(items); len(under) > 0 && item >= 0 {
			if err := below(p, under, items[item]); err != nil {
				return err
			}
		}
	}
	return nil
}

// split parts the columns in a row from those below it.
func split[T any](columns []Column[T]) (in, under []Column[T]) {
	for _, c := range columns {
		if c.Under {
			under = append(under, c)
		} else {
			in = append(in, c)
		}
	}
	return in, under
}

// below prints what is below an item's row.
func below[T any](p *Printer, under []Column[T], item T) error {
	for _, c := range under {
		cell := cut(Printable(c.Cell(item)), c.Width)
		if cell == "" {
			continue
		}
		if _, err := fmt.Fprintln(p.Out, "  "+p.Faint(cell)); err != nil {
			return err
		}
	}
	return nil
}

// Faint is text that matters less, where there are colours.
func (p *Printer) Faint(s string) string {
	if p.Color {
		return text.Faint.Sprint(s)
	}
	return s
}

// Bold is a heading, where there are colours.
func (p *Printer) Bold(s string) string {
	if p.Color {
		return text.Bold.Sprint(s)
	}
	return s
}

// One prints one item: a line for each column, or a JSON object.
func One[T any](p *Printer, columns []Column[T], item T) error {
	if p.Format == JSON {
		return p.json(item, "  ")
	}
	w := p.writer()
	for _, c := range columns {
		w.AppendRow(table.Row{c.Key, Printable(c.Cell(item))})
	}
	_, err := fmt.Fprintln(p.Out, w.Render())
	return err
}

// Line prints one item of a list that has no end: its columns on one line, or
// one JSON object on one line.
func Line[T any](p *Printer, columns []Column[T], item T) error {
	if p.Format == JSON {
		return p.json(item, "")
	}
	var line strings.Builder
	for i, c := range columns {
		cell := cut(Printable(c.Cell(item)), c.Width)
		if i < len(columns)-1 {
			cell = text.Pad(cell, c.Width, ' ') + "  "
		}
		line.WriteString(cell)
	}
	_, err := fmt.Fprintln(p.Out, strings.TrimRight(line.String(), " "))
	return err
}

func (p *Printer) json(v any, indent string) error {
	e := json.NewEncoder(p.Out)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	return e.Encode(v)
}

func (p *Printer) writer() table.Writer {
	w := table.NewWriter()
	style := table.StyleLight
	style.Options.DrawBorder = false
	style.Options.SeparateColumns = false
	style.Options.SeparateRows = p.Ruled
	style.Box.PaddingLeft = ""
	style.Box.PaddingRight = "  "
	style.Format.Header = text.FormatDefault
	if p.Color {
		style.Color.Header = text.Colors{text.Bold}
	}
	w.SetStyle(style)
	w.SuppressTrailingSpaces()
	return w
}

func config[T any](number int, c Column[T]) table.ColumnConfig {
	conf := table.ColumnConfig{Number: number, WidthMax: c.Width}
	conf.WidthMaxEnforcer = cut
	if c.Wrap {
		conf.WidthMaxEnforcer = text.WrapSoft
	}
	if c.Right {
		conf.Align, conf.AlignHeader = text.AlignRight, text.AlignRight
	}
	return conf
}

func row[T any](columns []Column[T], item T) table.Row {
	cells := make(table.Row, len(columns))
	for i, c := range columns {
		cells[i] = Printable(c.Cell(item))
	}
	return cells
}

// cut shortens s to width characters, the last one being an ellipsis.
func cut(s string, width int) string {
	if width <= 0 {
		return s
	}
	return text.Snip(s, width, "…")
}

// Printable makes text of a stranger safe for a terminal: control characters
// become spaces, and what is not UTF-8 becomes the replacement character.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
