package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/engine"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

const document = "document: {dsl: '1.0.3', namespace: test, name: example, version: '1.0.0'}\n"

// world plays a run: what is dispatched is kept until the test answers it. Each
// message is a batch of its own with a Run made anew from what has been kept.
type world struct {
	t     *testing.T
	wf    *dsl.Workflow
	state *memory
	kept  engine.Run
	open  []engine.Leaf
	paths []string // of all that was dispatched
	most  int      // that were open at once
}

func newWorld(t *testing.T, definition, input string) *world {
	t.Helper()
	wf, err := dsl.Parse([]byte(document + definition))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, wf: wf, state: newMemory()}
	v, err := jq.Decode([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	w.step(func(r *engine.Run) error { return r.Start(t.Context(), v) })
	return w
}

func (w *world) step(do func(r *engine.Run) error) {
	w.t.Helper()
	r := &engine.Run{ID: "r1", Workflow: w.wf, StartedAt: time.Unix(1700000000, 0), State: w.state,
		Phase: w.kept.Phase, Counts: w.kept.Counts, Exports: w.kept.Exports, Samples: w.kept.Samples}
	if err := do(r); err != nil {
		w.t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		w.t.Fatal(err)
	}
	w.kept = *r
	for _, leaf := range r.Leaves {
		w.open = append(w.open, leaf)
		w.paths = append(w.paths, leaf.Path)
	}
	w.most = max(w.most, len(w.open))
}

// answer answers a call; the default worker gives back what it was called with.
func (w *world) answer(leaf engine.Leaf, a engine.Answer) (accepted bool) {
	w.t.Helper()
	w.step(func(r *engine.Run) (err error) { accepted, err = r.Answer(w.t.Context(), leaf.Path, a); return err })
	return accepted
}

func worker(leaf engine.Leaf) engine.Answer {
	if decoded(leaf.With)["fail"] == true {
		return engine.Answer{Status: "error", ErrorType: "boom", ErrorMessage: "told to fail"}
	}
	return engine.Answer{Status: "ok", Data: leaf.With}
}

// run answers whatever is open, in an order that pick chooses, with duplicates.
func (w *world) run(pick func(n int) int) *world {
	w.t.Helper()
	var answered []engine.Leaf
	for w.kept.Phase == engine.Running {
		if len(w.open) == 0 {
			w.t.Fatal("the run waits for nothing")
		}
		if len(answered) > 0 && pick(4) == 3 {
			if again := answered[pick(len(answered))]; w.answer(again, worker(again)) {
				w.t.Fatalf("%s was taken twice", again.Path)
			}
			continue
		}
		i := pick(len(w.open))
		leaf := w.open[i]
		w.open = slices.Delete(w.open, i, i+1)
		answered = append(answered, leaf)
		w.answer(leaf, worker(leaf))
		if c := w.kept.Counts; c.Running < 0 || c.Done+c.Failed+c.Running > c.Total || c.Running > len(w.open) {
			w.t.Fatalf("counts %+v with %d open", c, len(w.open))
		}
	}
	return w
}

func first(int) int { return 0 }

func (w *world) output(want string) {
	w.t.Helper()
	if w.kept.Phase != engine.Completed || text(w.kept.Output) != want {
		w.t.Fatalf("%s %v: %s\nwant %s", w.kept.Phase, w.kept.Fault, text(w.kept.Output), want)
	}
	if left := w.state.left(); left != nil {
		w.t.Errorf("left in the state: %q", left)
	}
	if c := w.kept.Counts; c.Running != 0 || c.Pending() != 0 {
		w.t.Errorf("counts at the end: %+v", c)
	}
}

var flows = []struct {
	name, definition, input, output string
	calls                           int
}{
	{"set", "do: [{a: {set: {n: '${ .n + 1 }'}}}, {b: {set: {n: '${ .n * 2 }', was: '${ $input }'}}}]", `{"n":1}`, `{"n":4,"was":{"n":2}}`, 0},
	{"the input as it is", "do: [{a: {if: 'false', set: {n: 1}}}]", `[1,2]`, `[1,2]`, 0},
	{"calls in order", "do: [{a: {call: e.x, with: {n: '${ .n }'}}}, {b: {call: e.x, with: {n: '${ .n + 1 }'}}}]", `{"n":1,"m":2}`, `{"n":2}`, 2},
	{"a call without arguments", "do: [{a: {call: e.x}}]", `{"n":1}`, `{}`, 1},
	{"if leaves out", "do: [{a: {if: '.n > 1', call: e.x, with: {no: 1}}}, {b: {if: '${ .n == 1 }', call: e.x, with: {yes: '${ .n }'}}}]", `{"n":1}`, `{"yes":1}`, 1},
	{"filters", `
input: {from: .in}
output: {as: '{out: ., name: $workflow.definition.document.name, raw: $workflow.input.in.n, at: $workflow.startedAt.epoch.seconds, id: $workflow.id, rt: $runtime.name}'}
do: [{a: {input: {from: '{m: .n}'}, call: e.x, with: {n: '${ .m }', i: '${ $input.m }'}, output: {as: '[.n, $input.m, $task.name, $task.reference, $task.input.n, $task.output.i]'}}}]`,
		`{"in":{"n":5}}`, `{"at":1700000000,"id":"r1","name":"example","out":[5,5,"a","/do/0/a",5,5],"raw":5,"rt":"fnhost"}`, 1},
	{"export", `
do:
  - a: {call: e.x, with: {n: 1}, export: {as: '$context + {a: .n, o: $output.n}'}}
  - g: {do: [{b: {set: {n: '${ $context.a + 1 }'}, export: {as: '$context + {b: .n}'}}}]}
  - c: {set: {context: '${ $context }'}}`, `null`, `{"context":{"a":1,"b":2,"o":1}}`, 1},
	{"a for in sequence", `
do: [{l: {for: {each: color, in: .colors}, do: [{m: {set: {colors: '${ .colors }', processed: '${ {c: (.processed.c + [$color]), i: (.processed.i + [$index])} }'}}}]}}]`,
		`{"colors":["red","green"]}`, `{"colors":["red","green"],"processed":{"c":["red","green"],"i":[0,1]}}`, 0},
	{"a for in sequence with calls", `
do: [{l: {for: {each: x, at: i, in: .list}, do: [{m: {call: e.x, with: {sum: '${ (.sum // 0) + $x }'}}}, {n: {call: e.x, with: {sum: '${ .sum }', i: '${ $i }'}}}]}}]`,
		`{"list":[1,2,3]}`, `{"i":2,"sum":6}`, 6},
	{"a parallel for", "do: [{l: {for: {each: x, in: .list}, metadata: {parallel: 3}, do: [{m: {call: e.x, with: {x: '${ $x }', n: '${ .n }'}}}]}}]",
		`{"list":["a","b","c","d","e"],"n":1}`, `[{"n":1,"x":"a"},{"n":1,"x":"b"},{"n":1,"x":"c"},{"n":1,"x":"d"},{"n":1,"x":"e"}]`, 5},
	{"an empty parallel for", "do: [{l: {for: {in: .}, metadata: {parallel: 3}, do: [{m: {call: e.x}}]}}]", `[]`, `[]`, 0},
	{"an empty for", "do: [{l: {for: {in: .}, do: [{m: {call: e.x}}]}}]", `[]`, `[]`, 0},
	{"a parallel for of sets", "do: [{l: {for: {in: .}, metadata: {parallel: 2}, do: [{m: {set: {i: '${ $index }', x: '${ $item }'}}}]}}]", `[5,6,7]`, `[{"i":0,"x":5},{"i":1,"x":6},{"i":2,"x":7}]`, 0},
	{"iterations left out", "do: [{l: {for: {in: .}, metadata: {parallel: 2}, do: [{m: {if: '$item > 5', call: e.x, with: {x: '${ $item }'}}}]}}]", `[5,6,7,1]`, `[null,{"x":6},{"x":7},null]`, 2},
	{"a body of several", `
do:
  - l:
      for: {in: .}
      metadata: {parallel: 4}
      do:
        - a: {call: e.x, with: {x: '${ $item }'}}
        - b: {set: {y: '${ .x * 10 }'}}
        - c: {do: [{d: {call: e.x, with: {z: '${ .y + $item + $index }'}}}]}
      output: {as: 'map(.z)'}
  - s: {call: e.x, with: {all: '${ . }'}}`, `[1,2,3,4,5,6]`, `{"all":[11,23,35,47,59,71]}`, 13},
	{"for in for", `
do:
  - outer:
      for: {each: a, in: .}
      metadata: {parallel: 2}
      do:
        - inner:
            for: {each: b, at: j, in: $a.list}
            metadata: {parallel: 3}
            do: [{p: {call: e.x, with: {v: '${ $a.k * $b }', at: '${ [$index, $j] }'}, output: {as: .v}}}]
        - sum: {call: e.x, with: {k: '${ $a.k }', sum: '${ add }'}}`,
		`[{"k":1,"list":[1,2,3,4]},{"k":2,"list":[]},{"k":3,"list":[5,6]}]`, `[{"k":1,"sum":10},{"k":2,"sum":null},{"k":3,"sum":33}]`, 9},
	{"a sequence in a parallel for", `
do:
  - outer:
      for: {each: a, in: .}
      metadata: {parallel: 2}
      do:
        - seed: {set: {n: 0}}
        - inner:
            for: {each: b, in: '[range($a)]'}
            do: [{p: {call: e.x, with: {n: '${ .n + $b + 1 }'}}}]`,
		`[1,2,3]`, `[{"n":1},{"n":3},{"n":6}]`, 6},
	{"a parallel for in a sequence", `
do:
  - outer:
      for: {each: a, in: '[1,2]'}
      do:
        - inner:
            for: {each: b, in: '.list'}
            metadata: {parallel: 2}
            do: [{p: {call: e.x, with: {v: '${ $a + $b }'}}}]
            export: {as: '($context.seen // []) | {seen: (. + [$a])}'}
        - next: {set: {list: '${ map(.v) }', seen: '${ $context.seen }'}}`,
		`{"list":[10,20]}`, `{"list":[13,23],"seen":[1,2]}`, 4},
	{"tolerated", `
do: [{l: {for: {in: .}, metadata: {parallel: 3, tolerate: {count: 2}}, do: [{a: {call: e.x, with: {x: '${ $item }', fail: '${ $item % 2 == 0 }'}}}, {b: {call: e.x, with: {x: '${ .x }'}}}]}}]`,
		`[1,2,3,4]`, `[{"x":1},null,{"x":3},null]`, 6},
	{"tolerated inside", `
do:
  - outer:
      for: {each: a, in: .}
      metadata: {parallel: 2, tolerate: {percent: 50}}
      do:
        - before: {set: {n: 1}}
        - inner:
            for: {each: b, in: '[range($a)]'}
            metadata: {parallel: 2}
            do: [{p: {call: e.x, with: {b: '${ $b }', fail: '${ $a == 3 and $b == 1 }'}}}, {q: {call: e.x, with: {b: '${ $b }'}}}]
        - after: {call: e.x, with: {n: '${ length }'}}`,
		`[1,3,2]`, `[{"n":1},null,{"n":2}]`, -1},
}

func TestFlows(t *testing.T) {
	t.Parallel()
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, f.definition, f.input).run(first)
			w.output(f.output)
			if f.calls >= 0 && len(w.paths) != f.calls {
				t.Errorf("%d calls, want %d: %q", len(w.paths), f.calls, w.paths)
			}
		})
	}
}

