// Package host puts the parts of a function host together. It holds no policy:
// what a message goes through is in dispatch and stream, what a plugin goes
// through is in plugin.
package host

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/config"
	"github.com/fnhost/fnhost/host/lifecycle"
	"github.com/fnhost/fnhost/host/ops"
	"github.com/fnhost/fnhost/host/plugin"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/telemetry"
	"github.com/fnhost/fnhost/host/topology"
)

// Options are what a host is told besides its settings.
type Options struct {
	Version string       // of the host, for plugins and metrics
	Logger  *slog.Logger // default slog.Default()
	// PluginFiles are plugins outside the plugin directory. If there are any and
	// the directory's setting is empty, no directory is read.
	PluginFiles []string
}

// Host is a function host. It is started once.
type Host struct {
	cfg      *config.Config
	options  Options
	log      *slog.Logger
	consumer string // our name in every group, fresh at every start

	redis      *stream.Client
	metrics    *telemetry.Metrics
	probes     *admin.Server
	audit      *ops.Audit // nil: off
	health     *ops.Health
	heartbeats *ops.Heartbeats // nil: off
	monitor    *ops.Monitor
	topology   atomic.Pointer[topology.Topology]

	plugins *plugin.Set
	serving sync.WaitGroup // the goroutines of the host itself

	shortBlock bool // see prepareRedis
	cancel     context.CancelCauseFunc
	fatal      chan error    // what ended the host by itself
	loaded     chan struct{} // closed when every plugin has been tried

	pluginEnded chan struct{} // some plugin has

	mu      sync.Mutex
	roles   []*role
	started []lifecycle.Part
	waiting string // why the host as a whole does not serve; empty: it serves
}

// New checks the settings and gives a host that is not started. It connects to
// nothing yet.
func New(cfg *config.Config, options Options) (*Host, error) {
	if err := cfg.Refusal(); err != nil {
		return nil, err
	}
	h := &Host{cfg: cfg, options: options, log: cmp.Or(options.Logger, slog.Default()), fatal: make(chan error, 1), loaded: make(chan struct{}), waiting: "the host is starting"}
	h.consumer, h.pluginEnded = consumerName(), make(chan struct{}, 1)
	topo, err := cfg.Topology()
	if err != nil {
		return nil, err
	}
	h.topology.Store(topo)
	h.redis, err = stream.Open(stream.Options{
		URL: cfg.Redis.URL, Namespace: cfg.Namespace, IdempPrefix: cfg.IdempPrefix, ClientName: "fnhost",
	})
	if err != nil {
		return nil, err
	}
	h.metrics = telemetry.New(options.Version)
	h.makeParts()
	return h, nil
}

// consumerName is `host:incarnation`: never the same twice, so that nobody
// mistakes an earlier life's messages for its own.
func consumerName() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "host"
	}
	name = strings.Map(func(r rune) rune {
		if r == '|' || r == ':' || r <= ' ' || r > '~' {
			return '-'
		}
		return r
	}, name)
	incarnation := make([]byte, 6)
	_, _ = rand.Read(incarnation) // never fails
	return name + ":" + hex.EncodeToString(incarnation)
}

// makeParts makes the parts that live as long as the host does.
func (h *Host) makeParts() {
	commands, keys := h.redis.Commands(), h.redis.Keys()
	if h.cfg.Audit.Enabled {
		h.audit = ops.NewAudit(commands, keys, ops.AuditConfig{Sample: h.cfg.Audit.Sample, MaxLen: h.cfg.Audit.MaxLen}, h.log)
		h.metrics.AuditDropped(h.audit.Dropped)
	}
	if h.cfg.Heartbeat.Enabled {
		h.heartbeats = ops.NewHeartbeats(commands, keys, ops.HeartbeatConfig{
			Consumer: h.consumer, TTL: h.cfg.Heartbeat.TTL, Interval: h.cfg.Heartbeat.Interval,
			Healthy: h.healthyRoles, Report: h.metrics.Heartbeat,
		})
	}
	h.health = ops.NewHealth(commands, keys, h.consumer, h.log)
	h.monitor = ops.NewMonitor(commands, keys, h.topology.Load, h.metrics)
	if h.cfg.MetricsAddr != "" {
		h.probes = admin.NewServer("FNHOST_METRICS_ADDR", h.cfg.MetricsAddr, admin.Probes(h.metrics.Handler(), h.unready), h.log)
	}
}

// Start starts the plugins and begins to serve. It returns when the plugins have
// been tried and Redis is being connected to, which it waits for as long as it
// takes; readiness says when the host serves. The host lives until Stop.
func (h *Host) Start(ctx context.Context) error {
	if h.probes != nil {
		if err := h.start(ctx, h.probes); err != nil {
			return err
		}
	}
	h.log.Info("starting plugins", "directory", h.cfg.PluginDir, "consumer", h.consumer)
	plugins, err := plugin.Load(ctx, h.pluginOptions())
	if err != nil {
		h.Stop()
		return err
	}
	if len(plugins.Functions()) == 0 {
		h.log.Warn("no plugin gives a function; nothing is served", "directory", h.cfg.PluginDir, "refused", len(plugins.Problems()))
	}
	h.mu.Lock()
	h.plugins = plugins
	h.makeRoles()
	h.mu.Unlock()
	close(h.loaded)
	serveCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	h.cancel = cancel
	h.serving.Go(func() {
		if err := h.serve(serveCtx); err != nil && serveCtx.Err() == nil {
			h.fatal <- err
		}
	})
	h.serving.Go(func() { h.watchHealth(serveCtx) })
	return nil
}

