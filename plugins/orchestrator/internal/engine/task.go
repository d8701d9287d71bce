package engine

import (
	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// outcome is what entering a task has come to.
type outcome int

const (
	waiting outcome = iota // for answers
	done
	skipped
)

// goOn runs a list from a position on, whose task gets the data. It ends with the
// list (ended, and v is what the list gives), or at a task that waits. Unchanged
// means that no task has run.
func (r *Run) goOn(l *list, pos int, data lazy) (v lazy, unchanged, ended bool, err error) {
	for unchanged = true; pos < len(l.tasks); pos++ {
		a := r.at(l, pos, data)
		out, how, err := r.enter(a)
		if err == nil && how == waiting {
			if err = r.stop(l, pos, data); err == nil {
				return nil, false, false, nil
			}
			if err := r.abandonTask(a); err != nil {
				return nil, false, false, err
			}
		}
		if err != nil {
			return nil, false, false, r.fail(l, pos, err)
		}
		unchanged = unchanged && how == skipped
		data = out
	}
	return data, unchanged, true, r.drop(l, pos)
}

// fail takes note of what will not run because a task of the list has failed.
func (r *Run) fail(l *list, pos int, err error) error {
	r.lost += dsl.Leaves(l.tasks[pos+1:])
	if dropped := r.drop(l, pos); dropped != nil {
		return dropped
	}
	return err
}

// enter begins a task.
func (r *Run) enter(a *activation) (lazy, outcome, error) {
	run, err := r.admit(a)
	if err != nil {
		if a.task.Kind == dsl.Call {
			r.Counts.Failed++
		} else {
			r.lost += a.task.Leaves
		}
		return nil, done, faultOf(err, a.path)
	}
	if !run {
		r.Counts.Total -= a.task.Leaves
		return a.raw, skipped, nil
	}
	out, how, err := r.body(a)
	if err != nil || how == waiting {
		return nil, how, faultOf(err, a.path)
	}
	v, err := r.finish(a, out)
	return v, done, err
}

// admit transforms the input and says whether the task is to run.
func (r *Run) admit(a *activation) (bool, error) {
	if r.steps++; r.steps > MaxSteps {
		return false, newFault(typeRun, statusLarge, "Too many tasks at once", a.path,
			"more than %d tasks have run without a call between them; cut the work into more calls, or compute with one jq expression", MaxSteps)
	}
	if a.task.From != nil {
		if _, err := a.input(); err != nil {
			return false, err
		}
	}
	if a.task.If == nil {
		return true, nil
	}
	v, err := a.task.If.Eval(r.ctx, scope{run: r, at: a, input: a.input})
	return jq.Truthy(v), err
}

// body runs what the task is about.
func (r *Run) body(a *activation) (lazy, outcome, error) {
	switch a.task.Kind {
	case dsl.Set:
		v, err := a.task.Set.Eval(r.ctx, scope{run: r, at: a, input: a.input})
		return known(v), done, err
	case dsl.Call:
		return nil, waiting, r.dispatch(a)
	case dsl.Do:
		v, _, ended, err := r.goOn(body(a), 0, a.input)
		return v, outcomeOf(ended), err
	}
	v, ended, err := r.enterLoop(a)
	return v, outcomeOf(ended), err
}

func outcomeOf(ended bool) outcome {
	if ended {
		return done
	}
	return waiting
}

// dispatch makes the call.
func (r *Run) dispatch(a *activation) error {
	with := []byte("{}")
	if a.task.With != nil {
		v, err := a.task.With.Eval(r.ctx, scope{run: r, at: a, input: a.input})
		if err == nil {
			with, err = jq.Encode(v)
		}
		if err != nil {
			r.Counts.Failed++
			return err
		}
	}
	r.Counts.Running++
	r.Leaves = append(r.Leaves, Leaf{Task: a.task, Path: a.path, With: with, Crowd: r.crowd(a)})
	return nil
}

// finish makes a task's output of what its body has given, and exports.
func (r *Run) finish(a *activation, out lazy) (lazy, error) {
	v := out
	if a.task.As != nil {
		made, err := a.task.As.Eval(r.ctx, scope{run: r, at: a, input: out, result: out})
		if err != nil {
			return nil, faultOf(err, a.path)
		}
		v = known(made)
	}
	if a.task.Export == nil {
		return v, nil
	}
	exported, err := a.task.Export.Eval(r.ctx, scope{run: r, at: a, input: v, output: v, result: out})
	if err != nil {
		return nil, faultOf(err, a.path)
	}
	return v, r.export(exported, a.path)
}

// export makes a value the context.
func (r *Run) export(v any, path string) error {
	if err := r.keep(contextValue(r.Exports+1), v, path); err != nil {
		return err
	}
	if r.Exports++; r.Exports == 1 {
		return nil
	}
	return r.State.RemoveValue(contextValue(r.Exports - 1))
}

// settle goes on behind a task that has waited and now has given out, or failed:
// in its list, and when that ends, behind the task whose body the list is, up to
// where something waits, or the run ends.
func (r *Run) settle(a *activation, out lazy, err error) error {
	for {
		v, ended, err2 := r.advance(a, out, err)
		if err2 == nil && !ended {
			return nil
		}
		l := a.in
		if l.owner == nil {
			return r.end(v, err2)
		}
		if l.owner.task.Kind == dsl.For {
			if v, ended, err2 = r.iterated(l, v, err2); err2 == nil && !ended {
				return nil
			}
		}
		if _, fault := err2.(*Fault); err2 != nil && !fault {
			return err2
		}
		a, out, err = l.owner, v, err2
	}
}

// advance goes on in the task's list.
func (r *Run) advance(a *activation, out lazy, err error) (v lazy, ended bool, _ error) {
	if err == nil {
		out, err = r.finish(a, out)
	}
	if err != nil {
		return nil, false, r.fail(a.in, a.pos, err)
	}
	if err := r.leave(a.in, a.pos); err != nil {
		return nil, false, err
	}
	v, _, ended, err = r.goOn(a.in, a.pos+1, out)
	return v, ended, err
}
