package main

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/ops"
)

// A servedRole is a row of the table that `dev` prints.
type servedRole struct {
	Role    string   `json:"role"`
	Plugin  string   `json:"plugin"`
	Version string   `json:"version"`
	State   string   `json:"state"`
	Streams []string `json:"streams"`
	Reason  string   `json:"reason"` // why it is not serving
	PID     int      `json:"pid"`
	SHA256  string   `json:"sha256"` // of the binary
	File    string   `json:"file"`
}

var servedColumns = []render.Column[servedRole]{
	{Key: "role", Cell: func(r servedRole) string { return cmp.Or(r.Role, "-") }},
	{Key: "plugin", Cell: func(r servedRole) string { return cmp.Or(r.Plugin, filepath.Base(r.File)) }},
	{Key: "version", Cell: func(r servedRole) string { return r.Version }},
	{Key: "state", Cell: func(r servedRole) string { return r.State }},
	{Key: "streams", Cell: func(r servedRole) string { return strings.Join(r.Streams, " ") }},
	{Key: "reason", Cell: func(r servedRole) string { return r.Reason }, Width: 60, Wrap: true},
}

func served(h *host.Host) []servedRole {
	var rows []servedRole
	for _, r := range h.Roles() {
		rows = append(rows, servedRole{r.Role, r.Plugin, r.Version, r.State, r.Streams, r.Reason, r.PID, r.SHA256, r.File})
	}
	return rows
}

// settled says whether nothing is on its way any more, once the plugins have
// been tried.
func settled(rows []servedRole) bool {
	return !slices.ContainsFunc(rows, func(r servedRole) bool { return r.State == string(ops.Starting) })
}

// mustServe is an error unless each role serves.
func mustServe(rows []servedRole, roles ...string) error {
	for _, name := range roles {
		i := slices.IndexFunc(rows, func(r servedRole) bool { return r.Role == name })
		switch {
		case i < 0:
			return fail(exitConflict, "build the plugins with 'make build', and give their directory with --plugins", "no plugin of role %s is there", name)
		case rows[i].State != string(ops.Serving):
			return fail(exitConflict, "the log above says more", "role %s is %s: %s", name, rows[i].State, rows[i].Reason)
		}
	}
	return nil
}
