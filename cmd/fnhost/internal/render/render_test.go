package render_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
)

type fruit struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
	Note  string `json:"note"`
}

var columns = []render.Column[fruit]{
	{Key: "name", Cell: func(f fruit) string { return f.Name }, Width: 8},
	{Key: "count", Cell: func(f fruit) string { return strconv.Itoa(f.Count) }, Right: true},
}

func TestList(t *testing.T) {
	t.Parallel()
	items := []fruit{{"apple", 12, "red"}, {"a very long name", 3, ""}}
	var out bytes.Buffer
	if err := render.List(&render.Printer{Out: &out, Format: render.Table}, columns, items, "none"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NAME", "COUNT", "apple", "12", "a very …"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, out.String())
		}
	}
	out.Reset()
	if err := render.List(&render.Printer{Out: &out, Format: render.JSON}, columns, items, "none"); err != nil {
		t.Fatal(err)
	}
	var got struct{ Items []fruit }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got.Items) != 2 || got.Items[1].Name != "a very long name" {
		t.Errorf("got %v, %v: JSON must have the uncut items", got, err)
	}
}

func TestWrappedRowsAreRuled(t *testing.T) {
	t.Parallel()
	wrapped := []render.Column[fruit]{{Key: "note", Cell: func(f fruit) string { return f.Note }, Width: 10, Wrap: true}}
	items := []fruit{{Note: "red and very sweet"}, {Note: "green"}}
	var out bytes.Buffer
	if err := render.List(&render.Printer{Out: &out, Format: render.Table, Ruled: true}, wrapped, items, ""); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(out.String()); len(got) != 8 || got[2] != "red" || got[6][:3] != "─" || got[7] != "green" {
		t.Errorf("got %q", got)
	}
}

func TestEmptyList(t *testing.T) {
	t.Parallel()
	var tab, js bytes.Buffer
	if err := render.List(&render.Printer{Out: &tab, Format: render.Table}, columns, nil, "no fruit"); err != nil {
		t.Fatal(err)
	}
	if err := render.List(&render.Printer{Out: &js, Format: render.JSON}, columns, nil, "no fruit"); err != nil {
		t.Fatal(err)
	}
	if tab.String() != "no fruit\n" {
		t.Errorf("table: got %q", tab.String())
	}
	if got := strings.Join(strings.Fields(js.String()), ""); got != `{"items":[]}` {
		t.Errorf("json: got %q, want an empty list and not null", got)
	}
}

func TestLinesOfAnEndlessList(t *testing.T) {
	t.Parallel()
	var tab, js bytes.Buffer
	for _, f := range []fruit{{"fig", 1, ""}, {"banana", 2, ""}} {
		if err := render.Line(&render.Printer{Out: &tab, Format: render.Table}, columns, f); err != nil {
			t.Fatal(err)
		}
		if err := render.Line(&render.Printer{Out: &js, Format: render.JSON}, columns, f); err != nil {
			t.Fatal(err)
		}
	}
	if want := "fig       1\nbanana    2\n"; tab.String() != want {
		t.Errorf("got %q, want %q", tab.String(), want)
	}
	for line := range strings.Lines(js.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%q is not JSON of its own", line)
		}
	}
}

func TestTextOfAStrangerCannotDriveTheTerminal(t *testing.T) {
	t.Parallel()
	if got := render.Printable("a\x1b[2Jb\nc\u009bd\xff"); got != "a [2Jb c d\uFFFD" {
		t.Errorf("got %q", got)
	}
}

func TestParseFormat(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]render.Format{"": render.Table, "table": render.Table, "JSON": render.JSON} {
		if got, err := render.ParseFormat(in); err != nil || got != want {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
	if _, err := render.ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), "table or json") {
		t.Errorf("got %v, want an error that names the formats", err)
	}
}

func TestCellsUnderTheirRow(t *testing.T) {
	t.Parallel()
	noted := []render.Column[fruit]{
		{Key: "note", Cell: func(f fruit) string { return f.Note }, Width: 6, Under: true},
		{Key: "name", Cell: func(f fruit) string { return f.Name }},
		{Key: "count", Cell: func(f fruit) string { return strconv.Itoa(f.Count) }, Right: true},
	}
	items := []fruit{{"apple", 12, "red and\nsweet"}, {"pear", 3, ""}, {"fig", 4, "\x1b[1m"}}
	var out bytes.Buffer
	if err := render.List(&render.Printer{Out: &out, Format: render.Table}, noted, items, "none"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	want := []string{"NAME   COUNT", "", "apple     12", "  red a…", "pear       3", "fig        4", "   [1m"}
	if len(lines) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), out.String())
	}
	for i, line := range want {
		if i != 1 && lines[i] != line {
			t.Errorf("line %d is %q, want %q", i, lines[i], line)
		}
	}
}

func TestPageIsItsOwnJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	page := map[string]any{"items": []fruit{}, "next_cursor": "x"}
	if err := render.Page(&render.Printer{Out: &out, Format: render.JSON}, columns, nil, "none", page); err != nil || !strings.Contains(out.String(), `"next_cursor": "x"`) {
		t.Errorf("%s, %v", out.String(), err)
	}
}
