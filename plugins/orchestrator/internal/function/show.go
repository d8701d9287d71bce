package function

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/engine"
	"github.com/fnhost/fnhost/sdk"
)

const (
	maxListed = 1000 // tasks of a run that are listed one by one
	maxCrowd  = 100  // items of a loop whose tasks are
)

// log keeps, for people, what became of the run's tasks: those of small loops one
// by one, all of them counted by their place in the definition.
func (s *session) log(r *run) error {
	if len(r.engine.Leaves)+len(r.engine.Ended) == 0 {
		return nil
	}
	fields := []string{groupsField}
	for _, e := range r.engine.Ended {
		if e.Crowd <= maxCrowd {
			fields = append(fields, e.Path)
		}
	}
	v, err := r.store.load(logKey(r.id), fields...)
	if err != nil {
		return err
	}
	groups := map[string]*group{}
	if err := v.Decode(groupsField, &groups); err != nil {
		return sdk.Permanent(err)
	}
	for _, leaf := range r.engine.Leaves {
		s.grouped(groups, leaf.Task.Pointer, leaf.Task.Function).Dispatched++
		if leaf.Crowd <= maxCrowd && r.now.Listed < maxListed {
			r.now.Listed++
			if err := encode(v, leaf.Path, task{Call: leaf.Task.Function, State: "running", StartedAt: s.now}); err != nil {
				return err
			}
		}
	}
	for _, e := range r.engine.Ended {
		if err := s.logEnd(v, groups, e); err != nil {
			return err
		}
	}
	return encode(v, groupsField, groups)
}

func (s *session) grouped(groups map[string]*group, pointer, call string) *group {
	g := groups[pointer]
	if g == nil {
		g = &group{Call: call, StartedAt: s.now}
		groups[pointer] = g
	}
	g.LastAt = s.now
	return g
}

func (s *session) logEnd(v *sdk.StateValue, groups map[string]*group, e engine.Ended) error {
	g, state := s.grouped(groups, e.Task.Pointer, e.Task.Function), "done"
	if e.Fault != nil {
		g.Failed++
		state = "failed"
	} else {
		g.Done++
	}
	if e.Crowd > maxCrowd {
		return nil
	}
	if _, listed := v.Get(e.Path); !listed {
		return nil
	}
	var t task
	if err := v.Decode(e.Path, &t); err != nil {
		return sdk.Permanent(err)
	}
	now := s.now
	t.State, t.EndedAt, t.Attempts = state, &now, e.Attempt
	if e.Fault != nil {
		t.Error = e.Fault.Title + ": " + e.Fault.Detail
	}
	return encode(v, e.Path, t)
}

// status answers with what is known of a run.
func (s *session) status(q runRequest, _ *sdk.Message) (any, error) { return s.describe(q.RunID) }

func (s *session) describe(id string) (status, error) {
	r, err := s.open(id)
	if err != nil || r == nil {
		return status{RunID: id, Phase: phaseUnknown}, err
	}
	told := status{RunID: id, Phase: r.now.Phase, Workflow: r.head.Name, StartedAt: &r.head.StartedAt, Counts: countsOf(r.now.Counts)}
	if r.engine != nil { // this batch has carried it on
		told.Counts = countsOf(r.engine.Counts)
	}
	if !r.now.EndedAt.IsZero() {
		told.EndedAt = &r.now.EndedAt
	}
	v, err := r.store.load(runKey(id), "end", "samples")
	if err != nil {
		return status{}, err
	}
	var kept end
	if err := v.Decode("end", &kept); err != nil {
		return status{}, sdk.Permanent(err)
	}
	if err := v.Decode("samples", &told.Samples); err != nil {
		return status{}, sdk.Permanent(err)
	}
	told.Output, told.Error, told.Reason = kept.Output, kept.Error, kept.Reason
	return told, nil
}

// show answers with the run's tasks as well.
func (s *session) show(q runRequest, _ *sdk.Message) (any, error) {
	told, err := s.describe(q.RunID)
	if err != nil {
		return nil, err
	}
	all := shown{status: told, Tasks: []task{}, Groups: []group{}}
	if told.Phase == phaseUnknown {
		return all, nil
	}
	v, err := s.runs[q.RunID].store.load(logKey(q.RunID))
	if err != nil {
		return nil, err
	}
	for field, text := range v.Fields() {
		if err := all.add(field, text); err != nil {
			return nil, sdk.Permanent(err)
		}
	}
	slices.SortFunc(all.Tasks, func(a, b task) int {
		return cmp.Or(a.StartedAt.Compare(b.StartedAt), natural(a.Pointer, b.Pointer))
	})
	slices.SortFunc(all.Groups, func(a, b group) int { return natural(a.Pointer, b.Pointer) })
	return all, nil
}

func (a *shown) add(field, text string) error {
	switch {
	case field == groupsField:
		groups := map[string]group{}
		if err := json.Unmarshal([]byte(text), &groups); err != nil {
			return err
		}
		for pointer, g := range groups {
			g.Pointer = pointer
			a.Groups = append(a.Groups, g)
		}
	case strings.HasPrefix(field, "/"):
		t := task{}
		if err := json.Unmarshal([]byte(text), &t); err != nil {
			return err
		}
		t.Pointer = field
		a.Tasks = append(a.Tasks, t)
	}
	return nil
}

// natural compares pointers so that 9 comes before 10.
func natural(a, b string) int {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	return slices.CompareFunc(x, y, func(a, b string) int {
		if a != "" && b != "" && a[0] <= '9' && b[0] <= '9' {
			return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
		}
		return cmp.Compare(a, b)
	})
}

// sweep removes what an ended run no longer needs.
func (s *session) sweep(q runRequest, _ *sdk.Message) (any, error) {
	r, err := s.ofStart(q)
	if r == nil || err != nil {
		return nil, err
	}
	v, err := r.store.load(runKey(r.id))
	if err != nil {
		return nil, err
	}
	for field := range v.Fields() {
		if loop, ok := engine.LoopOf(field); ok {
			if err := r.store.RemoveLoop(loop); err != nil {
				return nil, err
			}
		}
		if strings.Contains(field, ":") {
			v.Remove(field)
		}
	}
	return nil, r.store.remove(dataKey(r.id))
}

// forget removes an ended run.
func (s *session) forget(q runRequest, _ *sdk.Message) (any, error) {
	r, err := s.ofStart(q)
	if r == nil || err != nil {
		return nil, err
	}
	r.now = current{}
	for _, key := range []string{runKey(r.id), definitionKey(r.id), dataKey(r.id), logKey(r.id)} {
		if err := r.store.remove(key); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// ofStart gives the run if it is still the one that the request is about, and has
// ended.
func (s *session) ofStart(q runRequest) (*run, error) {
	r, err := s.open(q.RunID)
	if r == nil || err != nil || r.now.Phase == engine.Running || !r.head.StartedAt.Equal(time.Unix(0, q.Started)) {
		return nil, err
	}
	return r, nil
}