// Whatever the order of the answers, and however many come twice, the output is
// the same, and so are the tasks.
func TestAnyOrderAndDuplicates(t *testing.T) {
	t.Parallel()
	for _, f := range flows {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			want := newWorld(t, f.definition, f.input).run(first).paths
			slices.Sort(want)
			for seed := range uint64(60) {
				random := rand.New(rand.NewPCG(seed, 1))
				w := newWorld(t, f.definition, f.input).run(random.IntN)
				w.output(f.output)
				slices.Sort(w.paths)
				if f.calls >= 0 && !slices.Equal(w.paths, want) {
					t.Fatalf("seed %d: tasks %q, want %q", seed, w.paths, want)
				}
				if len(slices.Compact(slices.Clone(w.paths))) != len(w.paths) {
					t.Fatalf("seed %d: a task was dispatched twice: %q", seed, w.paths)
				}
			}
		})
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, definition, input, instance, kind, detail string }{
		{"a call fails", "do: [{g: {do: [{a: {call: e.x, with: {fail: true}}}]}}, {b: {call: e.x}}]", `null`, "/do/0/g/do/0/a", "communication", "told to fail"},
		{"with", "do: [{a: {call: e.x, with: {n: '${ .a.b }'}}}]", `{"a":1}`, "/do/0/a", "expression", "expected an object"},
		{"output.as", "do: [{a: {call: e.x, output: {as: 'error(\"no\")'}}}]", `null`, "/do/0/a", "expression", "no"},
		{"export.as", "do: [{a: {call: e.x, export: {as: '.x.y.z | length | error'}}}]", `null`, "/do/0/a", "expression", ""},
		{"input.from", "do: [{a: {input: {from: '.x | tonumber'}, call: e.x}}]", `{"x":"y"}`, "/do/0/a", "expression", "tonumber"},
		{"if", "do: [{a: {if: 'error(\"if\")', set: {n: 1}}}]", `null`, "/do/0/a", "expression", "if"},
		{"the workflow's input", "input: {from: '.a.b'}\ndo: [{a: {call: e.x}}]", `{"a":[]}`, "/input/from", "expression", "expected an object"},
		{"the workflow's output", "output: {as: '.a.b.c'}\ndo: [{a: {set: {a: 1}}}]", `null`, "/output/as", "expression", "expected an object"},
		{"no list", "do: [{l: {for: {in: .}, do: [{a: {call: e.x}}]}}]", `{"a":1}`, "/do/0/l", "validation", "an object, want a list"},
		{"too many items", "do: [{l: {for: {in: .}, do: [{a: {call: e.x}}]}}]", "[" + strings.Repeat("1,", engine.MaxItems) + "1]", "/do/0/l", "runtime", "100000 is the limit"},
		{"too many steps", "do: [{l: {for: {in: '[range(1000)]'}, do: [{m: {for: {in: '[range(1000)]'}, do: [{a: {set: {n: 1}}}]}}]}}]", `null`, "/do/0/l/for", "runtime", "without a call"},
		{"too large a value", "do: [{a: {call: e.x, with: {n: '${ \"x\" * 17000000 }'}}}]", `null`, "/do/0/a", "runtime", "16777216 is the limit"},
		{"an iteration", "do: [{l: {for: {in: .}, metadata: {parallel: 2}, do: [{a: {call: e.x, with: {fail: '${ $item == 3 }'}}}]}}]", `[1,2,3,4,5,6]`, "/do/0/l/for/2/do/0/a", "communication", "told"},
		{"more than tolerated", "do: [{l: {for: {in: .}, metadata: {parallel: 2, tolerate: {percent: 50}}, do: [{a: {call: e.x, with: {fail: true}}}]}}]", `[1,2,3,4]`, "/do/0/l/for/2/do/0/a", "communication", "told"},
		{"outputs too large together", "do: [{l: {for: {in: '[range(20)]'}, metadata: {parallel: 2}, do: [{a: {set: {x: '${ \"x\" * 1000000 }'}}}]}}]", `null`, "/do/0/l", "runtime", "output"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.definition, test.input).run(first)
			f := w.kept.Fault
			if w.kept.Phase != engine.Faulted || f == nil || !strings.HasPrefix(f.Instance, test.instance) ||
				!strings.HasSuffix(f.Type, "/"+test.kind) || !strings.Contains(f.Detail, test.detail) {
				t.Fatalf("%s %+v\nwant %s at %s with %q", w.kept.Phase, f, test.kind, test.instance, test.detail)
			}
			if len(w.kept.Leaves) > 0 || w.kept.Counts.Running != 0 {
				t.Errorf("after the fault: %d dispatched, %+v", len(w.kept.Leaves), w.kept.Counts)
			}
			for _, late := range w.open {
				if w.answer(late, worker(late)) {
					t.Errorf("the late answer of %s counted", late.Path)
				}
			}
		})
	}
}

func TestCountsOfAFaultedRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "do: [{l: {for: {in: .}, metadata: {parallel: 2}, do: [{a: {call: e.x, with: {fail: '${ $item == 3 }'}}}]}}, {z: {call: e.x}}]", `[1,2,3,4,5,6]`).run(first)
	if c := w.kept.Counts; c.Total != 7 || c.Done != 2 || c.Failed != 1 || c.Pending() != 4 {
		t.Errorf("%+v", c)
	}
}

func TestToleratedFaultsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "do: [{l: {for: {in: '[range(30)]'}, metadata: {parallel: 5, tolerate: {count: 30}}, do: [{a: {call: e.x, with: {fail: true}}}]}}]", `null`).run(first)
	if n := len(w.kept.Samples); n != 10 || w.kept.Samples[0].Instance != "/do/0/l/for/0/do/0/a" || w.kept.Counts.Failed != 30 {
		t.Errorf("%d samples, %+v", n, w.kept.Counts)
	}
}

func TestNoMoreThanParallelAreOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "do: [{l: {for: {in: '[range(100)]'}, metadata: {parallel: 7}, do: [{a: {call: e.x}}, {b: {call: e.x}}]}}]", `null`)
	if len(w.open) != 7 {
		t.Errorf("%d at the start", len(w.open))
	}
	if w.run(rand.New(rand.NewPCG(1, 1)).IntN); w.most != 7 || len(w.paths) != 200 {
		t.Errorf("%d open at once, %d calls", w.most, len(w.paths))
	}
}

func TestForeignAnswersChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "do: [{l: {for: {in: .}, metadata: {parallel: 2}, do: [{a: {call: e.x}}]}}]", `[1,2,3]`)
	for _, path := range []string{"", "/", "/do", "/do/0", "/do/0/l", "/do/0/l/for", "/do/0/l/for/0", "/do/0/l/for/0/do/0/b", "/do/0/l/for/0/do/1/a",
		"/do/0/l/for/2/do/0/a", "/do/0/l/for/00/do/0/a", "/do/0/l/for/-1/do/0/a", "/do/0/l/for/99/do/0/a", "/do/1/z", "/do/0/l/do/0/a", "/do/0/l/for/0/do/0/a/do/0/x", "do/0/l/for/0/do/0/a"} {
		if w.answer(engine.Leaf{Path: path}, engine.Answer{Status: "ok"}) {
			t.Errorf("%q was taken", path)
		}
	}
	w.run(first).output(`[{},{},{}]`)
}

func TestAnswersOfAllKinds(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{``: `null`, `7`: `7`, `"x"`: `"x"`, `plain text`: `"plain text"`, "\xff": "\"\ufffd\""} {
		w := newWorld(t, "do: [{a: {call: e.x}}]", `null`)
		w.answer(w.open[0], engine.Answer{Status: "ok", Data: []byte(data)})
		w.output(want)
	}
	w := newWorld(t, "do: [{a: {call: e.x}}]", `null`)
	w.answer(w.open[0], engine.Answer{Status: "dropped", ErrorMessage: "seen"})
	if w.kept.Fault == nil || !strings.Contains(w.kept.Fault.Error(), "dropped: seen") {
		t.Errorf("%v", w.kept.Fault)
	}
}

