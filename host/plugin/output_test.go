package plugin

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestParseLine(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`plain text`: `INFO plain text []`,
		``:           `INFO  []`,
		`{"time":"2026-01-02T03:04:05Z","level":"WARN+1","msg":"slog","a":"b"}`: `WARN slog [a=b]`,
		`{"@level":"error","@message":"hclog","@timestamp":"x","@module":"m"}`:  `ERROR hclog [@module=m]`,
		`{"level":20,"time":1700000000000,"msg":"pino","pid":7}`:                `DEBUG pino [pid=7]`,
		`{"level":60,"msg":"pino fatal"}`:                                       `ERROR pino fatal []`,
		`{"event":"structlog","level":"critical","timestamp":"x"}`:              `ERROR structlog []`,
		`{"@message":1}`: `INFO 1 []`,
		`{"@message":{"a":1},"@level":[],"@timestamp":{}}`:              `INFO {"a":1} []`,
		`{"level":null,"msg":null}`:                                     `INFO  []`,
		`{"msg":"big","n":12345678901234567890,"o":{"x":[1]},"t":true}`: `INFO big [n=12345678901234567890 o={"x":[1]} t=true]`,
		`{"msg":"role","role":"other","generation":9}`:                  `INFO role [plugin.generation=9 plugin.role=other]`,
		`{"msg":"cut`:   `INFO {"msg":"cut []`,
		`[1,2]`:         `INFO [1,2] []`,
		"panic: oh":     `ERROR panic: oh []`,
		"bad \xff utf8": "INFO bad \uFFFD utf8 []",
	} {
		level, message, attrs := parseLine([]byte(line))
		var shown []string
		for _, a := range attrs {
			shown = append(shown, fmt.Sprintf("%s=%s", a.Key, showValue(a.Value.Any())))
		}
		if got := fmt.Sprintf("%s %s %v", strings.SplitN(level.String(), "+", 2)[0], message, shown); got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
}

func showValue(v any) string {
	if s, ok := v.(fmt.Stringer); ok {
		return s.String()
	}
	if b, ok := v.(bool); ok {
		return fmt.Sprint(b)
	}
	return fmt.Sprintf("%s", v)
}

func FuzzParseLine(f *testing.F) {
	f.Add(`{"@message":1,"level":{},"time":[]}`)
	f.Add(`{"level":1e999}`)
	log := slog.New(slog.NewJSONHandler(new(logged), nil))
	f.Fuzz(func(_ *testing.T, line string) {
		level, message, attrs := parseLine([]byte(line))
		log.LogAttrs(background, level, message, attrs...)
	})
}

func TestLines(t *testing.T) {
	t.Parallel()
	var got []string
	l := &lines{emit: func(line []byte) { got = append(got, string(line)) }}
	for _, part := range []string{"one\ntw", "o\r\n\nthr", "ee"} {
		_, _ = l.Write([]byte(part))
	}
	l.flush()
	if fmt.Sprintf("%q", got) != `["one" "two" "" "three"]` {
		t.Errorf("%q", got)
	}
	got = nil
	for range 3 {
		_, _ = l.Write([]byte(strings.Repeat("x", lineMax/2+1)))
	}
	_, _ = l.Write([]byte("\nnext\n"))
	if len(got) != 2 || len(got[0]) != lineMax+len(" [cut]") || got[1] != "next" {
		t.Errorf("%d lines, the first of %d bytes", len(got), len(got[0]))
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	o := newOutput(slog.New(slog.DiscardHandler), nil)
	if o.tail(3) != "" {
		t.Errorf("%q", o.tail(3))
	}
	o.keep([]byte("only"))
	if o.tail(3) != "only" {
		t.Errorf("%q", o.tail(3))
	}
	for i := range 100_000 {
		o.keep(fmt.Appendf(nil, "line %d", i))
	}
	if got := o.tail(2); got != "line 99998\nline 99999" {
		t.Errorf("%q", got)
	}
	if all := o.tail(1 << 30); len(all) > tailMax || len(all) < tailMax/2 {
		t.Errorf("%d bytes kept", len(all))
	}
	o.keep([]byte(strings.Repeat("y", lineMax)))
	if got := o.tail(1); len(got) > tailMax || !strings.HasPrefix(got, "yyy") {
		t.Errorf("%d bytes", len(got))
	}
}
