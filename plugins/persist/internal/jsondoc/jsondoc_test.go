package jsondoc

import (
	"strings"
	"testing"
)

func parse(t *testing.T, s string) any {
	t.Helper()
	v, err := Parse([]byte(s))
	if err != nil {
		t.Fatalf("Parse(%s): %v", s, err)
	}
	return v
}

// The cases of RFC 7396, appendix A, and the ones that people get wrong.
func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"n":1}`, `{"n":12345678901234567890.5}`, `{"n":12345678901234567890.5}`},
	} {
		target := parse(t, c.target)
		got, err := Text(Merge(target, parse(t, c.patch)))
		if err != nil || string(got) != c.want {
			t.Errorf("Merge(%s, %s) = %s, %v, want %s", c.target, c.patch, got, err, c.want)
		}
		if !Equal(target, parse(t, c.target)) {
			t.Errorf("Merge(%s, %s) changed its target to %v", c.target, c.patch, target)
		}
	}
	if got := Merge(nil, parse(t, `{"a":null,"b":1}`)); !Equal(got, parse(t, `{"b":1}`)) {
		t.Errorf("a patch of nothing gave %v", got)
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":[true,null]}`, `{ "b" : [true, null], "a":1 }`, true},
		{`1`, `1.0`, true},
		{`100`, `1e2`, true},
		{`0.001`, `1E-3`, true},
		{`10e-1`, `1`, true},
		{`-0`, `0.000e9`, true},
		{`-1`, `1`, false},
		{`9007199254740993`, `9007199254740992`, false},
		{`1e999999999`, `10e999999998`, true},
		{`1e99999999999`, `1e99999999999`, true},
		{`1e99999999999`, `1e99999999998`, false},
		{`"1"`, `1`, false},
		{`[1,2]`, `[2,1]`, false},
		{`[1]`, `[1,1]`, false},
		{`{"a":null}`, `{}`, false},
		{`{"a":1}`, `[1]`, false},
		{`null`, `false`, false},
		{`"é"`, `"\u00e9"`, true},
	} {
		if got := Equal(parse(t, c.a), parse(t, c.b)); got != c.want {
			t.Errorf("Equal(%s, %s) = %t", c.a, c.b, got)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for in, want := range map[string]string{
		``:                   "not JSON",
		`{`:                  "not JSON",
		`{"a":1} {"b":2}`:    "more than one value",
		`{"a":1} x`:          "more than one value",
		nested(MaxDepth + 2): "nested deeper than 512 levels",
		strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1): "nested deeper",
	} {
		if _, err := Parse([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%.40s) = %v, want %q", in, err, want)
		}
	}
	if _, err := Parse([]byte(nested(MaxDepth))); err != nil {
		t.Errorf("the deepest document that is allowed: %v", err)
	}
}

func TestTextIsCanonical(t *testing.T) {
	t.Parallel()
	got, err := Text(parse(t, `{ "b": "<&>", "a": {"z": 1.50, "y": 12345678901234567890}, "a2": [ ] }`))
	want := `{"a":{"y":12345678901234567890,"z":1.50},"a2":[],"b":"<&>"}`
	if err != nil || string(got) != want {
		t.Errorf("Text = %s, %v, want %s", got, err, want)
	}
}
