package dsl_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
)

const document = "document: {dsl: '1.0.3', namespace: test, name: example, version: '1.0.0'}\n"

var valid = map[string]string{
	"a call":          "do: [{ask: {call: rag.query, with: {query: '${ .q }', top_k: 5}}}]",
	"a set by a text": "do: [{a: {set: '${ . }'}}]",
	"all filters": `
input: {from: '${ .x }'}
output: {as: {n: '${ .n }'}}
do:
  - a: {if: '.n > 1', input: {from: .}, output: {as: .}, export: {as: '${ $context + {a: $output} }'}, set: {n: 1}}`,
	"a loop": "do: [{l: {for: {each: doc, at: i, in: .docs}, metadata: {parallel: 8, tolerate: {count: 2, percent: 5.5}, note: hi}, do: [{one: {call: echo.say, with: {d: '${ $doc }', i: '${ $i }'}}}]}}]",
	"a loop in a loop": `
do:
  - outer:
      for: {each: a, in: .list}
      do:
        - inner:
            for: {each: b, in: $a.list}
            metadata: {parallel: 2}
            do: [{say: {call: echo.say, with: {a: '${ $a }', b: '${ $b }', i: '${ $index }'}}}]`,
	"an alias":            "do: [{a: {set: &x {n: 1}}}, {b: {set: *x}}]",
	"a name with a slash": "do: [{'a/b~c': {set: {n: 1}}}]",
}

