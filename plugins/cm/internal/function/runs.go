package function

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/plugins/cm/internal/campaign"
	"github.com/fnhost/fnhost/plugins/cm/internal/contract"
	"github.com/fnhost/fnhost/sdk"
)

// step is what a message of role orchestrator does to its campaign.
type step func(c *campaign.Campaign, run *contract.Run, at time.Time) []campaign.Event

// follow makes a handler of a step. What is about a campaign that there is not
// is dropped.
func follow(take step) sdk.Handler {
	return sdk.HandlerFunc(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		run, err := readRun(m)
		if err != nil {
			return nil, sdk.Permanent(err)
		}
		r, err := load(ctx, run.ID)
		if err != nil {
			return nil, err
		}
		if r.Campaign == nil {
			return nil, sdk.Drop(fmt.Sprintf("%s is about campaign %q, which there is not", m.Type, run.ID))
		}
		reply := &sdk.Reply{}
		return reply, r.save(reply, take(r.Campaign, run, timeOf(m)))
	})
}

// readRun reads what role orchestrator says. The result of a command that
// failed has an error in place of data.
func readRun(m *sdk.Message) (*contract.Run, error) {
	run := &contract.Run{}
	if len(m.Data) > 0 {
		if err := json.Unmarshal(m.Data, run); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", m.Type, err)
		}
	}
	if s := m.Attribute("status"); s == "error" || s == "dropped" {
		run.Error = failureOf(m)
	}
	if run.ID = cmp.Or(run.ID, m.PartitionKey); run.ID == "" {
		return nil, errNoKey
	}
	return run, nil
}

// failureOf reads the error of a result.
func failureOf(m *sdk.Message) *contract.Error {
	var failure struct{ Type, Message string }
	if json.Unmarshal([]byte(m.Attribute("error")), &failure) != nil {
		failure.Message = m.Attribute("error")
	}
	return &contract.Error{
		Type: failure.Type, Status: contract.StatusInternal, Title: "the orchestrator failed on the command", Detail: failure.Message,
	}
}

func startResult(c *campaign.Campaign, run *contract.Run, at time.Time) []campaign.Event {
	switch {
	case run.Error != nil:
		return c.Faulted(run, at)
	case run.Phase == contract.PhaseRejected:
		return c.Refused(run.Errors, at)
	}
	return c.Started(at)
}

// cancelResult hears that a cancellation could not be done: the run is gone, and
// with it what the campaign could still become. That it could is told by the
// workflow's end.
func cancelResult(c *campaign.Campaign, run *contract.Run, at time.Time) []campaign.Event {
	switch {
	case run.Error != nil:
		run.Reason = run.Error.Detail
	case run.Phase == contract.PhaseUnknown:
		run.Reason = "the orchestrator has no such run any more"
	default:
		return nil
	}
	return c.Cancelled(run, at)
}
