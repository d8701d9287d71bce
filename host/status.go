package host

import (
	"context"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/host/admin"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/ops"
	"github.com/fnhost/fnhost/host/plugin"
	"github.com/fnhost/fnhost/host/telemetry"
	"github.com/fnhost/fnhost/host/topology"
)

// healthEvery is how often the host looks at its roles while one of them does not
// serve, and calmEvery while all do: of a plugin's end it hears at once. It asks
// Redis nothing.
const healthEvery, calmEvery = 200 * time.Millisecond, time.Second

// RoleStatus is how a role does.
type RoleStatus struct {
	Role    string
	Plugin  string // its name
	Version string
	SHA256  string
	File    string
	PID     int // 0: no process is in service
	Streams []string
	State   string // starting, serving, paused, or refused
	Reason  string // why it is not serving, or not all of its messages
	Held    int    // messages held now
}

// Roles tells how each role does, and which plugin files were refused.
func (h *Host) Roles() []RoleStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.plugins == nil {
		return nil
	}
	var all []RoleStatus
	for _, r := range h.roles {
		all = append(all, h.statusOf(r))
	}
	for _, p := range h.plugins.Problems() {
		all = append(all, RoleStatus{File: p.File, State: "refused", Reason: p.Err.Error()})
	}
	return all
}

// Role gives the streams of a role, as the host's topology has them.
func (h *Host) Role(name string) (topology.Role, bool) { return h.topology.Load().Role(name) }

func (h *Host) statusOf(r *role) RoleStatus {
	info := r.function.Info()
	s := RoleStatus{Role: r.name, Plugin: info.Name, Version: info.Version, SHA256: info.SHA256, File: info.File, PID: info.PID}
	if played, ok := h.topology.Load().Role(r.name); ok {
		for _, sub := range played.Subscriptions {
			s.Streams = append(s.Streams, sub.Stream)
		}
	}
	state, reason := h.stateOf(r, info)
	s.State, s.Reason = string(state), reason
	if r.work != nil {
		s.Held = r.work.Held()
		if n := r.work.Suspects(); n > 0 && s.Reason == "" && info.QuarantineError != "" {
			s.Reason = fmt.Sprintf("%d messages that must run alone wait for a process: %s", n, info.QuarantineError)
		}
	}
	return s
}

// stateOf is called with the host's lock held.
func (h *Host) stateOf(r *role, info plugin.Info) (ops.State, string) {
	if r.work == nil {
		return ops.Starting, h.waiting
	}
	if info.State == plugin.StateStarting && info.Restarts == 0 {
		return ops.Starting, "its plugin starts"
	}
	if err := r.work.Trouble(); err != nil {
		reason := err.Error()
		if info.PID == 0 && info.LastError != "" {
			reason += ": " + info.LastError
		}
		return ops.Paused, reason
	}
	return ops.Serving, ""
}

// unready gives the reasons why the host is not ready.
func (h *Host) unready() []admin.Reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting != "" {
		return []admin.Reason{{Part: "host", Reason: h.waiting}}
	}
	var reasons []admin.Reason
	if err := h.monitor.Err(); err != nil {
		reasons = append(reasons, admin.Reason{Part: "redis", Reason: err.Error()})
	}
	if len(h.roles) == 0 {
		reasons = append(reasons, admin.Reason{Part: "plugins", Reason: "no plugin gives a function"})
	}
	for _, r := range h.roles {
		if state, reason := h.stateOf(r, r.function.Info()); state != ops.Serving {
			reasons = append(reasons, admin.Reason{Part: "role " + r.name, Reason: string(state) + ": " + reason})
		}
	}
	return reasons
}

func (h *Host) healthyRoles() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var healthy []string
	for _, r := range h.roles {
		if state, _ := h.stateOf(r, r.function.Info()); state == ops.Serving {
			healthy = append(healthy, r.name)
		}
	}
	return healthy
}

// watchHealth notes changes of the roles' states for ops:health, heartbeats and
// metrics.
func (h *Host) watchHealth(ctx context.Context) {
	next := time.NewTimer(healthEvery)
	defer next.Stop()
	seen := map[string]ops.State{}
	for {
		changed, calm := h.noteStates(seen)
		if changed && h.heartbeats != nil {
			h.heartbeats.Poke()
		}
		if calm {
			next.Reset(calmEvery)
		} else {
			next.Reset(healthEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-h.pluginEnded:
		case <-next.C:
		}
	}
}

// noteStates says whether any role's state has changed, and whether all serve.
func (h *Host) noteStates(seen map[string]ops.State) (changed, calm bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	calm = true
	for _, r := range h.roles {
		info := r.function.Info()
		state, reason := h.stateOf(r, info)
		calm = calm && state == ops.Serving
		if seen[r.name] == state {
			continue
		}
		seen[r.name], changed = state, true
		h.health.Set(r.name, state, reason)
		metrics := h.metrics.Role(r.name)
		metrics.Paused(state != ops.Serving)
		if info.PID == 0 {
			metrics.PluginUp(delivery.Plugin{})
		} else {
			metrics.PluginUp(delivery.Plugin{Name: info.Name, Version: info.Version, SHA256: info.SHA256, PID: info.PID})
		}
	}
	return changed, calm
}

// pluginMetrics tells the metrics what happens to plugins, and the host that one
// has ended.
type pluginMetrics struct {
	metrics *telemetry.Metrics
	ended   chan<- struct{}
}

func (m pluginMetrics) PluginStarted(role string, took time.Duration) {
	m.metrics.Role(role).PluginStarted(took)
}

func (m pluginMetrics) PluginStartFailed(role string) { m.metrics.Role(role).PluginExited("rejected") }

func (m pluginMetrics) PluginExited(role, reason string) {
	m.metrics.Role(role).PluginExited(reason)
	select {
	case m.ended <- struct{}{}:
	default:
	}
}

func (m pluginMetrics) PluginBreach(string, string) {} // logged by the generation
func (m pluginMetrics) PluginOutputSuppressed(string, int) {
	// the log says how many lines were left out
}
