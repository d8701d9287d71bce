package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// A Client speaks to role cm.
type Client struct {
	Log call.Log
	CM  topology.Subscription // of its commands; the events are its results
}

// Start starts a campaign, or finds one that was started with the same id and
// content. The error is a *[RejectedError] if it may not run.
func (c *Client) Start(ctx context.Context, start Campaign) (View, error) {
	v, err := c.command(ctx, "campaign.start", start.ID, start)
	if err == nil && v.Status == Rejected {
		return v, rejected(v)
	}
	return v, err
}

func rejected(v View) error {
	e := &RejectedError{ID: v.ID, Reason: v.Error, Errors: v.Errors}
	if v.Outcome != nil && e.Reason == nil {
		e.Reason, e.Errors = v.Outcome.Error, v.Outcome.Errors
	}
	return e
}

// Status asks for a campaign. What cannot be answered is in the view's Error.
func (c *Client) Status(ctx context.Context, id string) (View, error) {
	return c.command(ctx, "campaign.status", id, map[string]string{"campaign_id": id})
}

// Cancel asks for the end of a campaign; what speaks against it is in the view's
// Error.
func (c *Client) Cancel(ctx context.Context, id, reason string) (View, error) {
	return c.command(ctx, "campaign.cancel", id, map[string]string{"campaign_id": id, "reason": reason})
}

func (c *Client) command(ctx context.Context, kind, id string, data any) (v View, err error) {
	encoded, err := encode(data)
	if err != nil {
		return v, err
	}
	task := call.Task{Type: kind, PartitionKey: id, Data: encoded, ContentType: "application/json"}
	err = call.Do(ctx, c.Log, c.CM, []call.Task{task}, func(_ int, _ call.Published, r call.Result) error {
		if err := r.Err(); err != nil {
			return fmt.Errorf("%s of campaign %s: %w", kind, id, err)
		}
		if err := json.Unmarshal([]byte(r.Data), &v); err != nil {
			return fmt.Errorf("the answer to %s is not what role cm promises: %w", kind, err)
		}
		return nil
	})
	return v, err
}

// Run starts a campaign and watches it to its end.
func (c *Client) Run(ctx context.Context, start Campaign, show Progress) (*Outcome, error) {
	defer show.Stop()
	from, err := c.last(ctx)
	if err != nil {
		return nil, err
	}
	v, err := c.Start(ctx, start)
	switch {
	case err != nil:
		return nil, err
	case v.Ended():
		return ended(v), nil
	}
	return c.watch(ctx, start.ID, from, show)
}

// ended is the outcome of a campaign that had ended before it was watched.
func ended(v View) *Outcome {
	o := &Outcome{ID: v.ID, Status: v.Status, Counts: v.Counts}
	if v.Outcome != nil {
		o.Reason = v.Outcome.Reason
		if v.Outcome.Error != nil {
			o.Errors = []Error{*v.Outcome.Error}
		}
	}
	return o
}

// last is the id of the newest event.
func (c *Client) last(ctx context.Context) (string, error) {
	newest, err := c.Log.RangeBack(ctx, c.CM.Results, "+", "-", 1)
	if err != nil || len(newest) == 0 {
		return "0-0", err
	}
	return newest[0].ID, nil
}

// watch follows the events after an entry to the campaign's end.
func (c *Client) watch(ctx context.Context, id, from string, show Progress) (*Outcome, error) {
	w := watching{id: id, show: show}
	err := c.Log.Tail(ctx, c.CM.Results, from, true, w.take)
	if errors.Is(err, errEnded) {
		return w.outcome, w.err
	}
	if err == nil {
		err = ctx.Err()
	}
	return nil, fmt.Errorf("watching campaign %s on stream %s: %w", id, c.CM.Results, err)
}

// errEnded ends the reading of events.
var errEnded = errors.New("the campaign has ended")

type watching struct {
	id      string
	show    Progress
	outcome *Outcome
	err     error
}

// statusRefused is the error's status of a campaign whose workflow was refused:
// the one rejection that is about a campaign that had been accepted.
const statusRefused = 422

func (w *watching) take(e delivery.Entry) error {
	m := delivery.Read(&e)
	if m.PartitionKey != w.id {
		return nil
	}
	switch m.Type {
	case "campaign.progress":
		var s Snapshot
		if json.Unmarshal([]byte(m.Data), &s) == nil {
			w.show.Update(s)
		}
	case "campaign.rejected":
		var v View
		if json.Unmarshal([]byte(m.Data), &v) == nil && v.Error != nil && v.Error.Status == statusRefused {
			w.err = rejected(v)
			return errEnded
		}
	case "campaign.completed", "campaign.cancelled":
		return w.end(m)
	}
	return nil
}

func (w *watching) end(m delivery.Message) error {
	w.outcome = &Outcome{Status: Cancelled}
	if err := json.Unmarshal([]byte(m.Data), w.outcome); err != nil {
		w.err = fmt.Errorf("%s of campaign %s is not what role cm promises: %w", m.Type, w.id, err)
	}
	return errEnded
}