// start starts a part and notes it for Stop.
func (h *Host) start(ctx context.Context, part lifecycle.Part) error {
	if err := part.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.started = append(h.started, part)
	return nil
}

// serve waits for Redis, makes every group, and then starts the readers.
func (h *Host) serve(ctx context.Context) error {
	if err := h.awaitRedis(ctx); err != nil {
		return err
	}
	parts := []lifecycle.Part{h.health, h.monitor}
	if h.audit != nil {
		parts = append(parts, h.audit)
	}
	if h.heartbeats != nil {
		parts = append(parts, h.heartbeats)
	}
	for _, part := range parts {
		if err := h.start(ctx, part); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, r := range h.roles {
		r.start(ctx, h)
	}
	h.serving.Go(func() { h.promote(ctx) })
	h.serving.Go(func() { h.tidy(ctx) })
	h.waiting = ""
	h.log.Info("serving", "roles", len(h.roles), "redis", h.redis.String(), "namespace", h.cfg.Namespace)
	return nil
}

// Run starts the host, serves until ctx ends, and then drains and stops it. It
// gives an error if the host could not start, or ended by itself.
func (h *Host) Run(ctx context.Context) error {
	if err := h.Start(ctx); err != nil {
		return err
	}
	var err error
	select {
	case <-ctx.Done():
		h.log.Info("stopping: finishing what runs, handing back the rest")
	case err = <-h.fatal:
	}
	drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.DrainTimeout)
	defer cancel()
	if drainErr := h.Drain(drainCtx); drainErr != nil {
		h.log.Warn("drain", "error", drainErr)
	}
	h.Stop()
	return err
}

// Drain stops reading and waits for what runs, until ctx ends; then what is left
// is cancelled, uncharged. What has not started is handed back at once.
func (h *Host) Drain(ctx context.Context) error {
	if h.cancel != nil {
		h.cancel(lifecycle.ErrStop) // no role starts any more
	}
	h.serving.Wait()
	h.mu.Lock()
	roles := h.roles
	h.waiting = "the host stops"
	h.mu.Unlock()
	errs := make([]error, len(roles))
	var drains sync.WaitGroup
	for i, r := range roles {
		h.health.Set(r.name, ops.Draining, "the host stops")
		drains.Go(func() { errs[i] = r.drain(ctx) })
	}
	drains.Wait()
	return errors.Join(errs...)
}

// stopTimeout bounds what plugins get to end by themselves.
const stopTimeout = 10 * time.Second

// Stop ends the host. Drain first, or what runs is left to its leases.
//
//  1. no new role starts, nothing is waited for any more
//  2. the readers and settlers end
//  3. the plugins end, with what they still had
//  4. heartbeats are removed, health and audit are written out, the servers close
//  5. the connections to Redis close
func (h *Host) Stop() {
	if h.cancel != nil {
		h.cancel(lifecycle.ErrStop)
	}
	h.serving.Wait()
	for _, r := range h.roles {
		r.stop()
		h.health.Set(r.name, ops.Stopped, "the host stops")
	}
	if h.plugins != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := h.plugins.Stop(ctx); err != nil {
			h.log.Warn("stopping the plugins", "error", err)
		}
	}
	h.mu.Lock()
	started := h.started
	h.started = nil
	h.mu.Unlock()
	lifecycle.StopAll(started...)
	if err := h.redis.Close(); err != nil {
		h.log.Debug("closing the connections to Redis", "error", err)
	}
}

// Loaded is closed when every plugin has been tried, and [Host.Roles] tells of
// all of them.
func (h *Host) Loaded() <-chan struct{} { return h.loaded }

// MetricsAddr is where metrics and probes are served; empty if they are off.
func (h *Host) MetricsAddr() string {
	if h.probes == nil {
		return ""
	}
	return h.probes.Addr()
}

// wait notes what the host waits for before it serves.
func (h *Host) wait(reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = reason
}

// pluginOptions hand the settings on to the plugins.
func (h *Host) pluginOptions() plugin.Options {
	return plugin.Options{
		Dir: h.cfg.PluginDir, Files: h.options.PluginFiles, StateDir: h.cfg.StateDir, HostVersion: h.options.Version,
		Concurrency: h.cfg.Concurrency, Logger: h.log, Observer: pluginMetrics{h.metrics, h.pluginEnded},
		Role: func(role string) plugin.RoleOptions {
			said := h.cfg.Roles[role]
			options := plugin.RoleOptions{Settings: said.Plugin.Settings, SHA256: said.Plugin.SHA256}
			if said.Concurrency != nil {
				options.Concurrency = *said.Concurrency
			}
			for name, value := range said.Plugin.Env {
				options.Env = append(options.Env, fmt.Sprintf("%s=%s", name, value))
			}
			return options
		},
	}
}
