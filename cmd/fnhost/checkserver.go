package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/host/ops"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

// serverRows check the server itself: what its user may do, whether it evicts
// keys, and whether it can give the durability that the settings ask for.
func serverRows(ctx context.Context, s *session, roles *topology.Topology) ([]ops.Row, error) {
	permissions, err := permissionsRow(ctx, s, roles)
	if err != nil {
		return nil, err
	}
	info, err := s.streams.Info(ctx)
	if err != nil {
		return nil, err
	}
	rows := []ops.Row{permissions, evictionRow(info)}
	durability := stream.Durability{Replicas: s.cfg.Durability.Replicas, AOF: s.cfg.Durability.Mode == "waitaof"}
	if durability == (stream.Durability{}) {
		return rows, nil
	}
	row := ops.Row{Check: "durability", Subject: "redis", Status: ops.OK, Detail: s.cfg.Durability.String() + " can be given"}
	switch lacking, err := s.streams.CheckDurability(ctx, durability); {
	case errors.Is(err, stream.ErrConfig):
		row.Status, row.Detail, row.Hint = ops.Critical, err.Error(), "no host starts with this setting"
	case err != nil:
		return nil, err
	case lacking > 0:
		row.Status, row.Detail, row.Hint = ops.Critical, fmt.Sprintf("%d replicas are missing", lacking), "commits wait for them: bring the replicas back"
	}
	return append(rows, row), nil
}

func permissionsRow(ctx context.Context, s *session, roles *topology.Topology) (ops.Row, error) {
	row := ops.Row{Check: "permissions", Subject: "redis", Status: ops.OK, Detail: "the user may do all that messages need"}
	err := s.streams.Probe(ctx, roles)
	if _, missing := errors.AsType[*stream.PermissionError](err); missing {
		row.Status, row.Detail, row.Hint = ops.Critical, err.Error(), "no host starts with this user"
		err = nil
	}
	return row, err
}

func evictionRow(info stream.Info) ops.Row {
	row := ops.Row{Check: "eviction", Subject: "redis", Status: ops.OK, Detail: "maxmemory-policy " + info.MaxMemoryPolicy}
	if info.MaxMemoryPolicy == "" {
		row.Detail = "redis does not tell its maxmemory-policy; it should be noeviction"
	}
	for _, warning := range info.Warnings {
		row.Status, row.Detail, row.Hint = ops.Warn, warning, "CONFIG SET maxmemory-policy noeviction, or the setting of your provider"
	}
	return row
}