// The work for an answer does not depend on how many items are done, and the
// large input of the loop is not looked at again.
func TestConstantWork(t *testing.T) {
	t.Parallel()
	const n = 2000
	w := newWorld(t, "do: [{l: {for: {each: x, in: .list}, metadata: {parallel: 16}, do: [{a: {call: e.x, with: {x: '${ $x.id }'}}}]}}]",
		`{"list":[`+strings.TrimSuffix(strings.Repeat(`{"id":12345678},`, n), ",")+`]}`)
	clear(w.state.loaded)
	var reads [n]int
	for i := range n {
		before := w.state.read
		leaf := w.open[0]
		w.open = w.open[1:]
		w.answer(leaf, worker(leaf))
		reads[i] = w.state.read - before
	}
	w.output(`[` + strings.TrimSuffix(strings.Repeat(`{"x":12345678},`, n), ",") + `]`)
	if most := slices.Max(reads[:]); most > 400 {
		t.Errorf("an answer read %d bytes of state", most)
	}
	if len(w.state.loaded) > 0 {
		t.Errorf("loaded again: %v", w.state.loaded)
	}
}

func TestFramesAreAllThatAnAnswerLooksFor(t *testing.T) {
	t.Parallel()
	want := "l: l:/do/0/a f:/do/0/a l:/do/0/a/for/3 l:/do/0/a/for/3/do/1/b f:/do/0/a/for/3/do/1/b l:/do/0/a/for/3/do/1/b/do/0/c f:/do/0/a/for/3/do/1/b/do/0/c"
	if got := fmt.Sprint(strings.Join(engine.Frames("/do/0/a/for/3/do/1/b/do/0/c"), " ")); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for _, path := range []string{"", "/", "x", "/do", "/do/0/a/for"} {
		engine.Frames(path)
	}
}
