package engine

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
)

// scope gives an expression of a task, or of the workflow, what it may use.
type scope struct {
	run    *Run
	at     *activation // nil: the workflow's own expressions
	input  lazy        // `.`
	output lazy        // $output; nil: there is none yet
	result lazy        // $task.output; nil: there is none yet
}

func (s scope) Input() (any, error) { return s.input() }

func (s scope) Variable(name string) (any, error) {
	if v, ok, err := s.loopVariable(name); ok || err != nil {
		return v, err
	}
	switch name {
	case "context":
		return s.run.context()
	case "input":
		return s.at.input()
	case "output":
		return s.output()
	case "workflow":
		return s.run.descriptor()
	case "runtime":
		return map[string]any{"name": "fnhost", "version": "1", "metadata": map[string]any{}}, nil
	case "task":
		return s.task()
	}
	return nil, fmt.Errorf("variable $%s is not known", name)
}

// loopVariable looks for the innermost loop that has the variable.
func (s scope) loopVariable(name string) (any, bool, error) {
	if s.at == nil {
		return nil, false, nil
	}
	for l := s.at.in; l.owner != nil; l = l.owner.in {
		if l.owner.task.Kind != dsl.For {
			continue
		}
		switch name {
		case l.owner.task.Loop.Each:
			v, err := s.run.State.Item(l.owner.path, l.index)
			return v, true, err
		case l.owner.task.Loop.At:
			return l.index, true, nil
		}
	}
	return nil, false, nil
}

// task is the specification's task descriptor, without startedAt.
func (s scope) task() (any, error) {
	raw, err := s.at.raw()
	if err != nil {
		return nil, err
	}
	t := map[string]any{"name": s.at.task.Name, "reference": s.at.path, "definition": s.at.task.Definition, "input": raw}
	if s.result != nil {
		if t["output"], err = s.result(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// descriptor is the specification's workflow descriptor.
func (r *Run) descriptor() (any, error) {
	raw, err := r.State.Value(rawInput)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"id": r.ID, "definition": r.Workflow.Definition, "input": raw,
		"startedAt": map[string]any{
			"iso8601": r.StartedAt.UTC().Format(time.RFC3339Nano),
			"epoch":   map[string]any{"seconds": int(r.StartedAt.Unix()), "milliseconds": int(r.StartedAt.UnixMilli())},
		},
	}, nil
}

// context is what the last export has left, {} before the first.
func (r *Run) context() (any, error) {
	if r.Exports == 0 {
		return map[string]any{}, nil
	}
	return r.State.Value(contextValue(r.Exports))
}

func contextValue(n int) string { return "context#" + strconv.Itoa(n) }
