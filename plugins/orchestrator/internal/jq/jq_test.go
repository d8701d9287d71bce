package jq_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// scope counts what it is asked for.
type scope struct {
	input     any
	variables map[string]any
	asked     int
}

func (s *scope) Input() (any, error) { s.asked++; return s.input, nil }

func (s *scope) Variable(name string) (any, error) { return s.variables[name], nil }

func value(t *testing.T, text string) any {
	t.Helper()
	v, err := jq.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ template, input, want string }{
		{`"${ .a }"`, `{"a":[1,2]}`, `[1,2]`},
		{`{"x":"${ .a + 1 }","y":["${$item.n}","plain"],"z":3}`, `{"a":1}`, `{"x":2,"y":[7,"plain"],"z":3}`},
		{`"a $ and a { stay"`, `null`, `"a $ and a { stay"`},
		{`"${ 12345678901234567890123 }"`, `null`, `12345678901234567890123`},
		{`"${ .n }"`, `{"n":12345678901234567890}`, `12345678901234567890`},
		{`" ${ [ .[] | select(. > 1) ] } "`, `[1,2,3]`, `[2,3]`},
		{`{}`, `1`, `{}`},
		{`[]`, `1`, `[]`},
	} {
		template, problems := jq.NewTemplate(value(t, test.template), []string{"item"})
		if problems != nil {
			t.Errorf("%s: %v", test.template, problems)
			continue
		}
		got, err := template.Eval(t.Context(), &scope{input: value(t, test.input), variables: map[string]any{"item": map[string]any{"n": 7}}})
		if err != nil {
			t.Errorf("%s: %v", test.template, err)
			continue
		}
		if text, _ := jq.Encode(got); string(text) != test.want {
			t.Errorf("%s gave %s, want %s", test.template, text, test.want)
		}
	}
}

func TestProblemsNameTheirPlace(t *testing.T) {
	t.Parallel()
	for template, want := range map[string][2]string{
		`{"a":[1,"${ .x + }"]}`:        {"/a/1", "is not jq"},
		`{"a/b":"${ $nope }"}`:         {"/a~1b", "$nope"},
		`"hello ${ .name }!"`:          {"", "make the whole of it one"},
		`{"x":"${ nofunction(1) }"}`:   {"/x", "nofunction"},
		`{"x":"${ input }"}`:           {"/x", "input"},
		`{"x":"${ $ENV.HOME + 1 + }"}`: {"/x", "is not jq"},
	} {
		_, problems := jq.NewTemplate(value(t, template), []string{"item"})
		if len(problems) != 1 || problems[0].Pointer != want[0] || !strings.Contains(problems[0].Err.Error(), want[1]) {
			t.Errorf("%s: %v, want one at %q with %q", template, problems, want[0], want[1])
		}
	}
}

func TestFailuresAreTheExpressions(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		`.a.b`:                       "expected an object",
		`empty`:                      "gave no value",
		`1, 2`:                       "more than one value",
		`error("out of tea")`:        "out of tea",
		`[limit(3; repeat(1))]|halt`: "halt",
		`def f: f; f`:                "took longer",
	} {
		e, err := jq.Compile(source, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Eval(t.Context(), &scope{input: map[string]any{"a": 1}})
		if failed, ok := errors.AsType[*jq.Error](err); !ok || !strings.Contains(failed.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

func TestEnvironmentIsNotThere(t *testing.T) {
	t.Setenv("TEA", "green")
	e, err := jq.Compile(`[env.TEA, $ENV.TEA]`, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Eval(t.Context(), &scope{})
	if text, _ := jq.Encode(got); err != nil || string(text) != "[null,null]" {
		t.Errorf("%s, %v", text, err)
	}
}

func TestInputIsAskedForOnlyWhenUsed(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]bool{
		`$x`: false, `$x.a.b`: false, `$x[0]`: false, `{a: $x.n, b: [1, "t", null, -$x.n]}`: false, `$x | .a`: false,
		`$x | length`: false, `"n is \($x.n)"`: false, `$x.n + 1`: false, `if $x then 1 else 2 end`: false, `{$x}`: false,
		`$x as $y | $y.a`: false, `($x)`: false,
		`.`: true, `.a`: true, `length`: true, `$x[.a]`: true, `{a}`: true, `[.[]]`: true, `"\(.n)"`: true, `$x + .`: true,
		`if $x then 1 end`: true, `$x as $y | .a`: true, `@json`: true, `try error catch 1`: true, `$x["\(.a)"]?`: true, `..`: true,
		`def f: .; 1`: true, `reduce .[] as $i (0; 1)`: true, `if .a then 1 else 2 end`: true, `{(.a): 1}`: true, `{"\(.a)": 1}`: true,
		`$x[.a:]`: true, `if $x then 1 elif .a then 2 else 3 end`: true,
	} {
		e, err := jq.Compile(source, []string{"x"})
		if err != nil {
			t.Fatal(err)
		}
		s := &scope{input: map[string]any{"a": 0}, variables: map[string]any{"x": []any{1}}}
		_, _ = e.Eval(t.Context(), s)
		if (s.asked > 0) != want {
			t.Errorf("%s: asked for the input %d times, want it: %v", source, s.asked, want)
		}
	}
}
