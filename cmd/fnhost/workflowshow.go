package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
)

// A shownRun is what role orchestrator answers about a run.
type shownRun struct {
	RunID     string     `json:"run_id"`
	Phase     string     `json:"phase"`
	Workflow  string     `json:"workflow"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   *time.Time `json:"ended_at"`
	Counts    struct {
		Total, Done, Failed, Pending, Running int
	} `json:"counts"`
	Error *struct {
		Title    string `json:"title"`
		Detail   string `json:"detail"`
		Instance string `json:"instance"`
	} `json:"error"`
	Reason string `json:"reason"`
	// Tasks are the calls outside of large loops; Groups all, by their place in
	// the definition.
	Tasks []struct {
		Pointer   string     `json:"pointer"`
		Call      string     `json:"call"`
		State     string     `json:"state"`
		Attempts  int        `json:"attempts"`
		StartedAt time.Time  `json:"started_at"`
		EndedAt   *time.Time `json:"ended_at"`
		Error     string     `json:"error"`
	} `json:"tasks"`
	Groups []struct {
		Pointer    string    `json:"pointer"`
		Call       string    `json:"call"`
		Dispatched int       `json:"dispatched"`
		Done       int       `json:"done"`
		Failed     int       `json:"failed"`
		StartedAt  time.Time `json:"started_at"`
		LastAt     time.Time `json:"last_at"`
	} `json:"groups"`
}

const unknownPhase = "unknown"

func (a *app) workflowShow(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "the id of a run"); err != nil {
		return err
	}
	return a.withRedis(func(ctx context.Context, s *session) error {
		ctx, cancel := s.within(ctx, answerTime)
		defer cancel()
		id := c.Args().First()
		answer, err := s.askOrchestrator(ctx, "workflow.show", map[string]string{"run_id": id})
		if errors.Is(err, context.DeadlineExceeded) {
			return fail(exitTimeout, "is a host running that serves it? 'fnhost check orchestrator' says", "run %s: %w", id, err)
		}
		if err != nil {
			return err
		}
		var run shownRun
		if err := json.Unmarshal([]byte(answer), &run); err != nil {
			return fmt.Errorf("the answer to workflow.show is not what role orchestrator promises: %w", err)
		}
		if run.Phase == unknownPhase {
			return fail(exitNotFound, "'fnhost tail orchestrator:results' has the runs of late", "there is no run %q, or it was long ago", id)
		}
		if s.print.Format == render.JSON {
			return render.One(s.print, nil, json.RawMessage(answer))
		}
		return s.printRun(&run)
	})(c)
}

// askOrchestrator asks and gives the answer's data. The role has no results
// stream for answers; they go to its own commands, where they mean nothing to it.
func (s *session) askOrchestrator(ctx context.Context, kind string, data any) (answer string, err error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	sub := s.first("orchestrator")
	sub.Results = sub.Stream
	task := call.Task{Type: kind, ReplyTo: sub.Stream, Data: encoded, ContentType: "application/json"}
	err = call.Do(ctx, s.streams, sub, []call.Task{task}, func(_ int, _ call.Published, r call.Result) error {
		answer = r.Data
		return r.Err()
	})
	return answer, err
}

func (s *session) printRun(run *shownRun) error {
	took := time.Since(run.StartedAt)
	if run.EndedAt != nil {
		took = run.EndedAt.Sub(run.StartedAt)
	}
	n := run.Counts
	fmt.Fprintf(s.stdout, "%s  %s  %s  %d done, %d failed, %d running, %d pending of %d  %s\n",
		render.Printable(run.RunID), render.Printable(run.Workflow), run.Phase, n.Done, n.Failed, n.Running, n.Pending, n.Total, round(took))
	if run.Error != nil {
		fmt.Fprintln(s.stdout, render.Printable(fmt.Sprintf("%s: %s (at %s)", run.Error.Title, run.Error.Detail, run.Error.Instance)))
	}
	if run.Reason != "" {
		fmt.Fprintln(s.stdout, render.Printable(run.Reason))
	}
	return render.List(s.print, treeColumns, run.tree(), "no task has been begun")
}

// A branch is a row of the tree: a task of the definition, or one run of it.
type branch struct {
	Task, Call, State, Attempts, Started, Took, Error string
}

var treeColumns = []render.Column[branch]{
	{Key: "task", Cell: func(b branch) string { return b.Task }},
	{Key: "call", Cell: func(b branch) string { return b.Call }},
	{Key: "state", Cell: func(b branch) string { return b.State }},
	{Key: "attempts", Cell: func(b branch) string { return b.Attempts }, Right: true},
	{Key: "started", Cell: func(b branch) string { return b.Started }},
	{Key: "took", Cell: func(b branch) string { return b.Took }, Right: true},
	{Key: "error", Cell: func(b branch) string { return b.Error }, Width: 60, Wrap: true},
}

// tree gives the definition's tasks in their order, each call with its runs.
func (run *shownRun) tree() (rows []branch) {
	var above []string
	for _, g := range run.Groups {
		names := taskNames(g.Pointer)
		for depth := range names[:len(names)-1] {
			if depth >= len(above) || above[depth] != names[depth] {
				rows = append(rows, branch{Task: indent(depth) + names[depth]})
			}
		}
		above = names
		state := fmt.Sprintf("%d done", g.Done)
		if g.Failed > 0 {
			state += fmt.Sprintf(", %d failed", g.Failed)
		}
		if n := g.Dispatched - g.Done - g.Failed; n > 0 {
			state += fmt.Sprintf(", %d running", n)
		}
		depth := len(names) - 1
		rows = append(rows, branch{Task: indent(depth) + names[depth], Call: g.Call, State: state, Started: clock(g.StartedAt), Took: round(g.LastAt.Sub(g.StartedAt))})
		rows = append(rows, run.instances(g.Pointer, depth+1)...)
	}
	return rows
}

// instances are the runs of a call in loops; a call outside of any has one, which
// its own row shows but for the attempts and the error.
func (run *shownRun) instances(pointer string, depth int) (rows []branch) {
	for _, t := range run.Tasks {
		if iteration.ReplaceAllString(t.Pointer, "") != pointer {
			continue
		}
		b := branch{Task: indent(depth) + indexes(t.Pointer), State: t.State, Started: clock(t.StartedAt), Error: t.Error}
		if t.Attempts > 0 {
			b.Attempts = strconv.Itoa(t.Attempts)
		}
		if t.EndedAt != nil {
			b.Took = round(t.EndedAt.Sub(t.StartedAt))
		}
		rows = append(rows, b)
	}
	return rows
}

// iteration is the part of an instance's path that the definition does not have.
var iteration = regexp.MustCompile(`/for/\d+`)

// taskNames are the names in a pointer as /do/0/ingest/do/0/put, which is never
// empty.
func taskNames(pointer string) (names []string) {
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i := 2; i < len(tokens); i += 3 {
		names = append(names, strings.NewReplacer("~1", "/", "~0", "~").Replace(tokens[i]))
	}
	if names == nil {
		return []string{pointer}
	}
	return names
}

// indexes are those of the iterations that an instance is in.
func indexes(path string) string {
	var text strings.Builder
	for _, found := range iteration.FindAllString(path, -1) {
		text.WriteString("[" + strings.TrimPrefix(found, "/for/") + "]")
	}
	if text.Len() == 0 {
		return "-"
	}
	return text.String()
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }

func round(d time.Duration) string { return d.Round(time.Millisecond).String() }
