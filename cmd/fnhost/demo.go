package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/mainjob"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/topology"
)

func demoFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "goroot", Usage: "the Go installation whose texts are read [$GOROOT, or 'go env GOROOT']"},
		&cli.DurationFlag{Name: "timeout", Value: time.Minute, Usage: "of the whole job"},
	}
}

func (a *app) demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "put real text and questions through a running host, as a campaign", Category: "host",
		Description: "A campaign ingests the Go specification, the Go memory model and Newton's Opticks, asks questions about them\nand persists the answers, which are then read back. It may be run again and again.",
		Flags:       demoFlags(),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, "no argument"); err != nil {
				return err
			}
			return a.withRedis(demo)(c)
		},
	}
}

var answerColumns = []render.Column[mainjob.Answer]{
	{Key: "question", Cell: func(a mainjob.Answer) string { return a.Question }, Width: 28, Wrap: true},
	{Key: "answer", Cell: func(a mainjob.Answer) string { return a.Answer }, Width: 64, Wrap: true},
	{Key: "source", Cell: func(a mainjob.Answer) string { return a.Source }, Width: 28, Wrap: true},
	{Key: "score", Cell: func(a mainjob.Answer) string { return strconv.FormatFloat(a.Score, 'f', 2, 64) }, Right: true},
}

func demo(ctx context.Context, s *session) error {
	goroot, err := s.goroot(ctx)
	if err != nil {
		return err
	}
	wait := s.c.Duration("timeout")
	timed, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	job := &mainjob.Job{Campaigns: s.campaigns(), Persist: s.first("persist"), GOROOT: goroot, Progress: s.progress()}
	report, err := job.Run(timed)
	switch {
	case err == nil:
	case errors.Is(err, mainjob.ErrFailed):
		return fail(exitFailed, "'fnhost dlq list rag' and 'fnhost dlq list persist' have what failed", "the job ended: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return fail(exitNotFound, "give --goroot: the folder that 'go env GOROOT' prints on a machine with Go", "the job ended: %w", err)
	case ctx.Err() == nil && timed.Err() != nil: // whatever call the deadline has cut short
		return fail(exitTimeout, "is a host running with all four roles? 'fnhost check cm orchestrator rag persist' says", "the job was not done within %s: %w", wait, err)
	default:
		return fmt.Errorf("the job ended: %w", err)
	}
	s.note(s.c, "campaign %s: %d documents (%d changed, %d new chunks), %d answers, %d of them new or changed, all read back from persist; %s in all",
		report.Campaign, report.Documents, report.Changed, report.Chunks, report.Stored, report.Fresh, report.Took.Round(time.Millisecond))
	ruled := *s.print
	ruled.Ruled = true // the rows have several lines
	return render.List(&ruled, answerColumns, report.Answers, "")
}

func (s *session) first(role string) topology.Subscription {
	r, _ := s.roles.Role(role) // the standard roles are always there
	return r.Subscriptions[0]
}

// goroot is where Go's texts are.
func (s *session) goroot(ctx context.Context) (string, error) {
	for _, said := range []string{s.c.String("goroot"), s.getenv("GOROOT")} {
		if said != "" {
			return said, nil
		}
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if goroot := strings.TrimSpace(string(out)); err == nil && goroot != "" {
		return goroot, nil
	}
	return "", fail(exitNotFound, "install Go, or give --goroot: the folder with doc/go_spec.html", "the texts of the job come with Go, and there is none: go env GOROOT: %v", err)
}