func TestValidDefinitions(t *testing.T) {
	t.Parallel()
	for name, text := range valid {
		if _, err := dsl.Parse([]byte(document + text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInvalidDefinitionsSayWhereAndWhat(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, pointer, message string }{
		{"do: [", "", "neither YAML nor JSON"},
		{"[1]", "", "want object"},
		{"do: []\n---\ndo: []", "", "several YAML documents"},
		{"do: [{a: {set: {1: x}}}]", "", "put it in quotes"},
		{"do: [{a: {set: {n: 1}}}]\ndo: []", "", "already defined"},
		{"a: 1\ndo: [{a: {set: {n: 1}}}]", "/a", "not known here"},
		{"do: []", "/do", "minItems"},
		{"do: {a: 1}", "/do", "want array"},
		{"use: {}\ndo: [{a: {set: {n: 1}}}]", "/use", "write them where they are used"},
		{"schedule: {every: {hours: 1}}\ndo: [{a: {set: {n: 1}}}]", "/schedule", "workflow.start"},
		{"timeout: {after: {minutes: 1}}\ndo: [{a: {set: {n: 1}}}]", "/timeout", "workflow.cancel"},
		{"evaluate: {mode: loose}\ndo: [{a: {set: {n: 1}}}]", "/evaluate", "${ ... }"},
		{"input: {schema: {document: {}}}\ndo: [{a: {set: {n: 1}}}]", "/input/schema", "check with jq"},
		{"do: [{a: {fork: {branches: []}}}]", "/do/0/a/fork", "parallel: N"},
		{"do: [{a: {switch: []}}]", "/do/0/a/switch", "`if`"},
		{"do: [{a: {try: [], catch: {}}}]", "/do/0/a/try", "max_retries"},
		{"do: [{a: {wait: {seconds: 1}}}]", "/do/0/a/wait", "not offered"},
		{"do: [{a: {raise: {error: {}}}}]", "/do/0/a/raise", "error("},
		{"do: [{a: {emit: {event: {}}}}]", "/do/0/a/emit", "persist.write"},
		{"do: [{a: {listen: {to: {}}}}]", "/do/0/a/listen", "starts a workflow"},
		{"do: [{a: {run: {shell: {}}}}]", "/do/0/a/run", "plugin"},
		{"do: [{a: {set: {n: 1}, then: end}}]", "/do/0/a/then", "use `if`"},
		{"do: [{a: {call: echo.say, timeout: {after: {seconds: 1}}}}]", "/do/0/a/timeout", "fnhost.yaml"},
		{"do: [{a: {for: {in: .x}, while: '.n', do: [{b: {set: {n: 1}}}]}}]", "/do/0/a/while", "limit(10"},
		{"do: [{g: {do: [{a: {call: http, with: {}}}]}}]", "/do/0/g/do/0/a/call", "own role"},
		{"do: [{a: {call: query}}]", "/do/0/a/call", "names no role"},
		{"do: [{a: {call: Rag.query}}]", "/do/0/a/call", "does not have the form"},
		{"do: [{a: {set: {n: 1}, call: echo.say}}]", "/do/0/a", "exactly one"},
		{"do: [{a: {metadata: {}}}]", "/do/0/a", "exactly one"},
		{"do: [{a: {for: {in: .x}}}]", "/do/0/a", "do"},
		{"do: [{a: {set: {n: 1}, with: {}}}]", "/do/0/a", "call"},
		{"do: [{a: {set: {n: 1}}, b: {set: {n: 1}}}]", "/do/0", "maxProperties"},
		{"do: [{a: {set: {n: 1}}}, {a: {set: {n: 2}}}]", "/do/1/a", "already"},
		{"do: [{a: {set: {n: '${ .x + }'}}}]", "/do/0/a/set/n", "not jq"},
		{"do: [{a: {set: {n: 'hello ${ .x }'}}}]", "/do/0/a/set/n", "the whole of it"},
		{"do: [{a: {call: echo.say, with: {x: ['${ $doc }']}}}]", "/do/0/a/with/x/0", "$doc"},
		{"do: [{a: {if: 'nope()', set: {n: 1}}}]", "/do/0/a/if", "not jq"},
		{"do: [{a: {output: {as: $output}, set: {n: 1}}}]", "/do/0/a/output/as", "$output"},
		{"do: [{a: {for: {in: .x, each: input}, do: [{b: {set: {n: 1}}}]}}]", "/do/0/a/for/each", "taken"},
		{"do: [{a: {for: {in: .x, each: v, at: v}, do: [{b: {set: {n: 1}}}]}}]", "/do/0/a/for/at", "same name"},
		{"do: [{a: {for: {in: .x}, metadata: {parallel: 0}, do: [{b: {set: {n: 1}}}]}}]", "/do/0/a/metadata/parallel", "minimum"},
		{"do: [{a: {for: {in: .x}, metadata: {parallel: 5000}, do: [{b: {set: {n: 1}}}]}}]", "/do/0/a/metadata/parallel", "maximum"},
		{"do: [{a: {for: {in: .x}, metadata: {tolerate: {count: 1}}, do: [{b: {set: {n: 1}}}]}}]", "/do/0/a/metadata", "parallel"},
		{"do: [{a: {for: {in: .x}, metadata: {parallel: 2, tolerate: {cuont: 1}}, do: [{b: {set: {n: 1}}}]}}]", "/do/0/a/metadata/tolerate/cuont", "not known"},
		{"do: [{a: {set: {n: 1}, metadata: {parallel: 2}}}]", "/do/0/a/metadata/parallel", "belongs to a `for`"},
		{"do: [{a: {for: {in: .x}, metadata: {parallel: 2}, do: [{b: {set: {n: 1}, export: {as: .}}}]}}]", "/do/0/a/do/0/b/export", "no order"},
	} {
		text := document + test.text
		if test.text[0] == '[' {
			text = test.text
		}
		_, err := dsl.Parse([]byte(text))
		problems, _ := errors.AsType[dsl.Problems](err)
		found := false
		for _, p := range problems {
			found = found || p.Pointer == test.pointer && strings.Contains(p.Message, test.message)
		}
		if !found {
			t.Errorf("%s\n\tgave %v\n\twant %q with %q", test.text, err, test.pointer, test.message)
		}
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	t.Parallel()
	_, err := dsl.Parse([]byte(`{"document":{"dsl":"1.0.0","namespace":"t","name":"t","version":"1"},"do":[{"a":{"wait":{}}},{"b":{"call":"x"}},{"c":{"set":{},"q":1}}]}`))
	problems, _ := errors.AsType[dsl.Problems](err)
	var at []string
	for _, p := range problems {
		at = append(at, p.Pointer)
	}
	if got, want := strings.Join(at, " "), "/do/0/a/wait /do/1/b/call /do/2/c/q /do/2/c/set /document/version"; got != want {
		t.Errorf("problems at %s, want %s", got, want)
	}
}

func TestTooLargeADefinition(t *testing.T) {
	t.Parallel()
	if _, err := dsl.Parse([]byte(document + "# " + strings.Repeat("x", dsl.MaxBytes))); err == nil || !strings.Contains(err.Error(), "belongs into the input") {
		t.Error(err)
	}
}

func TestYAMLAndJSONAreTheSameDefinition(t *testing.T) {
	t.Parallel()
	a, err := dsl.Parse([]byte(document + "do: [{a: {set: {n: 1, big: 12345678901234567890, f: 1.5, t: 2026-02-03, z: null}}}]"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := dsl.Parse(a.JSON)
	if err != nil || string(a.JSON) != string(b.JSON) {
		t.Errorf("%s\n%s\n%v", a.JSON, b.JSON, err)
	}
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		of            dsl.Tolerance
		failed, items int
		want          bool
	}{
		{dsl.Tolerance{}, 1, 10, false}, {dsl.Tolerance{Count: 2}, 2, 10, true}, {dsl.Tolerance{Count: 2}, 3, 10, false},
		{dsl.Tolerance{Percent: 5}, 5, 100, true}, {dsl.Tolerance{Percent: 5}, 6, 100, false}, {dsl.Tolerance{Count: 1, Percent: 50}, 5, 10, true},
	} {
		if got := test.of.Allows(test.failed, test.items); got != test.want {
			t.Errorf("%+v: %d of %d: %v", test.of, test.failed, test.items, got)
		}
	}
}
