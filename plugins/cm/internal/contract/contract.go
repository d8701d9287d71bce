// Package contract is what cm hears and says: the data of its commands and
// events, and of the messages that it exchanges with role orchestrator.
package contract

import "encoding/json"

// Types of the commands.
const (
	TypeStart  = "campaign.start"
	TypeCancel = "campaign.cancel"
	TypeStatus = "campaign.status"
)

// Types of the events.
const (
	TypeAccepted  = "campaign.accepted"
	TypeRejected  = "campaign.rejected"
	TypeStarted   = "campaign.started"
	TypeProgress  = "campaign.progress"
	TypeCompleted = "campaign.completed"
	TypeCancelled = "campaign.cancelled"
)

// Types of what goes to and comes from role orchestrator.
const (
	TypeWorkflowStart        = "workflow.start"
	TypeWorkflowStartResult  = "workflow.start.result"
	TypeWorkflowCancel       = "workflow.cancel"
	TypeWorkflowCancelResult = "workflow.cancel.result"
	TypeWorkflowProgress     = "workflow.progress"
	TypeWorkflowCompleted    = "workflow.completed"
	TypeWorkflowFaulted      = "workflow.faulted"
	TypeWorkflowCancelled    = "workflow.cancelled"
)

// Phases of a run that is none.
const (
	PhaseRejected = "rejected" // role orchestrator refused it
	PhaseUnknown  = "unknown"  // it does not know it
)

// A Problem is one thing that is wrong with a campaign or its workflow.
type Problem struct {
	Pointer string `json:"pointer"` // JSON pointer to it, "" for the whole
	Message string `json:"message"` // what is wrong, and what would be right
}

// An Error says why something was refused or failed. Status is that of the HTTP
// error that means the same.
type Error struct {
	Type     string `json:"type,omitempty"`
	Status   int    `json:"status"`
	Title    string `json:"title"`
	Detail   string `json:"detail,omitempty"`
	Instance string `json:"instance,omitempty"` // JSON pointer to the task at fault
}

// Statuses of errors that cm itself makes.
const (
	StatusInvalid  = 400 // the command
	StatusNotFound = 404
	StatusConflict = 409 // with what the campaign is already
	StatusRefused  = 422 // the workflow, by role orchestrator
	StatusInternal = 500
)

// Counts are the tasks of a campaign by state. Done and Failed have ended.
type Counts struct {
	Total   int `json:"total"`
	Done    int `json:"done"`
	Failed  int `json:"failed"`
	Pending int `json:"pending"`
	Running int `json:"running"`
}

// Ended is the number of tasks that have ended, whichever way.
func (c Counts) Ended() int { return max(0, c.Total-c.Pending-c.Running) }

// A Run is what role orchestrator says about the run of a campaign, whose id is
// the campaign's; each message has some of it.
type Run struct {
	ID     string    `json:"run_id"`
	Phase  string    `json:"phase"`
	Errors []Problem `json:"errors"` // of a refused start

	Counts        // of a progress
	Seq    uint64 `json:"seq"` // rises with each progress

	Final  *Counts         `json:"counts"` // of a run that has ended
	Output json.RawMessage `json:"output"`
	Error  *Error          `json:"error"` // of a fault
	Sample json.RawMessage `json:"errors_sample"`
	Reason string          `json:"reason"` // of a cancellation
}

// WorkflowStart is the data of a workflow.start.
type WorkflowStart struct {
	RunID    string          `json:"run_id"`
	Workflow json.RawMessage `json:"workflow"`
	Input    json.RawMessage `json:"input,omitempty"`
}

// WorkflowCancel is the data of a workflow.cancel.
type WorkflowCancel struct {
	RunID  string `json:"run_id"`
	Reason string `json:"reason,omitempty"`
}
