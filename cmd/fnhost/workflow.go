package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/campaign"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
)

func (a *app) workflowCommand() *cli.Command {
	return &cli.Command{
		Name: "workflow", Usage: "check workflows, and see what runs", Category: "messages",
		Subcommands: []*cli.Command{
			{
				Name: "validate", Usage: "print everything that is wrong with a workflow, or with that of a campaign", ArgsUsage: "FILE",
				Description: "It needs no Redis. The exit code is 8 if something is wrong.",
				Action:      a.workflowValidate,
			},
			{
				Name: "show", Usage: "print the tasks of a run; that of a campaign has its id", ArgsUsage: "RUN",
				Flags:  []cli.Flag{&cli.DurationFlag{Name: "timeout", Value: answerTime, Usage: "of the wait for the answer of role orchestrator"}},
				Action: a.workflowShow,
			},
		},
	}
}

// A problem is a row of what is wrong with a workflow.
type problem struct {
	Pointer string `json:"pointer"`
	Line    int    `json:"line"` // of the file; 0: unknown
	Message string `json:"message"`
}

var problemColumns = []render.Column[problem]{
	{Key: "line", Cell: func(p problem) string { return dashIfZero(p.Line) }, Right: true},
	{Key: "pointer", Cell: func(p problem) string { return orRoot(p.Pointer) }},
	{Key: "message", Cell: func(p problem) string { return p.Message }, Width: 100, Wrap: true},
}

// A definition is a workflow that is valid.
type definition struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Version   string   `json:"version"`
	Calls     []string `json:"calls"` // the functions, in the order of the definition
}

var definitionColumns = []render.Column[definition]{
	{Key: "namespace", Cell: func(d definition) string { return d.Namespace }},
	{Key: "name", Cell: func(d definition) string { return d.Name }},
	{Key: "version", Cell: func(d definition) string { return d.Version }},
	{Key: "calls", Cell: func(d definition) string { return fmt.Sprint(d.Calls) }},
}

func dashIfZero(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func orRoot(pointer string) string {
	if pointer == "" {
		return "/"
	}
	return pointer
}

func (a *app) workflowValidate(c *cli.Context) error {
	if err := wantArgs(c, 1, 1, "the file of a workflow or a campaign"); err != nil {
		return err
	}
	path := c.Args().First()
	text, inFile, err := campaign.ReadWorkflow(a.path(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(exitNotFound, "give the path of a workflow or a campaign", "%w", err)
	case err != nil:
		return fail(exitInvalid, "see docs/pipeline.md", "%w", err)
	}
	w, err := dsl.Parse(text)
	if problems, ok := errors.AsType[dsl.Problems](err); ok {
		return a.printProblems(c, path, inFile, problems)
	}
	if err != nil {
		return err
	}
	d := definition{Namespace: w.Namespace, Name: w.Name, Version: w.Version, Calls: []string{}}
	for _, call := range w.Calls() {
		d.Calls = append(d.Calls, call.Function)
	}
	return render.One(a.printer(c), definitionColumns, d)
}

func (a *app) printProblems(c *cli.Context, path string, in campaign.Place, problems dsl.Problems) error {
	rows := make([]problem, len(problems))
	for i, p := range problems {
		rows[i] = problem{in.Pointer + p.Pointer, campaign.Line(in.Text, in.Pointer+p.Pointer), p.Message}
	}
	if err := render.List(a.printer(c), problemColumns, rows, ""); err != nil {
		return err
	}
	return fail(exitInvalid, "docs/pipeline.md has what a workflow may have", "%s is not a valid workflow: %d thing(s) to mend", path, len(rows))
}
