package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/ops"
	"github.com/fnhost/fnhost/host/topology"
)

// A checked is a row of `check`: an ops.Row without omissions.
type checked struct {
	Check   string     `json:"check"`
	Subject string     `json:"subject"`
	Status  ops.Status `json:"status"`
	Detail  string     `json:"detail"`
	Hint    string     `json:"hint"`
}

var checkedColumns = []render.Column[checked]{
	{Key: "status", Cell: func(r checked) string { return string(r.Status) }},
	{Key: "check", Cell: func(r checked) string { return r.Check }},
	{Key: "subject", Cell: func(r checked) string { return r.Subject }},
	{Key: "detail", Cell: func(r checked) string { return r.Detail }, Width: 60, Wrap: true},
	{Key: "hint", Cell: func(r checked) string { return r.Hint }, Width: 44, Wrap: true},
}

// Exit codes of `check`, those of Nagios plugins.
const (
	nagiosWarning  = 1
	nagiosCritical = 2
	nagiosUnknown  = 3
)

func (a *app) checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "is all well? the server, groups, pending, lag, dead letters, heartbeats", ArgsUsage: "[ROLE...]", Category: "operation",
		Description: "Exit codes are those of Nagios plugins: 0 ok, 1 warning, 2 critical (so too when Redis cannot be reached), 3 unknown.\nName the roles to check only those, and roles that only a plugin brings.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "problems", Aliases: []string{"p"}, Usage: "print only what is not ok"}},
		Action: func(c *cli.Context) error {
			err := a.withRedis(checkRoles)(c)
			if _, ours := err.(exitStatus); err == nil || ours {
				return err
			}
			f := explain(c.Context, err)
			code := nagiosUnknown
			if f.exit == exitRedis {
				code = nagiosCritical
			}
			f.report(a.stderr, a.printer(c).Format)
			return exitStatus(code)
		},
	}
}

func checkRoles(ctx context.Context, s *session) error {
	roles, err := s.chosenRoles(s.c.Args().Slice())
	if err != nil {
		return err
	}
	limits := ops.DefaultThresholds
	limits.NoHeartbeats = !s.cfg.Heartbeat.Enabled
	rows, err := serverRows(ctx, s, roles)
	if err != nil {
		return err
	}
	more, err := ops.Check(ctx, s.streams.Commands(), s.streams.Keys(), roles, limits)
	if err != nil && ops.Worst(rows) != ops.Critical { // else the rows say why
		return err
	}
	rows = append(rows, more...)
	worst := ops.Worst(rows)
	if s.print.Format == render.Table {
		fmt.Fprintln(s.stdout, headline(worst, rows))
	}
	var shown []checked
	for _, row := range rows {
		if row.Status != ops.OK || !s.c.Bool("problems") {
			shown = append(shown, checked(row))
		}
	}
	if len(shown) > 0 || s.print.Format == render.JSON {
		if err := render.List(s.print, checkedColumns, shown, ""); err != nil {
			return err
		}
	}
	return nagios(worst)
}

func nagios(worst ops.Status) error {
	switch worst {
	case ops.OK:
		return nil
	case ops.Warn:
		return exitStatus(nagiosWarning)
	}
	return exitStatus(nagiosCritical)
}

// headline is the one line that a monitor shows.
func headline(worst ops.Status, rows []ops.Row) string {
	word := map[ops.Status]string{ops.OK: "OK", ops.Warn: "WARNING", ops.Critical: "CRITICAL"}[worst]
	bad := 0
	first := ""
	for _, row := range rows {
		if row.Status == ops.OK {
			continue
		}
		if bad++; row.Status == worst && first == "" {
			first = fmt.Sprintf(": %s %s: %s", row.Check, row.Subject, row.Detail)
		}
	}
	return fmt.Sprintf("FNHOST %s - %d of %d checks not ok%s", word, bad, len(rows), render.Printable(first))
}

// chosenRoles is the topology of the named roles, or without names of all that
// the settings know.
func (s *session) chosenRoles(names []string) (*topology.Topology, error) {
	all, err := s.withRoles(names)
	if err != nil || len(names) == 0 {
		return all, err
	}
	var chosen []topology.Role
	for _, name := range names {
		role, _ := all.Role(name) // withRoles put it there
		chosen = append(chosen, role)
	}
	return topology.New(chosen)
}

// withRoles is the topology of the settings and of the named roles, which a
// plugin may bring.
func (s *session) withRoles(names []string) (*topology.Topology, error) {
	var extra []topology.Role
	for _, name := range names {
		if _, known := s.roles.Role(name); !known {
			extra = append(extra, topology.Role{Name: name})
		}
	}
	roles, err := s.cfg.Topology(extra...)
	if err != nil {
		return nil, usage("name roles, as rag or persist", "%w", err)
	}
	return roles, nil
}
