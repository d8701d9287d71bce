package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/campaign"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
)

// answerTime is how long a command waits for role cm by default.
const answerTime = 30 * time.Second

func (a *app) campaignCommand() *cli.Command {
	timeout := &cli.DurationFlag{Name: "timeout", Value: answerTime, Usage: "of the wait for the answer of role cm"}
	return &cli.Command{
		Name: "campaign", Usage: "start, watch and cancel campaigns of role cm", Category: "messages",
		Subcommands: []*cli.Command{
			{
				Name: "start", Usage: "start the campaign, or the workflow, of a YAML file", ArgsUsage: "FILE",
				Description: "The file has name, workflow (a definition, or 'file: PATH' of one) and input; or it is a workflow itself.\nThe same id with the same content is the same campaign. With --watch the exit code is 0 if it succeeded,\n9 if some of its tasks failed and that was tolerated, 1 if it failed, was rejected or cancelled.",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "input", Usage: "in place of the file's: JSON, or @FILE, or - for standard input"},
					&cli.StringFlag{Name: "id", Usage: "the campaign's id; that of the file, or a fresh one, by default"},
					&cli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "show its progress, and end with its outcome"},
					&cli.DurationFlag{Name: "timeout", Usage: "of the whole; 30s by default, and none with --watch"},
				},
				Action: a.campaignStart,
			},
			{
				Name: "status", Usage: "print how far a campaign is", ArgsUsage: "ID", Flags: []cli.Flag{timeout},
				Action: a.aboutCampaign(func(ctx context.Context, s *session, id string) (campaign.View, error) {
					return s.campaigns().Status(ctx, id)
				}),
			},
			{
				Name: "cancel", Usage: "end a campaign before its end", ArgsUsage: "ID",
				Flags: []cli.Flag{timeout, &cli.StringFlag{Name: "reason", Usage: "why, for those who read it"}},
				Action: a.aboutCampaign(func(ctx context.Context, s *session, id string) (campaign.View, error) {
					return s.campaigns().Cancel(ctx, id, s.c.String("reason"))
				}),
			},
		},
	}
}

func (s *session) campaigns() *campaign.Client {
	return &campaign.Client{Log: s.streams, CM: s.first("cm")}
}

var viewColumns = []render.Column[campaign.View]{
	{Key: "campaign_id", Cell: func(v campaign.View) string { return v.ID }},
	{Key: "name", Cell: func(v campaign.View) string { return v.Name }},
	{Key: "status", Cell: func(v campaign.View) string { return v.Status }},
	{Key: "counts", Cell: func(v campaign.View) string { return counted(v.Counts) }},
	{Key: "percent", Cell: func(v campaign.View) string { return strconv.FormatFloat(v.Percent, 'f', -1, 64) }},
	{Key: "rate_per_s", Cell: func(v campaign.View) string { return strconv.FormatFloat(v.Rate, 'f', -1, 64) }},
	{Key: "started_at", Cell: func(v campaign.View) string { return orDash(v.StartedAt) }},
	{Key: "ended_at", Cell: func(v campaign.View) string { return orDash(v.EndedAt) }},
}

var outcomeColumns = []render.Column[campaign.Outcome]{
	{Key: "campaign_id", Cell: func(o campaign.Outcome) string { return o.ID }},
	{Key: "status", Cell: func(o campaign.Outcome) string { return o.Status }},
	{Key: "counts", Cell: func(o campaign.Outcome) string { return counted(o.Counts) }},
	{Key: "duration_ms", Cell: func(o campaign.Outcome) string { return strconv.FormatInt(o.DurationMs, 10) }},
	{Key: "output", Cell: func(o campaign.Outcome) string { return string(o.Output[:min(len(o.Output), enough)]) }},
}

func counted(c campaign.Counts) string {
	return fmt.Sprintf("%d done, %d failed, %d running, %d pending of %d", c.Done, c.Failed, c.Running, c.Pending, c.Total)
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func (a *app) campaignStart(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "the file of a campaign or a workflow"); err != nil {
		return err
	}
	start, err := a.campaignFile(c) // what is wrong with it does not need Redis
	if err != nil {
		return err
	}
	return a.withRedis(func(ctx context.Context, s *session) error {
		if c.Bool("watch") {
			return s.watchCampaign(ctx, start)
		}
		ctx, cancel := s.within(ctx, answerTime)
		defer cancel()
		v, err := s.campaigns().Start(ctx, start)
		if err != nil {
			return s.campaignFailure(start.ID, err)
		}
		return render.One(s.print, viewColumns, v)
	})(c)
}

