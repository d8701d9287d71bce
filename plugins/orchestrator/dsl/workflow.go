// Package dsl reads workflow definitions: a profile of the CNCF Serverless
// Workflow DSL 1.0, in YAML or JSON. It knows what a definition says and whether
// it may be run; it runs nothing.
package dsl

import "github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"

// A Workflow is a definition that has been found valid. It is never changed.
type Workflow struct {
	Namespace, Name, Version string // of `document`

	From *jq.Template // `input.from`; nil: the input as it is
	As   *jq.Template // `output.as`; nil: the last task's output
	Do   []*Task

	Definition any    // the whole as a JSON value
	JSON       []byte // the same, its members sorted
}

// A Kind is what a task does.
type Kind string

// The kinds of the profile.
const (
	Call Kind = "call"
	Do   Kind = "do"
	For  Kind = "for"
	Set  Kind = "set"
)

// A Task is one named task of a list.
type Task struct {
	Name       string
	Pointer    string // in the definition, as `/do/0/ingest/do/0/one`
	Kind       Kind
	Definition any

	If     *jq.Template // nil: always
	From   *jq.Template // `input.from`
	As     *jq.Template // `output.as`
	Export *jq.Template // `export.as`

	Function string       // of a call: `rag.query`
	With     *jq.Template // of a call; nil: no arguments
	Set      *jq.Template
	Loop     *Loop
	Do       []*Task // of a do, and the body of a for

	// Leaves are the calls that one run of the task makes; those in a `for` below
	// it, whose items are not known yet, are not among them.
	Leaves int
}

// A Loop is what a `for` goes through.
type Loop struct {
	Each, At string // variables of the item and its index
	In       *jq.Template
	// Parallel is how many iterations may run at once; 0: one after another, each
	// with the output of the one before it as its input.
	Parallel int
	Tolerate Tolerance // only if Parallel > 0
}

// A Tolerance is how many iterations may fail. The larger of the two counts.
type Tolerance struct {
	Count   int
	Percent float64 // of the items
}

// Allows says whether so many failures of so many items may be.
func (t Tolerance) Allows(failed, items int) bool {
	return failed <= t.Count || float64(failed)*100 <= t.Percent*float64(items)
}

// Leaves counts the calls of a list, as [Task.Leaves] does.
func Leaves(tasks []*Task) (n int) {
	for _, t := range tasks {
		n += t.Leaves
	}
	return n
}

// Calls gives every call of the workflow, in the order of the definition.
func (w *Workflow) Calls() (calls []*Task) {
	var walk func([]*Task)
	walk = func(tasks []*Task) {
		for _, t := range tasks {
			if t.Kind == Call {
				calls = append(calls, t)
			}
			walk(t.Do)
		}
	}
	walk(w.Do)
	return calls
}
