package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

// A subscription is a row of `topology show`.
type subscription struct {
	Role    string   `json:"role"`
	Stream  string   `json:"stream"`
	Group   string   `json:"group"`
	Results string   `json:"results"`
	DLQ     string   `json:"dlq"`
	Emits   []string `json:"emits"`
	Key     string   `json:"key"` // of the stream in Redis
}

var subscriptionColumns = []render.Column[subscription]{
	{Key: "role", Cell: func(s subscription) string { return s.Role }},
	{Key: "stream", Cell: func(s subscription) string { return s.Stream }},
	{Key: "group", Cell: func(s subscription) string { return s.Group }},
	{Key: "results", Cell: func(s subscription) string { return cmp.Or(s.Results, "-") }},
	{Key: "dlq", Cell: func(s subscription) string { return cmp.Or(s.DLQ, "-") }},
	{Key: "emits", Cell: func(s subscription) string { return cmp.Or(strings.Join(s.Emits, " "), "-") }},
}

// A madeGroup is a row of `topology init`.
type madeGroup struct {
	Stream  string `json:"stream"`
	Group   string `json:"group"`
	State   string `json:"state"`   // exists, created, or recreated if it had been lost
	Start   string `json:"start"`   // the entry that a created one begins after
	Skipped int64  `json:"skipped"` // entries that a created one will not read
}

var madeColumns = []render.Column[madeGroup]{
	{Key: "stream", Cell: func(g madeGroup) string { return g.Stream }},
	{Key: "group", Cell: func(g madeGroup) string { return g.Group }},
	{Key: "state", Cell: func(g madeGroup) string { return g.State }},
	{Key: "start", Cell: func(g madeGroup) string { return g.Start }},
	{Key: "skipped", Cell: func(g madeGroup) string { return strconv.FormatInt(g.Skipped, 10) }, Right: true},
}

func (a *app) topologyCommand() *cli.Command {
	return &cli.Command{
		Name: "topology", Usage: "roles, their streams and groups", Category: "operation",
		Subcommands: []*cli.Command{
			{
				Name: "init", Usage: "create every stream and group that is missing", ArgsUsage: "[ROLE...]",
				Description: "Name the roles that only plugins bring, to create theirs too. A group that exists is left as it is.",
				Action:      a.withRedis(topologyInit),
			},
			{
				Name: "show", Usage: "print roles, streams and groups; without Redis", ArgsUsage: "[ROLE...]",
				Action: a.topologyShow,
			},
		},
	}
}

func (a *app) topologyShow(c *cli.Context) error {
	s, err := a.session(c, nil)
	if err != nil {
		return err
	}
	defer s.streams.Close()
	a.warn(c, s.cfg)
	roles, err := s.withRoles(c.Args().Slice())
	if err != nil {
		return err
	}
	var rows []subscription
	for _, role := range roles.Roles() {
		for _, sub := range role.Subscriptions {
			rows = append(rows, subscription{
				role.Name, sub.Stream, sub.Group, sub.Results, role.DLQ, role.Emits, s.streams.Keys().Stream(sub.Stream),
			})
		}
	}
	return render.List(s.print, subscriptionColumns, rows, "")
}

func topologyInit(ctx context.Context, s *session) error {
	roles, err := s.withRoles(s.c.Args().Slice())
	if err != nil {
		return err
	}
	created, err := s.streams.EnsureGroups(ctx, roles.Groups(), s.cfg.GroupStart)
	var rows []madeGroup
	for _, g := range roles.Groups() {
		rows = append(rows, made(g, created))
	}
	if err != nil {
		return err
	}
	for _, c := range created {
		if c.Skipped > 0 || c.Lost {
			s.note(s.c, "fnhost: warning: %s", c)
		}
	}
	return render.List(s.print, madeColumns, rows, "")
}

func made(g topology.Group, created []stream.Created) madeGroup {
	row := madeGroup{Stream: g.Stream, Group: g.Group, State: "exists"}
	if i := slices.IndexFunc(created, func(c stream.Created) bool { return c.Group == g }); i >= 0 {
		row.State, row.Start, row.Skipped = "created", created[i].Start, created[i].Skipped
		if created[i].Lost {
			row.State = "recreated"
		}
	}
	return row
}
