// Package engine carries a run of a workflow on: from a definition, an input and
// the answers so far to the calls that come next, the output or the fault. It is
// pure: where things are kept is behind [State], and nobody is waited for.
//
// # Places
//
// Every task of a run has an instance path, as `/do/0/ingest/for/3/do/0/one`, and
// runs at most once. What has to be remembered of a run is where it stands:
//
//   - of each list of tasks that is being gone through, the position, and the
//     data that the task there got; at position 0 both go without saying
//   - of each `for`, how many iterations have been begun and ended, and which are
//     open
//
// So an answer is taken if, and only if, every list and loop on its path stands
// where the path says. Any other is late or a duplicate, and changes nothing.
package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// A Phase is how far a run is, in the specification's words.
type Phase string

// The phases of a run.
const (
	Running   Phase = "running"
	Completed Phase = "completed"
	Faulted   Phase = "faulted"
	Cancelled Phase = "cancelled"
)

const (
	// MaxItems is how many items a `for` may have.
	MaxItems = 100_000
	// MaxSteps is how many tasks may run between two calls: those that only
	// compute run within one message, which must come to an end.
	MaxSteps = 100_000
	// maxSamples is how many tolerated faults are kept word for word.
	maxSamples = 10
)

// Counts are the calls of a run. What is pending is not begun: calls in loops
// count from when their loop is reached.
type Counts struct {
	Total   int `json:"total"`
	Done    int `json:"done"`
	Failed  int `json:"failed"`
	Running int `json:"running"`
}

// Pending gives the calls that have not been dispatched.
func (c Counts) Pending() int { return max(0, c.Total-c.Done-c.Failed-c.Running) }

// A Leaf is a call to dispatch.
type Leaf struct {
	Task *dsl.Task
	Path string // the instance path
	With []byte // the arguments as JSON
	// Crowd is the number of items of the largest loop around it, 0 if none.
	Crowd int
}

// An Ended is a call that has been answered.
type Ended struct {
	Task  *dsl.Task
	Path  string
	Crowd int
	// Attempt is how often the worker has run it, 0 if that is not known.
	Attempt int
	Fault   *Fault // nil: it went well
}

// A Run is one run of a workflow, for the time of one batch of messages. The
// caller fills in the upper part from what it has kept, calls Start or Answer,
// at last Flush, and keeps the middle part and the state.
type Run struct {
	ID        string
	Workflow  *dsl.Workflow
	StartedAt time.Time
	State     State

	Phase   Phase
	Counts  Counts
	Exports int     // how often the context has been written
	Samples []Fault // the first tolerated faults

	// What this batch has brought.
	Leaves []Leaf
	Ended  []Ended
	Output any    // of a completed run
	Fault  *Fault // of a faulted one

	ctx   context.Context
	loops map[string]*loop
	steps int
	lost  int // calls below a fault that is still rising
}

// Start begins the run with its input. An error is the state's or the context's;
// what is wrong with the workflow or its input becomes the run's fault.
func (r *Run) Start(ctx context.Context, input any) error {
	r.begin(ctx)
	r.Phase = Running
	r.Counts.Total = dsl.Leaves(r.Workflow.Do)
	data, err := jq.Encode(input)
	if err != nil {
		return r.end(nil, faultOf(err, ""))
	}
	if err := r.State.SetValue(rawInput, data); err != nil {
		return err
	}
	if err := r.transform(); err != nil {
		return r.end(nil, err)
	}
	root := r.root()
	v, _, done, err := r.goOn(root, 0, root.input)
	if err == nil && !done {
		return nil
	}
	return r.end(v, err)
}

// transform applies the workflow's own input.from.
func (r *Run) transform() error {
	if r.Workflow.From == nil {
		return nil
	}
	raw := func() (any, error) { return r.State.Value(rawInput) }
	v, err := r.Workflow.From.Eval(r.ctx, scope{run: r, input: raw})
	if err != nil {
		return faultOf(err, "/input/from")
	}
	return r.keep(input, v, "/input/from")
}

// keep stores a large value; a value over the limit is the fault of the instance.
func (r *Run) keep(name string, v any, instance string) error {
	data, err := jq.Encode(v)
	if err != nil {
		return faultOf(err, instance)
	}
	return r.State.SetValue(name, data)
}

// Answer takes the answer to a call. It says whether it counted: one that is
// late, or has come before, changes nothing. Errors are as those of Start.
func (r *Run) Answer(ctx context.Context, path string, answer Answer) (bool, error) {
	r.begin(ctx)
	if r.Phase != Running {
		return false, nil
	}
	a, err := r.resolve(path)
	if a == nil || err != nil {
		return false, err
	}
	r.Counts.Running--
	fault := answer.fault(path)
	r.Ended = append(r.Ended, Ended{Task: a.task, Path: path, Crowd: r.crowd(a), Attempt: answer.Attempt, Fault: fault})
	if fault != nil {
		r.Counts.Failed++
		return true, r.settle(a, nil, fault)
	}
	r.Counts.Done++
	return true, r.settle(a, known(answer.value()), nil)
}

// Cancel ends the run. Answers that still come are late.
func (r *Run) Cancel() { r.Phase, r.Leaves, r.Counts.Running = Cancelled, nil, 0 }

func (r *Run) begin(ctx context.Context) {
	r.ctx, r.steps = ctx, 0
	if r.loops == nil {
		r.loops = map[string]*loop{}
	}
}

// end is the end of the run.
func (r *Run) end(v lazy, err error) error {
	if err == nil {
		err = r.complete(v)
	}
	if err == nil {
		return nil
	}
	fault, ok := err.(*Fault)
	if !ok {
		return err
	}
	r.Phase, r.Fault, r.Leaves, r.Counts.Running = Faulted, fault, nil, 0
	return nil
}

func (r *Run) complete(v lazy) error {
	output, err := v()
	if err == nil && r.Workflow.As != nil {
		output, err = r.Workflow.As.Eval(r.ctx, scope{run: r, input: v})
	}
	if err == nil {
		_, err = jq.Encode(output)
	}
	if err != nil {
		return faultOf(err, "/output/as")
	}
	r.Phase, r.Output = Completed, output
	return nil
}

// Flush writes what is left of the batch into the state.
func (r *Run) Flush() error {
	for path, l := range r.loops {
		if err := r.State.SetFrame(loopFrame(path), l.encode()); err != nil {
			return fmt.Errorf("keeping loop %s: %w", path, err)
		}
	}
	return nil
}
