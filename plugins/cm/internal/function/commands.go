package function

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/plugins/cm/internal/campaign"
	"github.com/fnhost/fnhost/plugins/cm/internal/contract"
	"github.com/fnhost/fnhost/sdk"
)

// unknown is the status of a campaign that there is not.
const unknown campaign.Status = "unknown"

// start takes a campaign, or says what it is already. A campaign whose workflow
// was refused may be started again: nothing of it has run.
func start(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	s, problems := contract.ReadStart(m.Data, m.ID)
	if len(problems) > 0 {
		return reject(m, s.ID, &contract.Error{Status: contract.StatusInvalid, Title: "the campaign is not valid"}, problems)
	}
	r, err := load(ctx, s.ID)
	switch {
	case err != nil:
		return nil, err
	case r.Campaign == nil || r.Status == campaign.Rejected:
		return accept(r, s, m)
	case r.Hash == s.Hash:
		return sdk.Result(r.View(time.Now()))
	}
	return reject(m, s.ID, &contract.Error{
		Status: contract.StatusConflict, Title: "the campaign id is taken",
		Detail: fmt.Sprintf("campaign %s (%q, %s) has other content; give another campaign_id, or the content of then to have its status", s.ID, r.Name, r.Status),
	}, nil)
}

func accept(r *record, s contract.Start, m *sdk.Message) (*sdk.Reply, error) {
	r.Campaign = campaign.New(s, cmp.Or(m.Attribute("correlationid"), m.ID), timeOf(m))
	reply, err := sdk.Result(r.View(timeOf(m)))
	if err != nil {
		return nil, err
	}
	if err := r.order(reply, contract.TypeWorkflowStart, contract.WorkflowStart{RunID: s.ID, Workflow: s.Workflow, Input: s.Input}); err != nil {
		return nil, err
	}
	return reply, r.save(reply, []campaign.Event{r.AcceptedEvent()})
}

// reject answers a start that changes nothing, and tells of it.
func reject(m *sdk.Message, id string, failure *contract.Error, problems []contract.Problem) (*sdk.Reply, error) {
	reply, err := refuse(id, campaign.Rejected, failure, problems)
	if err != nil {
		return nil, err
	}
	return reply, tell(reply, id, cmp.Or(m.Attribute("correlationid"), m.ID), campaign.RejectedEvent(id, failure, problems))
}

// refuse answers a command that changes nothing.
func refuse(id string, status campaign.Status, failure *contract.Error, problems []contract.Problem) (*sdk.Reply, error) {
	return sdk.Result(campaign.View{ID: id, Status: status, Error: failure, Errors: problems})
}

// cancel has role orchestrator end the workflow. The campaign is cancelled when
// that says so.
func cancel(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	c, problems := contract.ReadCancel(m.Data)
	if len(problems) > 0 {
		return refuse(c.ID, unknown, &contract.Error{Status: contract.StatusInvalid, Title: "the command is not valid"}, problems)
	}
	r, err := load(ctx, c.ID)
	switch {
	case err != nil:
		return nil, err
	case r.Campaign == nil:
		return notFound(c.ID)
	case !r.Cancel():
		view := r.View(time.Now())
		view.Error = &contract.Error{
			Status: contract.StatusConflict, Title: "the campaign has ended",
			Detail: fmt.Sprintf("campaign %s is %s since %s; there is nothing to cancel", r.ID, r.Status, *view.EndedAt),
		}
		return sdk.Result(view)
	}
	reply, err := sdk.Result(r.View(time.Now()))
	if err != nil {
		return nil, err
	}
	if err := r.order(reply, contract.TypeWorkflowCancel, contract.WorkflowCancel{RunID: r.ID, Reason: c.Reason}); err != nil {
		return nil, err
	}
	return reply, r.save(reply, nil)
}

func status(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	id, problems := contract.ReadStatus(m.Data)
	if len(problems) > 0 {
		return refuse(id, unknown, &contract.Error{Status: contract.StatusInvalid, Title: "the command is not valid"}, problems)
	}
	r, err := load(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case r.Campaign == nil:
		return notFound(id)
	}
	return sdk.Result(r.View(time.Now()))
}

func notFound(id string) (*sdk.Reply, error) {
	return refuse(id, unknown, &contract.Error{
		Status: contract.StatusNotFound, Title: "there is no such campaign", Detail: fmt.Sprintf("no campaign has the id %q", id),
	}, nil)
}
