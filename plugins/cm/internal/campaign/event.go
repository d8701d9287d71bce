package campaign

import (
	"encoding/json"
	"time"

	"github.com/fnhost/fnhost/plugins/cm/internal/contract"
)

// An Event is something to tell: its type and its data.
type Event struct {
	Type string
	Data any
}

type acceptedEvent struct {
	ID     string            `json:"campaign_id"`
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

type startedEvent struct {
	ID        string            `json:"campaign_id"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitempty"`
	StartedAt string            `json:"started_at"`
}

type progressEvent struct {
	ID string `json:"campaign_id"`
	contract.Counts
	Percent float64  `json:"percent"`
	Rate    float64  `json:"rate_per_s"`
	ETA     *float64 `json:"eta_s"`
	Seq     uint64   `json:"seq"`
}

type rejectedEvent struct {
	ID     string             `json:"campaign_id"`
	Error  *contract.Error    `json:"error"`
	Errors []contract.Problem `json:"errors"`
}

type completedEvent struct {
	ID         string          `json:"campaign_id"`
	Status     Status          `json:"status"`
	Counts     contract.Counts `json:"counts"`
	DurationMs int64           `json:"duration_ms"`
	Output     json.RawMessage `json:"output,omitempty"`
	Errors     json.RawMessage `json:"errors_sample"`
}

type cancelledEvent struct {
	ID         string          `json:"campaign_id"`
	Reason     string          `json:"reason"`
	Counts     contract.Counts `json:"counts"`
	DurationMs int64           `json:"duration_ms"`
}

// AcceptedEvent tells that the campaign is known and its workflow on its way.
func (c *Campaign) AcceptedEvent() Event {
	return Event{contract.TypeAccepted, acceptedEvent{c.ID, c.Name, c.Labels}}
}

// RejectedEvent tells that a command changed nothing, and all that is wrong with it.
func RejectedEvent(id string, failure *contract.Error, problems []contract.Problem) Event {
	if problems == nil {
		problems = []contract.Problem{}
	}
	return Event{contract.TypeRejected, rejectedEvent{id, failure, problems}}
}

func (c *Campaign) endEvent(run *contract.Run) Event {
	took := c.EndedAt - c.StartedAt
	if c.Status == Cancelled {
		return Event{contract.TypeCancelled, cancelledEvent{c.ID, c.Outcome.Reason, c.Counts, took}}
	}
	return Event{contract.TypeCompleted, completedEvent{c.ID, c.Status, c.Counts, took, run.Output, c.sample(run)}}
}

// sample gives the errors that are known: the one that ended the campaign, or
// some of those that were tolerated.
func (c *Campaign) sample(run *contract.Run) json.RawMessage {
	if c.Outcome.Error != nil {
		if text, err := json.Marshal([]*contract.Error{c.Outcome.Error}); err == nil {
			return text
		}
	}
	if run.Sample != nil {
		return run.Sample
	}
	return json.RawMessage("[]")
}

// A View is what campaign.status answers.
type View struct {
	ID        string             `json:"campaign_id"`
	Name      string             `json:"name"`
	Status    Status             `json:"status"`
	Counts    contract.Counts    `json:"counts"`
	Percent   float64            `json:"percent"`
	Rate      float64            `json:"rate_per_s"`
	ETA       *float64           `json:"eta_s"`      // null: nobody can say
	StartedAt *string            `json:"started_at"` // null: not yet
	EndedAt   *string            `json:"ended_at"`
	Outcome   *Outcome           `json:"outcome"`
	Error     *contract.Error    `json:"error,omitempty"` // of a command that changed nothing
	Errors    []contract.Problem `json:"errors,omitempty"`
	Labels    map[string]string  `json:"labels,omitempty"`
}

// View shows the campaign as it is at a time.
func (c *Campaign) View(now time.Time) View {
	rate, eta := c.pace(now.UnixMilli())
	return View{
		ID: c.ID, Name: c.Name, Status: c.Status, Counts: c.Counts, Percent: c.Percent, Rate: rate, ETA: eta,
		StartedAt: stampOrNull(c.StartedAt), EndedAt: stampOrNull(c.EndedAt), Outcome: c.Outcome, Labels: c.Labels,
	}
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

func stampOrNull(ms int64) *string {
	if ms == 0 {
		return nil
	}
	s := stamp(ms)
	return &s
}
