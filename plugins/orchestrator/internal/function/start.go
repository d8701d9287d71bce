package function

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/engine"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
	"github.com/fnhost/fnhost/sdk"
)

var runID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$`)

// start begins a run. The same id with the same content is the same run; with
// other content it is refused.
func (s *session) start(q startRequest, m *sdk.Message) (any, error) {
	id := q.RunID
	if id == "" {
		id = idOf(m)
	}
	wf, input, problems := s.read(q)
	if !runID.MatchString(id) {
		problems = append(problems, dsl.Problem{Pointer: "/run_id", Message: fmt.Sprintf("%.220q is no id of a run; want up to 200 letters, digits, or . _ : -", id)})
	}
	if len(problems) > 0 {
		return started{RunID: id, Phase: phaseRejected, Errors: problems}, nil
	}
	hash := contentHash(wf, input)
	r, err := s.open(id, sdk.StateKey{Key: definitionKey(id), Fields: []string{nothing}},
		sdk.StateKey{Key: dataKey(id), Fields: []string{nothing}}, sdk.StateKey{Key: logKey(id), Fields: []string{groupsField}})
	if err != nil {
		return nil, err
	}
	if r != nil && r.head.Hash != hash {
		return started{RunID: id, Phase: phaseRejected, Errors: dsl.Problems{{Pointer: "/run_id",
			Message: fmt.Sprintf("the run %s was started at %s with another workflow or input; choose another id", id, r.head.StartedAt.UTC().Format(time.RFC3339))}}}, nil
	}
	if r != nil {
		return started{RunID: id, Phase: r.now.Phase}, nil
	}
	if err := s.begin(s.runs[id], wf, hash, input, m); err != nil {
		return nil, err
	}
	return started{RunID: id, Phase: engine.Running}, nil
}

// idOf makes an id of the message's own: the same whenever it runs.
func idOf(m *sdk.Message) string {
	if runID.MatchString(m.ID) {
		return m.ID
	}
	sum := sha256.Sum256([]byte(m.ID))
	return hex.EncodeToString(sum[:16])
}

func contentHash(wf *dsl.Workflow, input []byte) string {
	sum := sha256.Sum256(bytes.Join([][]byte{wf.JSON, input}, []byte("\n")))
	return hex.EncodeToString(sum[:])
}

// read reads workflow and input. The pointers of problems are the definition's.
func (s *session) read(q startRequest) (*dsl.Workflow, []byte, dsl.Problems) {
	wf, problems := s.workflow(q.Workflow)
	input := []byte("null")
	if len(q.Input) > 0 {
		v, err := jq.Decode(q.Input)
		if err == nil {
			input, err = jq.Encode(v)
		}
		if err != nil {
			problems = append(problems, dsl.Problem{Pointer: "/input", Message: err.Error()})
		}
	}
	return wf, input, problems
}

// workflow reads a definition and checks it, the routes of its calls too.
func (s *session) workflow(from source) (*dsl.Workflow, dsl.Problems) {
	text := []byte(from.YAML)
	if from.YAML == "" {
		text = from.Inline
	}
	if len(text) == 0 || from.YAML != "" && len(from.Inline) > 0 {
		return nil, dsl.Problems{{Pointer: "", Message: "want the definition as an object in workflow.inline, or as a text in workflow.yaml, and not both"}}
	}
	wf, err := dsl.Parse(text)
	if err != nil {
		if problems, ok := errors.AsType[dsl.Problems](err); ok {
			return nil, problems
		}
		return nil, dsl.Problems{{Pointer: "", Message: err.Error()}}
	}
	var problems dsl.Problems
	for _, call := range wf.Calls() {
		if _, ok := s.settings.route(call.Function); !ok {
			prefix, _, _ := strings.Cut(call.Function, ".")
			problems = append(problems, dsl.Problem{Pointer: call.Pointer + "/call", Message: fmt.Sprintf(
				"no role takes the calls %s.*: there are routes for %s; in fnhost.yaml set roles.orchestrator.plugin.settings.routes.%s to the role, and name it in roles.orchestrator.emits",
				prefix, strings.Join(slices.Sorted(maps.Keys(s.settings.routes)), ", "), prefix)})
		}
	}
	return wf, problems
}

// begin starts the engine on a run that is not there yet.
func (s *session) begin(r *run, wf *dsl.Workflow, hash string, input []byte, m *sdk.Message) error {
	sum := sha256.Sum256(wf.JSON)
	r.head = head{
		Hash: hash, Definition: hex.EncodeToString(sum[:]), Name: wf.Namespace + "/" + wf.Name, StartedAt: s.now.UTC(),
		CorrelationID: cmp.Or(m.Attribute("correlationid"), m.ID), ReplyTo: m.Attribute("replyto"), ReplyKey: m.Attribute("replykey"),
	}
	r.now.ToldAt = s.now
	r.store.epoch = r.head.StartedAt.Format(time.RFC3339Nano)
	s.definitions.put(r.head.Definition, wf)
	if err := encode(r.state, "head", r.head); err != nil {
		return err
	}
	if err := r.store.set(definitionKey(r.id), "json", wf.JSON); err != nil {
		return err
	}
	r.engine = &engine.Run{ID: r.id, Workflow: wf, StartedAt: r.head.StartedAt, State: r.store}
	value, err := jq.Decode(input)
	if err != nil {
		return err
	}
	err = r.engine.Start(s.ctx, value)
	r.now.Phase = r.engine.Phase
	return err
}

func (s *session) validate(q validateRequest, _ *sdk.Message) (any, error) {
	_, problems := s.workflow(q.Workflow)
	if problems == nil {
		problems = dsl.Problems{}
	}
	return validated{Valid: len(problems) == 0, Errors: problems}, nil
}

// cancel ends a run. What is outstanding is not waited for.
func (s *session) cancel(q cancelRequest, _ *sdk.Message) (any, error) {
	r, err := s.open(q.RunID)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return started{RunID: q.RunID, Phase: phaseUnknown}, nil
	}
	if r.now.Phase != engine.Running {
		return started{RunID: q.RunID, Phase: r.now.Phase}, nil
	}
	if err := s.carry(r); err != nil {
		return nil, err
	}
	r.engine.Cancel()
	r.now.Phase, r.reason = engine.Cancelled, q.Reason
	return started{RunID: q.RunID, Phase: engine.Cancelled}, nil
}
