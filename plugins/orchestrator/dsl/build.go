package dsl

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// Variables by the place of an expression, beside those of the loops around it.
// As in the specification, but that there are no $secrets and no $authorization.
var (
	atStart  = []string{"context", "task", "workflow", "runtime"}          // input.from
	inTask   = []string{"context", "input", "task", "workflow", "runtime"} // if, with, set, in, output.as
	atExport = []string{"context", "input", "output", "task", "workflow", "runtime"}
	ofInput  = []string{"workflow", "runtime"} // the workflow's input.from
	ofOutput = []string{"context", "workflow", "runtime"}
)

// maxDepth is how deep tasks may be nested.
const maxDepth = 20

// builder makes the types of what the schema has let pass.
type builder struct{ problems Problems }

func (b *builder) workflow(v map[string]any) *Workflow {
	document := v["document"].(map[string]any)
	text := func(name string) string { s, _ := document[name].(string); return s }
	return &Workflow{
		Namespace: text("namespace"), Name: text("name"), Version: text("version"),
		From: b.filter(v, "input", "from", "", ofInput),
		As:   b.filter(v, "output", "as", "", ofOutput),
		Do:   b.tasks(v["do"], "/do", scope{}),
	}
}

// scope is what a task stands in.
type scope struct {
	variables []string // of the loops around it
	parallel  bool     // whether one of them is parallel
	depth     int
}

func (s scope) with(names []string) []string {
	all := slices.Concat(names, s.variables)
	slices.Sort(all)
	return slices.Compact(all)
}

func (b *builder) tasks(v any, at string, s scope) (tasks []*Task) {
	if s.depth++; s.depth > maxDepth {
		b.problems.add(at, "tasks are nested deeper than %d", maxDepth)
		return nil
	}
	names := map[string]bool{}
	for i, item := range v.([]any) {
		for name, definition := range item.(map[string]any) {
			place := at + "/" + strconv.Itoa(i) + "/" + jq.Escape(name)
			if names[name] {
				b.problems.add(place, "a task before it in this list has the name %q already", name)
			}
			names[name] = true
			tasks = append(tasks, b.task(name, place, definition.(map[string]any), s))
		}
	}
	return tasks
}

func (b *builder) task(name, at string, v map[string]any, s scope) *Task {
	t := &Task{
		Name: name, Pointer: at, Definition: v, Kind: b.kind(at, v),
		If:     b.expression(v["if"], at+"/if", s.with(inTask)),
		From:   b.filter(v, "input", "from", at, s.with(atStart)),
		As:     b.filter(v, "output", "as", at, s.with(inTask)),
		Export: b.filter(v, "export", "as", at, s.with(atExport)),
	}
	if t.Export != nil && s.parallel {
		b.problems.add(at+"/export", "iterations that run at the same time have no order to export in: give `export` to the `for` itself")
	}
	b.metadata(t.Kind, at, v)
	b.body(t, at, v, s)
	return t
}

// metadata refuses what would be taken for a setting and is none.
func (b *builder) metadata(k Kind, at string, v map[string]any) {
	m, _ := v["metadata"].(map[string]any)
	for _, name := range []string{"parallel", "tolerate"} {
		if _, has := m[name]; has && k != For {
			b.problems.add(at+"/metadata/"+name, "%q belongs to a `for`; it has no meaning here", name)
		}
	}
}

func (b *builder) body(t *Task, at string, v map[string]any, s scope) {
	switch t.Kind {
	case Call:
		t.Function, _ = v["call"].(string)
		t.With = b.template(v["with"], at+"/with", s.with(inTask))
		t.Leaves = 1
	case Set:
		if text, ok := v["set"].(string); ok {
			t.Set = b.expression(text, at+"/set", s.with(inTask))
		} else {
			t.Set = b.template(v["set"], at+"/set", s.with(inTask))
		}
	case For:
		t.Loop = b.loop(at, v, s)
		s.variables = append(slices.Clone(s.variables), t.Loop.Each, t.Loop.At)
		s.parallel = s.parallel || t.Loop.Parallel > 0
		t.Do = b.tasks(v["do"], at+"/do", s)
	case Do:
		t.Do = b.tasks(v["do"], at+"/do", s)
		t.Leaves = Leaves(t.Do)
	}
}

// kind says what a task is by the one keyword that says it.
func (b *builder) kind(at string, v map[string]any) Kind {
	var found []Kind
	for _, k := range []Kind{Call, Set, For, Do} {
		if _, has := v[string(k)]; has && (k != Do || v["for"] == nil) {
			found = append(found, k)
		}
	}
	if len(found) != 1 {
		b.problems.add(at, "has %d of call, do, for and set; a task is exactly one of them", len(found))
		return ""
	}
	return found[0]
}

func (b *builder) loop(at string, v map[string]any, s scope) *Loop {
	l := &Loop{Each: "item", At: "index"}
	definition := v["for"].(map[string]any)
	if name, ok := definition["each"].(string); ok {
		l.Each = name
	}
	if name, ok := definition["at"].(string); ok {
		l.At = name
	}
	if l.Each == l.At {
		b.problems.add(at+"/for/at", "has the same name as the item's variable, %q", l.At)
	}
	l.In = b.expression(definition["in"], at+"/for/in", s.with(inTask))
	metadata, _ := v["metadata"].(map[string]any)
	l.Parallel = integer(metadata["parallel"])
	if tolerate, ok := metadata["tolerate"].(map[string]any); ok {
		l.Tolerate.Count = integer(tolerate["count"])
		if percent, ok := tolerate["percent"].(json.Number); ok {
			l.Tolerate.Percent, _ = percent.Float64() // the schema has seen that it is a number
		}
	}
	return l
}

// integer reads what the schema has found to be one, or nothing; 8.0 is one.
func integer(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	f, _ := n.Float64()
	return int(f)
}

// filter compiles `input.from`, `output.as` or `export.as`.
func (b *builder) filter(v map[string]any, object, name, at string, names []string) *jq.Template {
	o, _ := v[object].(map[string]any)
	at += "/" + object + "/" + name
	if text, ok := o[name].(string); ok {
		return b.expression(text, at, names)
	}
	return b.template(o[name], at, names)
}

func (b *builder) expression(v any, at string, names []string) *jq.Template {
	text, ok := v.(string)
	if !ok {
		return nil
	}
	t, problems := jq.Expr(text, names)
	b.note(at, problems)
	return t
}

func (b *builder) template(v any, at string, names []string) *jq.Template {
	if v == nil {
		return nil
	}
	t, problems := jq.NewTemplate(v, names)
	b.note(at, problems)
	return t
}

func (b *builder) note(at string, problems []jq.Problem) {
	for _, p := range problems {
		b.problems.add(at+p.Pointer, "%s", p.Err)
	}
}
