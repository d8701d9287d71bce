// Package ops is what a host says about itself in Redis, and what others read
// there: heartbeats, health changes, minute stats, audit events and spans, and
// the quick checks. Messages never wait for it.
package ops

import (
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// AuditConfig says how much is audited and kept.
type AuditConfig struct {
	Sample float64 // share of messages that are audited, 0 to 1
	MaxLen int64   // about how many entries each audit stream keeps; 0: all
}

// Audit writes audit events and spans in the background. An event may be written
// twice if the connection breaks in between; after a stop it has all that fits in
// five seconds.
type Audit struct {
	*queue
	config AuditConfig
}

// NewAudit gives an audit that is written once it is started.
func NewAudit(client *redis.Client, keys topology.Keys, config AuditConfig, log *slog.Logger) *Audit {
	return &Audit{queue: newQueue(client, keys, log), config: config}
}

// Sampled says whether the message is audited. All hosts and all restarts say the
// same of a message, so its events and spans are kept, or left out, together.
func (a *Audit) Sampled(stream, id string) bool {
	switch {
	case a.config.Sample >= 1:
		return true
	case a.config.Sample <= 0:
		return false
	}
	h := fnv.New64a()
	_, _ = io.WriteString(h, stream+"\x00"+id) // a hash takes all
	return float64(mix(h.Sum64())) < a.config.Sample*math.MaxUint64
}

// mix spreads a hash over all 64 bits: the high ones of FNV differ little between
// texts that differ only at the end, as ids do.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Event writes the event, if its message is sampled.
func (a *Audit) Event(e delivery.AuditEvent) {
	if a.Sampled(e.Stream, e.ID) {
		a.add(entry{topology.AuditEvents, a.config.MaxLen, e})
	}
}

// Span writes the span. Its caller asks Sampled before it makes one.
func (a *Audit) Span(s delivery.Span) {
	a.add(entry{topology.AuditSpans, a.config.MaxLen, s})
}

// Role gives what writes the events of a role's messages on the host with that
// consumer name, as an observer of the role's dispatcher: see dispatch.Observer.
func (a *Audit) Role(role, host string) *RoleAudit {
	return &RoleAudit{audit: a, role: role, host: host}
}

// RoleAudit writes the events up to the start of a message. Those of its retries
// and its end are not its own: they are written with the outcome, in one commit.
type RoleAudit struct {
	audit      *Audit
	role, host string
}

func (r *RoleAudit) event(kind, stream, id string, attempt int) {
	r.audit.Event(delivery.AuditEvent{
		At: time.Now(), Type: kind, Role: r.role, Stream: stream, ID: id, Host: r.host, Attempt: attempt,
	})
}

// Received is told of entries read for the first time.
func (r *RoleAudit) Received(sub topology.Subscription, entries []delivery.Entry) {
	for i := range entries {
		r.event(delivery.AuditReceived, sub.Stream, entries[i].ID, 1)
	}
}

// Reclaimed is told of a message taken over from another owner.
func (r *RoleAudit) Reclaimed(d *delivery.Delivery) {
	r.event(delivery.AuditReclaimed, d.Stream, d.Entry.ID, d.Grant.Attempt)
}

// Started is told of the start of a run.
func (r *RoleAudit) Started(d *delivery.Delivery) {
	r.event(delivery.AuditStarted, d.Stream, d.Entry.ID, d.Grant.Attempt)
}

// Lost is told of an entry that was deleted before it had an outcome. It is
// written whether or not the message is sampled: losses are few and count.
func (r *RoleAudit) Lost(sub topology.Subscription, id string) {
	e := delivery.AuditEvent{At: time.Now(), Type: delivery.AuditLost, Role: r.role, Stream: sub.Stream, ID: id, Host: r.host}
	r.audit.add(entry{topology.AuditEvents, r.audit.config.MaxLen, e})
}

// Replayed is told of messages that run again after their group was lost, though
// most of them were decided.
func (r *RoleAudit) Replayed(sub topology.Subscription, ids []string) {
	for _, id := range ids {
		r.event(delivery.AuditReplayed, sub.Stream, id, 1)
	}
}

// Trimmed is told that n dead letters were dropped because there are too many;
// oldest is the id of the first that is left. It is one event for all of them,
// written whether or not their messages are sampled.
func (r *RoleAudit) Trimmed(dlq string, n int64, oldest string) {
	e := delivery.AuditEvent{
		At: time.Now(), Type: delivery.AuditTrimmed, Role: r.role, Stream: dlq, ID: oldest, Host: r.host,
		Error: fmt.Sprintf("%d dead letters before this one were dropped by REDIS_STREAM_MAXLEN", n),
	}
	r.audit.add(entry{topology.AuditEvents, r.audit.config.MaxLen, e})
}

// Retried writes nothing: see [RoleAudit].
func (r *RoleAudit) Retried(*delivery.Delivery, delivery.Outcome) {}

// Finished writes nothing: see [RoleAudit].
func (r *RoleAudit) Finished(*delivery.Delivery, string, string, time.Duration, time.Duration) {}

// Stale writes nothing: the message's owner writes its events.
func (r *RoleAudit) Stale(*delivery.Delivery) {}

// StoreError writes nothing: it is about no message.
func (r *RoleAudit) StoreError(topology.Subscription, string, error) {}
