// Package function is cm as the host sees it: its message types, and what each
// does to the campaign that it is about.
package function

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/plugins/cm/internal/campaign"
	"github.com/fnhost/fnhost/plugins/cm/internal/contract"
	"github.com/fnhost/fnhost/sdk"
)

// Streams that cm reads and writes.
const (
	commands     = "cm:commands"
	events       = "cm:events"
	orchestrator = "orchestrator"
)

// New gives the function of role cm.
func New(version string) sdk.Function {
	mux := sdk.NewMux()
	mux.HandleFunc(contract.TypeStart, start)
	mux.HandleFunc(contract.TypeCancel, cancel)
	mux.HandleFunc(contract.TypeStatus, status)
	mux.Handle(contract.TypeWorkflowStartResult, follow(startResult))
	mux.Handle(contract.TypeWorkflowCancelResult, follow(cancelResult))
	mux.Handle(contract.TypeWorkflowProgress, follow((*campaign.Campaign).Progress))
	mux.Handle(contract.TypeWorkflowCompleted, follow((*campaign.Campaign).Completed))
	mux.Handle(contract.TypeWorkflowFaulted, follow((*campaign.Campaign).Faulted))
	mux.Handle(contract.TypeWorkflowCancelled, follow((*campaign.Campaign).Cancelled))
	return sdk.Function{
		Name: "cm", Role: "cm", Version: version, Handler: mux.Handler(),
		Subscriptions: []sdk.Subscription{{Stream: commands, Group: "cm-managers", Results: events}},
		Emits:         []string{orchestrator, events},
	}
}

// timeOf is when a message was sent: the same in every run of it.
func timeOf(m *sdk.Message) time.Time {
	if m.Time.IsZero() {
		return time.Now()
	}
	return m.Time
}

// A record is a campaign and the state that it is kept in.
type record struct {
	*campaign.Campaign // nil: there is none
	state              *sdk.StateValue
}

// The one field of a campaign's state.
const field = "campaign"

func load(ctx context.Context, id string) (*record, error) {
	state, err := sdk.State(ctx, "campaign:"+id)
	if err != nil {
		return nil, err
	}
	r := &record{state: state}
	text, there := state.Get(field)
	if !there {
		return r, nil
	}
	if r.Campaign, err = campaign.Decode(id, text); err != nil {
		return nil, sdk.Permanent(fmt.Errorf("decoding the state of campaign %s: %w", id, err))
	}
	return r, nil
}

// save keeps the campaign, and tells the events with the reply.
func (r *record) save(reply *sdk.Reply, told []campaign.Event) error {
	text, err := r.Encode()
	if err != nil {
		return sdk.Permanent(fmt.Errorf("encoding campaign %s: %w", r.ID, err))
	}
	r.state.Set(field, text)
	return tell(reply, r.ID, r.Correlation, told...)
}

func tell(reply *sdk.Reply, id, correlation string, told ...campaign.Event) error {
	for _, e := range told {
		attributes := []sdk.Attribute{{Name: "partitionkey", Value: id}, {Name: "correlationid", Value: correlation}}
		if id == "" { // of a command whose id is not valid
			attributes = attributes[1:]
		}
		if err := emit(reply, events, e.Type, e.Data, attributes...); err != nil {
			return err
		}
	}
	return nil
}

// order sends a command to role orchestrator, which answers to cm.
func (r *record) order(reply *sdk.Reply, messageType string, data any) error {
	return emit(reply, orchestrator, messageType, data,
		sdk.Attribute{Name: "partitionkey", Value: r.ID},
		sdk.Attribute{Name: "replyto", Value: commands},
		sdk.Attribute{Name: "replykey", Value: r.ID},
		sdk.Attribute{Name: "correlationid", Value: r.Correlation})
}

// emit hands on texts as they came: the escapes of HTML that the sdk's own Emit
// makes would have inputs and outputs grow.
func emit(reply *sdk.Reply, to, messageType string, data any, attributes ...sdk.Attribute) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(data); err != nil {
		return sdk.Permanent(fmt.Errorf("encoding %s: %w", messageType, err))
	}
	reply.Emissions = append(reply.Emissions, sdk.Emission{
		To: to, Type: messageType, Attributes: attributes, Data: bytes.TrimSuffix(text.Bytes(), []byte("\n")),
	})
	return nil
}

// errNoKey is for a message of role orchestrator that names no run.
var errNoKey = errors.New("the message has neither a run_id nor a partition key, so it is about no campaign")
