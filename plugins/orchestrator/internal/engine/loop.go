package engine

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// loop is where a `for` stands. Its size depends on what is open, not on what is
// done: so the cost of an answer does not either.
type loop struct {
	Items  int   `json:"n"`
	Next   int   `json:"x"` // the first that has not been begun
	Done   int   `json:"d"`
	Failed int   `json:"f,omitempty"`
	Bytes  int   `json:"b,omitempty"` // of all outputs
	Open   []int `json:"o"`           // sorted
	over   bool
}

func (l *loop) encode() []byte {
	if l.over {
		return nil
	}
	data, err := json.Marshal(l)
	if err != nil { // numbers always marshal
		panic(err)
	}
	return data
}

func (l *loop) isOpen(i int) bool {
	_, open := slices.BinarySearch(l.Open, i)
	return open
}

func (l *loop) begin() (i int) {
	i = l.Next
	l.Next++
	l.Open = append(l.Open, i) // the largest of all
	return i
}

func (l *loop) close(i int) {
	if at, open := slices.BinarySearch(l.Open, i); open {
		l.Open = slices.Delete(l.Open, at, at+1)
	}
}

// loop gives where the loop at the path stands, nil if it does not run.
func (r *Run) loop(path string) (*loop, error) {
	if l := r.loops[path]; l != nil {
		if l.over {
			return nil, nil
		}
		return l, nil
	}
	data, err := r.State.Frame(loopFrame(path))
	if err != nil || data == nil {
		return nil, err
	}
	l := &loop{}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("reading where the loop %s stands: %w", path, err)
	}
	r.loops[path] = l
	return l, nil
}

// enterLoop begins a `for`.
func (r *Run) enterLoop(a *activation) (lazy, bool, error) {
	items, size, err := r.items(a)
	if err != nil {
		return nil, false, err
	}
	if size > jq.MaxValueBytes {
		return nil, false, &jq.SizeError{Bytes: size}
	}
	r.Counts.Total += len(items) * dsl.Leaves(a.task.Do)
	l := &loop{Items: len(items), Open: []int{}}
	r.loops[a.path] = l
	if len(items) > 0 {
		if err := r.State.SetItems(a.path, items); err != nil {
			return nil, false, err
		}
	}
	return r.fill(a, l, a.input)
}

func (r *Run) items(a *activation) (items [][]byte, size int, err error) {
	v, err := a.task.Loop.In.Eval(r.ctx, scope{run: r, at: a, input: a.input})
	if err != nil {
		return nil, 0, err
	}
	all, ok := v.([]any)
	if !ok {
		return nil, 0, newFault(typeInvalid, statusInvalid, "No list", a.path, "`in` of the for gives %s, want a list", kindOf(v))
	}
	if len(all) > MaxItems {
		return nil, 0, newFault(typeRun, statusLarge, "Too many items", a.path,
			"the for has %d items; %d is the limit: group them with jq, as `in: ${ [ .list | _nwise(100) ] }`", len(all), MaxItems)
	}
	items = make([][]byte, len(all))
	for i := range all {
		if items[i], err = jq.Encode(all[i]); err != nil {
			return nil, 0, err
		}
		size += len(items[i])
	}
	return items, size, nil
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a text"
	case map[string]any:
		return "an object"
	}
	return "a number"
}

// fill begins as many iterations as may run, and gives the loop's output when all
// have ended. Data is what the next iteration of a sequence gets.
func (r *Run) fill(a *activation, l *loop, data lazy) (lazy, bool, error) {
	for len(l.Open) < max(1, a.task.Loop.Parallel) && l.Next < l.Items {
		i := l.begin()
		it := iteration(a, i, data)
		v, unchanged, ended, err := r.goOn(it, 0, data)
		if err == nil && !ended {
			continue
		}
		if unchanged && a.task.Loop.Parallel > 0 {
			v = known(nil) // not a copy of the loop's whole input
		}
		if err := r.account(a, l, i, v, err); err != nil {
			return nil, false, err
		}
		if a.task.Loop.Parallel == 0 {
			data = v
		}
	}
	if l.Done+l.Failed < l.Items {
		return nil, false, nil
	}
	return r.gather(a, l, data)
}

