// Package campaign starts and watches campaigns of role cm, as a program that is
// no function does: by commands on its stream, and the events that follow.
package campaign

import (
	"encoding/json"
	"fmt"
	"strings"
)

// A Campaign is what campaign.start takes.
type Campaign struct {
	ID       string            `json:"campaign_id"`
	Name     string            `json:"name"`
	Workflow Workflow          `json:"workflow"`
	Input    json.RawMessage   `json:"input,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// A Workflow is a definition: the text of one, or the object. One is set.
type Workflow struct {
	YAML   string          `json:"yaml,omitempty"`
	Inline json.RawMessage `json:"inline,omitempty"`
}

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

// The ends of a campaign.
const (
	Succeeded = "succeeded"
	Partial   = "partial" // with tasks that failed and were tolerated
	Failed    = "failed"
	Cancelled = "cancelled"
	Rejected  = "rejected"
)

// A Problem is one thing that is wrong with a campaign or its workflow.
type Problem struct {
	Pointer string `json:"pointer"`
	Message string `json:"message"`
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

func (e *Error) Error() string {
	text := e.Title
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	if e.Instance != "" {
		text += " (at " + e.Instance + ")"
	}
	return text
}

// A View is a campaign as role cm answers it.
type View struct {
	ID        string            `json:"campaign_id"`
	Name      string            `json:"name"`
	Status    string            `json:"status"`
	Counts    Counts            `json:"counts"`
	Percent   float64           `json:"percent"`
	Rate      float64           `json:"rate_per_s"`
	ETA       *float64          `json:"eta_s"`      // seconds; null: nobody can say
	StartedAt *string           `json:"started_at"` // null: not yet
	EndedAt   *string           `json:"ended_at"`
	Outcome   *Ending           `json:"outcome"`
	Labels    map[string]string `json:"labels,omitempty"`
	Error     *Error            `json:"error,omitempty"` // of a command that changed nothing
	Errors    []Problem         `json:"errors,omitempty"`
}

// Ended says whether the campaign has.
func (v View) Ended() bool { return v.EndedAt != nil }

// An Ending says how a campaign ended.
type Ending struct {
	Error  *Error    `json:"error,omitempty"`
	Errors []Problem `json:"errors,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// An Outcome is what became of a campaign.
type Outcome struct {
	ID         string          `json:"campaign_id"`
	Status     string          `json:"status"`
	Counts     Counts          `json:"counts"`
	DurationMs int64           `json:"duration_ms"`
	Output     json.RawMessage `json:"output"` // of its workflow, if it completed while it was watched; else null
	Errors     []Error         `json:"errors_sample"`
	Reason     string          `json:"reason,omitempty"` // of a cancellation
}

// Err is nil for a campaign that succeeded, or did but for failures that its
// workflow tolerates; else it says what became of it.
func (o *Outcome) Err() error {
	if o.Status == Succeeded || o.Status == Partial {
		return nil
	}
	text := fmt.Sprintf("campaign %s %s", o.ID, o.Status)
	if o.Status == Cancelled {
		text = fmt.Sprintf("campaign %s was cancelled", o.ID)
	}
	for i := range o.Errors {
		text += ": " + o.Errors[i].Error()
	}
	if o.Reason != "" {
		text += ": " + o.Reason
	}
	return fmt.Errorf("%s", text)
}

// A RejectedError is a campaign that nothing ran of.
type RejectedError struct {
	ID     string
	Reason *Error
	Errors []Problem // all that is wrong with it
}

func (e *RejectedError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "campaign %s was rejected", e.ID)
	if e.Reason != nil {
		text.WriteString(": " + e.Reason.Error())
	}
	for _, p := range e.Errors {
		fmt.Fprintf(&text, "\n  %s: %s", orRoot(p.Pointer), p.Message)
	}
	return text.String()
}

func orRoot(pointer string) string {
	if pointer == "" {
		return "/"
	}
	return pointer
}
