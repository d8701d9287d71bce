package function

import (
	"encoding/json"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/engine"
)

// Types of messages.
const (
	typeStart    = "workflow.start"
	typeCancel   = "workflow.cancel"
	typeStatus   = "workflow.status"
	typeShow     = "workflow.show"
	typeValidate = "workflow.validate"
	typeDispatch = "task.dispatch"
	typeSweep    = "workflow.sweep"  // to itself: removes what an ended run no longer needs
	typeForget   = "workflow.forget" // to itself, later: removes the run

	typeProgress  = "workflow.progress"
	typeCompleted = "workflow.completed"
	typeFaulted   = "workflow.faulted"
	typeCancelled = "workflow.cancelled"
)

var commandTypes = []string{typeStart, typeCancel, typeStatus, typeShow, typeValidate}

const (
	phaseRejected engine.Phase = "rejected"
	phaseUnknown  engine.Phase = "unknown"
)

// source is a definition, in one of two ways.
type source struct {
	Inline json.RawMessage `json:"inline"` // as a JSON object
	YAML   string          `json:"yaml"`   // as a text
}

type startRequest struct {
	RunID    string          `json:"run_id"`
	Workflow source          `json:"workflow"`
	Input    json.RawMessage `json:"input"`
}

// started is the answer to a start, a cancel and a validate.
type started struct {
	RunID  string       `json:"run_id,omitempty"`
	Phase  engine.Phase `json:"phase"`
	Errors dsl.Problems `json:"errors,omitempty"`
}

type validateRequest struct {
	Workflow source `json:"workflow"`
}

type validated struct {
	Valid  bool         `json:"valid"`
	Errors dsl.Problems `json:"errors"`
}

type cancelRequest struct {
	RunID  string `json:"run_id"`
	Reason string `json:"reason"`
}

type runRequest struct {
	RunID string `json:"run_id"`
	// Started tells runs of the same id apart, for what the function sends itself.
	Started int64 `json:"started,omitempty"`
}

// counts as they are told.
type counts struct {
	Total   int `json:"total"`
	Done    int `json:"done"`
	Failed  int `json:"failed"`
	Pending int `json:"pending"`
	Running int `json:"running"`
}

func countsOf(c engine.Counts) counts {
	return counts{Total: c.Total, Done: c.Done, Failed: c.Failed, Pending: c.Pending(), Running: c.Running}
}

type progress struct {
	RunID string `json:"run_id"`
	counts
	Seq int `json:"seq"`
}

// ended is the data of the event of a run's end, whichever it is.
type ended struct {
	RunID    string         `json:"run_id"`
	Output   any            `json:"output,omitempty"`
	Error    *engine.Fault  `json:"error,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Counts   counts         `json:"counts"`
	Duration int64          `json:"duration_ms"`
	Samples  []engine.Fault `json:"errors_sample,omitempty"` // tolerated ones, the first few
}

type dispatch struct {
	RunID   string          `json:"run_id"`
	TaskID  string          `json:"task_id"`
	Call    string          `json:"call"`
	With    json.RawMessage `json:"with"`
	Pointer string          `json:"pointer"`
}

// status is the answer to workflow.status; show has the tasks as well.
type status struct {
	RunID     string          `json:"run_id"`
	Phase     engine.Phase    `json:"phase"`
	Workflow  string          `json:"workflow,omitempty"`
	StartedAt *time.Time      `json:"started_at,omitempty"`
	EndedAt   *time.Time      `json:"ended_at,omitempty"`
	Counts    counts          `json:"counts"`
	Output    json.RawMessage `json:"output,omitempty"`
	Error     *engine.Fault   `json:"error,omitempty"`
	Reason    string          `json:"reason,omitempty"`
	Samples   []engine.Fault  `json:"errors_sample,omitempty"`
}

type shown struct {
	status
	// Tasks are the calls outside of large loops, the first 1,000. Groups are all
	// calls by their place in the definition.
	Tasks  []task  `json:"tasks"`
	Groups []group `json:"groups"`
}

type task struct {
	Pointer   string     `json:"pointer"` // the instance path
	Call      string     `json:"call"`
	State     string     `json:"state"` // running, done, failed
	Attempts  int        `json:"attempts"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Error     string     `json:"error,omitempty"`
}

type group struct {
	Pointer    string    `json:"pointer"` // in the definition
	Call       string    `json:"call"`
	Dispatched int       `json:"dispatched"`
	Done       int       `json:"done"`
	Failed     int       `json:"failed"`
	StartedAt  time.Time `json:"started_at"`
	LastAt     time.Time `json:"last_at"` // of the last dispatch or answer
}