// iterated goes on behind an iteration.
func (r *Run) iterated(it *list, v lazy, err error) (lazy, bool, error) {
	a := it.owner
	l, failed := r.loop(a.path)
	if failed != nil {
		return nil, false, failed
	}
	if err := r.account(a, l, it.index, v, err); err != nil {
		return nil, false, err
	}
	if a.task.Loop.Parallel > 0 {
		v = a.input
	}
	return r.fill(a, l, v)
}

// account takes note of an iteration's end. The error is the loop's: more of them
// have failed than may, or the outputs are too large.
func (r *Run) account(a *activation, l *loop, i int, v lazy, err error) error {
	l.close(i)
	if err == nil {
		l.Done++
		err = r.output(a, l, i, v)
	} else if fault, ok := err.(*Fault); ok {
		l.Failed++
		if a.task.Loop.Parallel > 0 && a.task.Loop.Tolerate.Allows(l.Failed, l.Items) {
			r.tolerate(*fault)
			return nil
		}
	}
	if _, fault := err.(*Fault); fault {
		if err := r.abandonLoop(a, l); err != nil {
			return err
		}
	}
	return err
}

func (r *Run) output(a *activation, l *loop, i int, v lazy) error {
	if a.task.Loop.Parallel == 0 {
		return nil
	}
	value, err := v()
	if err != nil || value == nil {
		return faultOf(err, a.path)
	}
	data, err := jq.Encode(value)
	if err != nil {
		return faultOf(err, a.path)
	}
	if l.Bytes += len(data); l.Bytes > jq.MaxValueBytes {
		return faultOf(&jq.SizeError{Bytes: l.Bytes}, a.path)
	}
	return r.State.SetOutput(a.path, i, data)
}

// tolerate takes note of a fault that does not rise further: what lay below it
// will not run.
func (r *Run) tolerate(f Fault) {
	r.Counts.Total -= r.lost
	r.lost = 0
	if len(r.Samples) < maxSamples {
		r.Samples = append(r.Samples, f)
	}
}

// gather gives a loop's output and forgets the loop.
func (r *Run) gather(a *activation, l *loop, data lazy) (lazy, bool, error) {
	if a.task.Loop.Parallel > 0 {
		outputs := make([]any, 0)
		if l.Items > 0 {
			var err error
			if outputs, err = r.State.Outputs(a.path, l.Items); err != nil {
				return nil, false, err
			}
		}
		data = known(outputs)
	}
	return data, true, r.forget(a, l)
}

func (r *Run) forget(a *activation, l *loop) error {
	l.over = true
	if l.Items == 0 {
		return nil
	}
	return r.State.RemoveLoop(a.path)
}

// abandonLoop gives up what a failed loop has begun and what it has not.
func (r *Run) abandonLoop(a *activation, l *loop) error {
	r.lost += (l.Items - l.Next) * dsl.Leaves(a.task.Do)
	for _, i := range l.Open {
		if err := r.abandon(r.resumedIteration(a, i)); err != nil {
			return err
		}
	}
	return r.forget(a, l)
}

// abandon gives up a list that waits.
func (r *Run) abandon(l *list) error {
	pos, err := r.position(l.path)
	if err != nil {
		return err
	}
	if err := r.abandonTask(r.resumed(l, pos)); err != nil {
		return err
	}
	return r.fail(l, pos, nil)
}

// abandonTask gives up a task that waits.
func (r *Run) abandonTask(a *activation) error {
	switch a.task.Kind {
	case dsl.Call:
		r.Counts.Running--
		r.lost++
	case dsl.Do:
		return r.abandon(body(a))
	case dsl.For:
		l, err := r.loop(a.path)
		if l == nil || err != nil {
			return err
		}
		return r.abandonLoop(a, l)
	}
	return nil
}
