package function

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/engine"
	"github.com/fnhost/fnhost/sdk"
)

// session is one batch of messages.
type session struct {
	*orchestrator
	ctx   context.Context
	now   time.Time
	runs  map[string]*run
	ahead map[string]*ahead // what the batch's answers need, by run
	late  int               // answers that no run waits for
}

// head is what is kept of a run from its start on.
type head struct {
	Hash          string    `json:"hash"`       // of definition and input
	Definition    string    `json:"definition"` // hash of the definition
	Name          string    `json:"name"`
	StartedAt     time.Time `json:"started_at"`
	CorrelationID string    `json:"correlationid"`
	ReplyTo       string    `json:"replyto,omitempty"`
	ReplyKey      string    `json:"replykey,omitempty"`
}

// current is what changes of a run, and is small.
type current struct {
	Phase   engine.Phase  `json:"phase"`
	Counts  engine.Counts `json:"counts"`
	Exports int           `json:"exports,omitempty"`
	Listed  int           `json:"listed,omitempty"` // tasks in the log
	Seq     int           `json:"seq,omitempty"`    // of the last progress
	ToldAt  time.Time     `json:"told_at"`          // when, and how many had ended then
	Told    int           `json:"told,omitempty"`
	EndedAt time.Time     `json:"ended_at,omitzero"`
}

// end is what a run has come to.
type end struct {
	Output json.RawMessage `json:"output,omitempty"`
	Error  *engine.Fault   `json:"error,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// run is a run that the batch is about.
type run struct {
	id     string
	state  *sdk.StateValue
	store  *store
	head   head
	now    current
	engine *engine.Run // nil: it is not carried on in this batch
	reason string      // of a cancellation
}

// aheadOf collects what the answers among the messages will ask for, by run: so
// that a batch waits for its state once.
func aheadOf(messages []*sdk.Message) map[string]*ahead {
	all := map[string]*ahead{}
	for _, m := range messages {
		id, path, ok := taskOf(m)
		if !ok {
			continue
		}
		a := all[id]
		if a == nil {
			a = &ahead{frames: map[string]bool{}}
			all[id] = a
		}
		a.tasks = append(a.tasks, path)
		for _, name := range engine.Frames(path) {
			a.frames[name] = true
		}
	}
	return all
}

// ahead is what answers of one run will ask for.
type ahead struct {
	frames map[string]bool // fields of the run
	tasks  []string
}

func (a *ahead) fields() []string {
	if a == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(a.frames))
}

// keys of what is asked for beside the run.
func (a *ahead) keys(id string) []sdk.StateKey {
	return []sdk.StateKey{
		{Key: dataKey(id), Fields: []string{nothing}},
		{Key: logKey(id), Fields: append([]string{groupsField}, a.tasks...)},
	}
}

// taskOf reads run and instance path from the id of the task that a message
// answers.
func taskOf(m *sdk.Message) (id, path string, ok bool) {
	task := m.Attribute("causationid")
	at := strings.Index(task, ":/")
	if at < 1 {
		return "", "", false
	}
	return task[:at], task[at+1:], true
}

// open loads a run once in a batch, and with it what will be asked for next; nil
// if there is none.
func (s *session) open(id string, next ...sdk.StateKey) (*run, error) {
	r, ok := s.runs[id]
	if !ok {
		r = &run{id: id, store: &store{ctx: s.ctx, id: id, values: s.values}}
		fields := append([]string{"head", "now", "samples", nothing}, s.ahead[id].fields()...)
		values, err := sdk.States(s.ctx, append([]sdk.StateKey{{Key: runKey(id), Fields: fields}}, next...)...)
		if err != nil {
			return nil, fmt.Errorf("loading the run %s: %w", id, err)
		}
		r.state = values[0]
		s.runs[id] = r
		for field, target := range map[string]any{"head": &r.head, "now": &r.now} {
			if err := r.state.Decode(field, target); err != nil {
				return nil, sdk.Permanent(err)
			}
		}
		r.store.epoch = r.head.StartedAt.Format(time.RFC3339Nano)
	}
	if r.now.Phase == "" {
		return nil, nil
	}
	return r, nil
}

// carry makes the run ready to be carried on.
func (s *session) carry(r *run) error {
	if r.engine != nil {
		return nil
	}
	wf, err := s.definitions.get(r.head.Definition, func() ([]byte, error) {
		v, err := r.store.load(definitionKey(r.id), "json")
		if err != nil {
			return nil, err
		}
		text, _ := v.Get("json")
		return []byte(text), nil
	})
	if err != nil {
		return err
	}
	r.engine = &engine.Run{
		ID: r.id, Workflow: wf, StartedAt: r.head.StartedAt, State: r.store,
		Phase: r.now.Phase, Counts: r.now.Counts, Exports: r.now.Exports,
	}
	if err := r.state.Decode("samples", &r.engine.Samples); err != nil {
		return sdk.Permanent(err)
	}
	return nil
}

// answer hands the answer of a call to its run.
func (s *session) answer(m *sdk.Message) error {
	id, path, ok := taskOf(m)
	if !ok {
		s.late++
		return nil
	}
	r, err := s.open(id, s.ahead[id].keys(id)...)
	if err != nil {
		return err
	}
	if r == nil || r.now.Phase != engine.Running {
		s.late++
		return nil
	}
	if err := s.carry(r); err != nil {
		return err
	}
	taken, err := r.engine.Answer(s.ctx, path, answerOf(m))
	if err == nil && !taken {
		s.late++
	}
	r.now.Phase = r.engine.Phase
	return err
}

func answerOf(m *sdk.Message) engine.Answer {
	a := engine.Answer{Status: cmp.Or(m.Attribute("status"), "ok"), Data: m.Data}
	a.Attempt, _ = strconv.Atoi(m.Attribute("attempt")) // for people; 0 if it does not say
	text := m.Attribute("error")
	var said struct{ Type, Message string }
	if json.Unmarshal([]byte(text), &said) == nil {
		a.ErrorType, a.ErrorMessage = said.Type, said.Message
	} else {
		a.ErrorMessage = text
	}
	return a
}

// finish writes what the batch has changed and gives the entries to emit.
func (s *session) finish() (emissions []sdk.Emission, err error) {
	for _, id := range slices.Sorted(maps.Keys(s.runs)) {
		r := s.runs[id]
		if r.engine == nil {
			continue
		}
		more, err := s.save(r)
		if err != nil {
			return nil, err
		}
		emissions = append(emissions, more...)
	}
	if s.late > 0 {
		slog.InfoContext(s.ctx, "answers that no run waits for: late, duplicate, or of a run that has ended or is gone", "answers", s.late)
	}
	return emissions, nil
}

// save writes a run that was carried on.
func (s *session) save(r *run) ([]sdk.Emission, error) {
	e := r.engine
	if err := e.Flush(); err != nil {
		return nil, err
	}
	r.now.Phase, r.now.Counts, r.now.Exports = e.Phase, e.Counts, e.Exports
	if err := s.log(r); err != nil {
		return nil, err
	}
	out := &outgoing{}
	for _, leaf := range e.Leaves {
		out.dispatch(r, leaf)
	}
	if e.Phase == engine.Running {
		s.progress(out, r)
	} else if err := s.end(out, r); err != nil {
		return nil, err
	}
	if len(e.Samples) > 0 {
		if err := encode(r.state, "samples", e.Samples); err != nil {
			return nil, err
		}
	}
	if err := encode(r.state, "now", r.now); err != nil {
		return nil, err
	}
	return out.emissions, out.err
}
