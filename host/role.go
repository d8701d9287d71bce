package host

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/host/config"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/dispatch"
	"github.com/fnhost/fnhost/host/plugin"
	"github.com/fnhost/fnhost/host/retry"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// cancelGrace is what a handler gets to heed its cancellation before its process
// is killed.
const cancelGrace = 5 * time.Second

// Compile-time proof that the parts fit.
var (
	_ dispatch.Function   = (*plugin.Function)(nil)
	_ dispatch.Quarantine = (*plugin.Quarantine)(nil)
	_ dispatch.Log        = (*stream.Log)(nil)
	_ plugin.Sink         = (*dispatch.Role)(nil)
)

// role is a role of this host: a function, and the dispatcher that works for it
// once Redis is there.
type role struct {
	name     string
	function *plugin.Function
	work     *dispatch.Role // nil until it starts
}

// makeRoles builds the topology from what the plugins say of themselves. A
// plugin whose streams do not fit is left out; the others go on.
func (h *Host) makeRoles() {
	var brought []topology.Role
	for _, f := range h.plugins.Functions() {
		wanted := append(brought[:len(brought):len(brought)], described(f.Description()))
		topo, err := h.cfg.Topology(wanted...)
		if err != nil {
			h.log.Error("a plugin is left out: its streams do not fit", "role", f.Role(), "file", f.File(), "error", err)
			continue
		}
		brought = wanted
		h.topology.Store(topo)
		h.roles = append(h.roles, &role{name: f.Role(), function: f})
	}
	for _, line := range h.cfg.Unplayed(h.topology.Load()) {
		h.log.Warn("fnhost.yaml speaks of a role that no plugin plays", "setting", line)
	}
}

// described is a role as its plugin describes it.
func described(d *fnhostv1.Description) topology.Role {
	r := topology.Role{Name: d.GetRole(), Emits: d.GetEmits()}
	for _, s := range d.GetSubscriptions() {
		r.Subscriptions = append(r.Subscriptions, topology.Subscription{
			Role: d.GetRole(), Stream: s.GetStream(), Group: s.GetGroup(), Results: s.GetResults(),
		})
	}
	return r
}

// policyOf is how the role is run, by fnhost.yaml, the plugin and the environment.
func (h *Host) policyOf(d *fnhostv1.Description) config.RolePolicy {
	wish := config.Described{
		Concurrency: int(d.GetPolicies().GetConcurrency()), Window: int(d.GetPolicies().GetWindow()),
		Timeout: time.Duration(d.GetPolicies().GetTimeoutMs()) * time.Millisecond,
	}
	if p := d.GetPolicies(); p != nil && p.MaxRetries != nil {
		retries := int(p.GetMaxRetries())
		wish.MaxRetries = &retries
	}
	if p := d.GetPolicies(); p != nil && p.RetryBackoffMs != nil {
		backoff := time.Duration(p.GetRetryBackoffMs()) * time.Millisecond
		wish.RetryBackoff = &backoff
	}
	return h.cfg.Policy(d.GetRole(), wish)
}

// start begins to read and work.
func (r *role) start(ctx context.Context, h *Host) {
	played, _ := h.topology.Load().Role(r.name) // makeRoles has put it there
	policy := h.policyOf(r.function.Description())
	metrics := h.metrics.Role(r.name)
	cfg := dispatch.Config{
		Role: r.name, Host: h.consumer, Function: r.function, Quarantine: r.function.Quarantine(), Topology: h.topology.Load, DLQ: played.DLQ,
		Policy: retry.Policy{MaxRetries: policy.MaxRetries, Backoff: policy.RetryBackoff, BackoffMax: policy.RetryBackoffMax},
		Window: policy.Window, Timeout: policy.Timeout, Grace: cancelGrace, Lease: h.cfg.LeaseTTL, MaxLen: h.cfg.StreamMaxLen,
		Batch:    int(r.function.Description().GetPolicies().GetBatch()),
		Observer: observers{metrics}, Logger: h.log,
	}
	if h.audit != nil {
		cfg.Sampled, cfg.AuditMaxLen = h.audit.Sampled, h.cfg.Audit.MaxLen
		cfg.Observer = observers{metrics, h.audit.Role(r.name, h.consumer)}
	}
	observer := h.logObserver(r.name)
	for _, sub := range played.Subscriptions {
		cfg.Subscriptions = append(cfg.Subscriptions, dispatch.Subscription{Subscription: sub, Log: h.logOf(sub, played.DLQ, observer)})
	}
	r.work = dispatch.New(cfg)
	r.function.Attach(r.work)
	metrics.InFlight(r.work.Held)
	metrics.Concurrency(policy.Concurrency)
	r.work.Start(ctx)
}

// logOf is the log of one subscription.
func (h *Host) logOf(sub topology.Subscription, dlq string, observer stream.Observer) *stream.Log {
	return h.redis.Log(sub, stream.LogOptions{
		Owner: h.consumer, Lease: h.cfg.LeaseTTL, DoneTTL: h.cfg.IdempTTL, ShortBlock: h.shortBlock,
		Durability: durabilityOf(h.cfg.Durability), DLQ: dlq, Observer: observer,
	})
}

func (r *role) drain(ctx context.Context) error {
	if r.work == nil {
		return nil
	}
	return r.work.Drain(ctx)
}

func (r *role) stop() {
	if r.work != nil {
		r.work.Stop()
	}
}

// observers are told one after another.
type observers []dispatch.Observer

func (o observers) Received(sub topology.Subscription, entries []delivery.Entry) {
	for _, each := range o {
		each.Received(sub, entries)
	}
}

func (o observers) Reclaimed(d *delivery.Delivery) {
	for _, each := range o {
		each.Reclaimed(d)
	}
}

func (o observers) Started(d *delivery.Delivery) {
	for _, each := range o {
		each.Started(d)
	}
}

func (o observers) Retried(d *delivery.Delivery, outcome delivery.Outcome) {
	for _, each := range o {
		each.Retried(d, outcome)
	}
}

func (o observers) Finished(d *delivery.Delivery, status, reason string, took, latency time.Duration) {
	for _, each := range o {
		each.Finished(d, status, reason, took, latency)
	}
}

func (o observers) Lost(sub topology.Subscription, id string) {
	for _, each := range o {
		each.Lost(sub, id)
	}
}

func (o observers) Stale(d *delivery.Delivery) {
	for _, each := range o {
		each.Stale(d)
	}
}

func (o observers) StoreError(sub topology.Subscription, operation string, err error) {
	for _, each := range o {
		each.StoreError(sub, operation, err)
	}
}