func (a *app) campaignFile(c *cli.Context) (campaign.Campaign, error) {
	start, err := campaign.ReadFile(a.path(c.Args().First()))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return start, fail(exitNotFound, "give the path of a campaign or a workflow", "%w", err)
	case err != nil:
		return start, fail(exitInvalid, "see 'fnhost campaign start --help' and docs/pipeline.md", "%w", err)
	}
	if c.IsSet("input") {
		if start.Input, err = a.data(c.String("input")); err == nil {
			err = checkJSON(start.Input)
		}
	}
	if id := c.String("id"); id != "" {
		start.ID = id
	}
	if start.ID == "" {
		start.ID = call.NewID()
	}
	return start, err
}

// path is a path as the user means it.
func (a *app) path(given string) string {
	if filepath.IsAbs(given) {
		return given
	}
	return filepath.Join(a.workdir, given)
}

// within bounds a command by --timeout, or else by a default; 0 is none.
func (s *session) within(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	if s.c.IsSet("timeout") {
		by = s.c.Duration("timeout")
	}
	if by <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, by)
}

func (s *session) watchCampaign(ctx context.Context, start campaign.Campaign) error {
	s.note(s.c, "campaign %s", start.ID)
	ctx, cancel := s.within(ctx, 0)
	defer cancel()
	o, err := s.campaigns().Run(ctx, start, s.progress())
	if err != nil {
		return s.campaignFailure(start.ID, err)
	}
	if err := render.One(s.print, outcomeColumns, *o); err != nil {
		return err
	}
	switch err := o.Err(); {
	case err != nil:
		return fail(exitFailed, fmt.Sprintf("'fnhost workflow show %s' has its tasks", o.ID), "%w", err)
	case o.Status == campaign.Partial:
		return fail(exitPartly, fmt.Sprintf("'fnhost workflow show %s' has its tasks", o.ID), "%d of %d tasks of campaign %s failed, which its workflow tolerates", o.Counts.Failed, o.Counts.Total, o.ID)
	}
	return nil
}

// progress shows a campaign's on stderr.
func (s *session) progress() campaign.Progress {
	switch {
	case s.c.Bool("quiet"):
		return campaign.Quiet()
	case s.stderrTTY:
		return campaign.Bar(s.stderr)
	}
	return campaign.Lines(s.stderr)
}

// campaignFailure says what to do about a campaign that did not come to its end.
func (s *session) campaignFailure(id string, err error) error {
	if rejected, ok := errors.AsType[*campaign.RejectedError](err); ok {
		return fail(exitFailed, "nothing of it has run; mend it and start it again", "%w", rejected)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fail(exitTimeout, fmt.Sprintf("'fnhost campaign status %s' says how far it is; 'fnhost check cm orchestrator' whether a host serves it", id), "campaign %s: %w", id, err)
	}
	return err
}

// aboutCampaign is the action of a command about one campaign.
func (a *app) aboutCampaign(ask func(context.Context, *session, string) (campaign.View, error)) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := wantArgs(c, 1, 1, "the id of a campaign"); err != nil {
			return err
		}
		return a.withRedis(func(ctx context.Context, s *session) error {
			ctx, cancel := s.within(ctx, answerTime)
			defer cancel()
			id := c.Args().First()
			v, err := ask(ctx, s, id)
			if err != nil {
				return s.campaignFailure(id, err)
			}
			return s.printView(v)
		})(c)
	}
}

// printView prints a campaign; one that is not, or is not as the command wants
// it, is an error.
func (s *session) printView(v campaign.View) error {
	if v.Error == nil {
		if err := render.One(s.print, viewColumns, v); err != nil || s.print.Format == render.JSON || v.Outcome == nil {
			return err
		}
		return s.printEnding(*v.Outcome)
	}
	switch v.Error.Status {
	case 404:
		return fail(exitNotFound, "'fnhost tail cm:events' has the campaigns of late", "%w", v.Error)
	case 409:
		return fail(exitConflict, "", "%w", v.Error)
	}
	return fail(exitInvalid, "", "%w", &campaign.RejectedError{ID: v.ID, Reason: v.Error, Errors: v.Errors})
}

// printEnding says why a campaign ended as it did.
func (s *session) printEnding(e campaign.Ending) error {
	if e.Error == nil && e.Reason == "" {
		return nil
	}
	text, err := json.MarshalIndent(e, "", "  ")
	if err == nil {
		_, err = fmt.Fprintln(s.stdout, string(text))
	}
	return err
}
