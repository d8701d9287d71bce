package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/argv"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/config"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

// connectTimeout bounds the wait for Redis of a command that is no host.
const connectTimeout = 5 * time.Second

// A session is one command that speaks to Redis.
type session struct {
	*app
	c       *cli.Context
	cfg     *config.Config
	roles   *topology.Topology
	streams *stream.Client
	print   *render.Printer
}

// withRedis gives the action of a command that speaks to Redis.
func (a *app) withRedis(action func(context.Context, *session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := a.session(c, nil)
		if err != nil {
			return err
		}
		defer s.streams.Close()
		a.warn(c, s.cfg)
		if err := s.reach(c.Context); err != nil {
			return err
		}
		return s.explain(action(c.Context, s))
	}
}

func (a *app) session(c *cli.Context, more map[string]string) (*session, error) {
	cfg, err := a.config(c, more)
	if err != nil {
		return nil, err
	}
	roles, err := cfg.Topology()
	if err != nil {
		return nil, fail(exitInvalid, "'fnhost config show --origin' says where each name comes from", "%w", err)
	}
	streams, err := stream.Open(stream.Options{
		URL: cfg.Redis.URL, Namespace: cfg.Namespace, IdempPrefix: cfg.IdempPrefix, ClientName: "fnhost-cli",
	})
	if err != nil {
		return nil, fail(exitInvalid, "set REDIS_URL, or REDIS_HOST and REDIS_PORT, to one server", "%w", err)
	}
	return &session{app: a, c: c, cfg: cfg, roles: roles, streams: streams, print: a.printer(c)}, nil
}

func (s *session) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return s.explain(s.streams.Ping(ctx))
}

// explain says what to do about an error of Redis.
func (s *session) explain(err error) error {
	_, network := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, stream.ErrUnavailable), network, errors.Is(err, io.EOF):
		hint := fmt.Sprintf("%s is what the settings say; give another REDIS_URL, or start Redis there", s.cfg.Redis.Redacted())
		if !s.cfg.Redis.Given {
			hint = "neither REDIS_URL nor REDIS_HOST is set: give one, or run 'fnhost dev', which brings a Redis of its own and prints its REDIS_URL"
		}
		return fail(exitRedis, hint, "%w", err)
	case errors.Is(err, stream.ErrConfig):
		return fail(exitConfirm, "check the password in REDIS_URL or REDIS_PASSWORD, and what its user may do", "%w", err)
	}
	return err
}

// subscription finds where messages to a role, or to a stream, go. A role that
// only a plugin brings is known by its stream in Redis.
func (s *session) subscription(ctx context.Context, name string) (topology.Subscription, error) {
	stream := s.roles.Stream(name)
	for _, role := range s.roles.Roles() {
		for _, sub := range role.Subscriptions {
			if sub.Stream == stream {
				return sub, nil
			}
		}
	}
	role, isTasks := strings.CutSuffix(stream, ":tasks")
	if !strings.Contains(name, ":") {
		role, isTasks = name, true
	}
	sub := topology.Subscription{Stream: stream}
	if isTasks {
		sub = topology.Default(role).Subscriptions[0]
	}
	there, err := s.exists(ctx, sub.Stream)
	if err != nil || there {
		return sub, err
	}
	return sub, s.noSuchStream(name)
}

// dlq is the dead-letter stream of a role, or the stream of that name.
func (s *session) dlq(ctx context.Context, name string) (string, error) {
	if role, ok := s.roles.Role(name); ok {
		if role.DLQ == "" {
			return "", fail(exitNotFound, "its failures are acked, audited and counted as discarded: see ENABLE_DLQ", "role %s keeps no dead letters", name)
		}
		return role.DLQ, nil
	}
	if !strings.Contains(name, ":") {
		return topology.Default(name).DLQ, s.mustExist(ctx, topology.Default(name).Subscriptions[0].Stream, name)
	}
	return name, nil
}

func (s *session) mustExist(ctx context.Context, stream, name string) error {
	there, err := s.exists(ctx, stream)
	if err == nil && !there {
		err = s.noSuchStream(name)
	}
	return err
}

func (s *session) exists(ctx context.Context, stream string) (bool, error) {
	n, err := s.streams.Commands().Exists(ctx, s.streams.Keys().Stream(stream)).Result()
	if err != nil {
		return false, fmt.Errorf("looking for stream %s: %w", stream, err)
	}
	return n > 0, nil
}

func (s *session) noSuchStream(name string) error {
	hint := "roles: " + strings.Join(s.roleNames(), ", ") + "; a role that a plugin brings has a stream once its host has served"
	if near := argv.Nearest(name, append(s.roleNames(), s.streamNames()...)); near != "" {
		hint = fmt.Sprintf("did you mean %s? (%s)", near, hint)
	}
	return fail(exitNotFound, hint, "there is no role or stream %q in namespace %s", name, s.cfg.Namespace)
}

func (s *session) roleNames() (names []string) {
	for _, role := range s.roles.Roles() {
		names = append(names, role.Name)
	}
	return names
}

func (s *session) streamNames() (names []string) {
	for _, role := range s.roles.Roles() {
		for _, sub := range role.Subscriptions {
			names = append(names, sub.Stream, sub.Results)
		}
		names = append(names, role.DLQ)
	}
	return append(names, topology.AuditEvents, topology.AuditSpans, topology.OpsHealth)
}
