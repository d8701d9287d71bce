// Package campaign is what a campaign goes through: each step takes what role
// orchestrator says, and gives the events to tell. It is pure; all times are
// those of the messages.
package campaign

import (
	"encoding/json"
	"time"

	"github.com/fnhost/fnhost/plugins/cm/internal/contract"
)

// Status says where a campaign is.
type Status string

// The statuses. The last five are ends.
const (
	Accepted   Status = "accepted"   // handed to role orchestrator
	Running    Status = "running"    // which has started it
	Cancelling Status = "cancelling" // and was asked to end it
	Succeeded  Status = "succeeded"
	Partial    Status = "partial" // completed, with tasks that failed and were tolerated
	Failed     Status = "failed"
	Cancelled  Status = "cancelled"
	Rejected   Status = "rejected" // its workflow is not valid; nothing ran
)

// Ended says whether it is an end.
func (s Status) Ended() bool { return s != Accepted && s != Running && s != Cancelling }

// A Campaign is what is kept of one. Times are in Unix milliseconds, 0 is never.
type Campaign struct {
	ID     string            `json:"-"` // its key has it
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Hash   string            `json:"hash"` // of the content
	// Correlation is the correlation id of all that belongs to the campaign.
	Correlation string `json:"correlation"`

	Status  Status          `json:"status"`
	Counts  contract.Counts `json:"counts"`
	Percent float64         `json:"percent"` // of the tasks that have ended; it never falls
	Seq     uint64          `json:"seq"`     // of the last progress
	Told    told            `json:"told"`
	Window  window          `json:"window,omitempty"`

	AcceptedAt int64 `json:"accepted_at"`
	StartedAt  int64 `json:"started_at"`
	EndedAt    int64 `json:"ended_at"`

	Outcome *Outcome `json:"outcome,omitempty"` // of one that has ended
}

// An Outcome says how a campaign ended.
type Outcome struct {
	Error  *contract.Error    `json:"error,omitempty"`  // of one that failed or was rejected
	Errors []contract.Problem `json:"errors,omitempty"` // of its workflow
	Reason string             `json:"reason,omitempty"` // of its cancellation
}

// told is the progress that was last told.
type told struct {
	At      int64   `json:"at"`
	Percent float64 `json:"percent"`
}

// New gives a campaign that is accepted at a time.
func New(s contract.Start, correlation string, at time.Time) *Campaign {
	return &Campaign{
		ID: s.ID, Name: s.Name, Labels: s.Labels, Hash: s.Hash, Correlation: correlation,
		Status: Accepted, AcceptedAt: at.UnixMilli(),
	}
}

// Started notes that the workflow runs.
func (c *Campaign) Started(at time.Time) []Event {
	if c.StartedAt != 0 || c.Status.Ended() {
		return nil
	}
	c.StartedAt = at.UnixMilli()
	c.Window.add(c.StartedAt, 0)
	if c.Status == Accepted {
		c.Status = Running
	}
	return []Event{{contract.TypeStarted, startedEvent{c.ID, c.Name, c.Labels, stamp(c.StartedAt)}}}
}

// How much has to change until progress is told again: either.
const (
	tellEvery   = int64(time.Second / time.Millisecond)
	tellPercent = 1.0
)

// Progress notes how far the workflow is. What is older than what is known
// already changes nothing.
func (c *Campaign) Progress(run *contract.Run, at time.Time) []Event {
	if c.Status.Ended() || run.Seq <= c.Seq {
		return nil
	}
	events := c.Started(at) // its own message may come later
	now := at.UnixMilli()
	c.Seq = run.Seq
	c.count(run.Counts)
	c.Window.add(now, c.Counts.Ended())
	if c.Told.At != 0 && now-c.Told.At < tellEvery && c.Percent-c.Told.Percent < tellPercent {
		return events
	}
	c.Told = told{now, c.Percent}
	rate, eta := c.pace(now)
	return append(events, Event{contract.TypeProgress, progressEvent{c.ID, c.Counts, c.Percent, rate, eta, c.Seq}})
}

func (c *Campaign) count(n contract.Counts) {
	c.Counts = n
	if n.Total > 0 {
		c.Percent = max(c.Percent, hundredths(100*float64(n.Ended())/float64(n.Total)))
	}
}

// Completed notes that the workflow has come to its end.
func (c *Campaign) Completed(run *contract.Run, at time.Time) []Event {
	status := Succeeded
	if run.Final != nil && run.Final.Failed > 0 {
		status = Partial
	}
	return c.end(status, run, at, Outcome{}, 100)
}

// Faulted notes that the workflow has failed.
func (c *Campaign) Faulted(run *contract.Run, at time.Time) []Event {
	failure := run.Error
	if failure == nil {
		failure = &contract.Error{Status: contract.StatusInternal, Title: "the workflow failed, and does not say why"}
	}
	return c.end(Failed, run, at, Outcome{Error: failure}, c.Percent)
}

// Cancelled notes that the workflow was ended before its end.
func (c *Campaign) Cancelled(run *contract.Run, at time.Time) []Event {
	return c.end(Cancelled, run, at, Outcome{Reason: run.Reason}, c.Percent)
}

// Refused notes that role orchestrator does not take the workflow.
func (c *Campaign) Refused(problems []contract.Problem, at time.Time) []Event {
	if c.Status.Ended() {
		return nil
	}
	failure := &contract.Error{Status: contract.StatusRefused, Title: "the workflow was refused"}
	c.Status, c.EndedAt = Rejected, at.UnixMilli()
	c.Outcome = &Outcome{Error: failure, Errors: problems}
	return []Event{RejectedEvent(c.ID, failure, problems)}
}

// end ends the campaign once.
func (c *Campaign) end(status Status, run *contract.Run, at time.Time, outcome Outcome, percent float64) []Event {
	if c.Status.Ended() {
		return nil
	}
	events := c.Started(at)
	if run.Final != nil {
		c.count(*run.Final)
	}
	c.Status, c.EndedAt, c.Window = status, at.UnixMilli(), nil
	c.Percent = max(c.Percent, percent)
	c.Outcome = &outcome
	return append(events, c.endEvent(run))
}

// Cancel asks for the end. It is false if the campaign has ended already.
func (c *Campaign) Cancel() bool {
	if c.Status.Ended() {
		return false
	}
	c.Status = Cancelling
	return true
}

// Encode gives the campaign as it is kept.
func (c *Campaign) Encode() (string, error) {
	text, err := json.Marshal(c)
	return string(text), err
}

// Decode reads what Encode gave.
func Decode(id, text string) (*Campaign, error) {
	c := &Campaign{ID: id}
	return c, json.Unmarshal([]byte(text), c)
}
