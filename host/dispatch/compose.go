package dispatch

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/retry"
	"github.com/fnhost/fnhost/host/topology"
)

// maxAttributeBytes is what all names and values but the data may have: with the
// largest data, a message must fit the wire's limit, which is 1 MiB above it.
const maxAttributeBytes = 512 << 10

// unfit says what is wrong with a message that must not run at all; nil if it may.
func (r *Role) unfit(d *delivery.Delivery, now time.Time) *delivery.Outcome {
	m := &d.Message
	dead := func(reason, kind, format string, args ...any) *delivery.Outcome {
		return &delivery.Outcome{Kind: delivery.KindDead, Reason: reason, Error: delivery.Error{Type: kind, Message: fmt.Sprintf(format, args...)}}
	}
	switch {
	case retry.KilledHosts(d.Grant):
		return dead(delivery.ReasonPoison, "host died", "the host was lost %d times while this message ran alone, after others were lost that held it", retry.MaxLosses)
	case !m.Expiry.IsZero() && now.After(m.Expiry):
		return dead(delivery.ReasonExpired, "expired", "its expirytime %s had passed before it ran", m.Expiry.UTC().Format(time.RFC3339))
	case d.Entry.Bytes()-len(m.Data) > maxAttributeBytes:
		return dead(delivery.ReasonOversize, "oversize", "its attributes are %d bytes; the limit is %d", d.Entry.Bytes()-len(m.Data), maxAttributeBytes)
	case len(m.Data) > delivery.MaxDataBytes:
		return dead(delivery.ReasonOversize, "oversize", "its data is %d bytes; the limit is %d", len(m.Data), delivery.MaxDataBytes)
	case m.ReplyTo != "" && !r.cfg.Topology().MayReply(m.ReplyTo):
		return dead(delivery.ReasonPermanent, "replyto", "replyto %q is no input stream of a role; name it under replies in fnhost.yaml to allow it", m.ReplyTo)
	}
	return nil
}

// checkEmissions says whether the role may write where its function emits to.
func (r *Role) checkEmissions(emissions []delivery.Emission) *delivery.Outcome {
	for _, e := range emissions {
		if _, err := r.cfg.Topology().MayEmit(r.cfg.Role, e.To); err != nil {
			return &delivery.Outcome{Kind: delivery.KindDead, Reason: delivery.ReasonPermanent,
				Error: delivery.Error{Type: "emission", Message: err.Error()}}
		}
	}
	return nil
}

// compose makes the commit of an outcome that ends the message, and names its
// status: ok, error, dropped or discarded.
func (r *Role) compose(d *delivery.Delivery, outcome delivery.Outcome, reply delivery.Reply) (*delivery.Commit, string) {
	now := time.Now()
	c := &delivery.Commit{Held: delivery.Held{ID: d.Entry.ID, Grant: d.Grant}, Latency: now.Sub(delivery.IDTime(d.Entry.ID))}
	result := delivery.Result{Role: r.cfg.Role, At: now}
	status := delivery.StatusOK
	switch outcome.Kind {
	case delivery.KindDone:
		result.Status, result.Data, result.ContentType = status, reply.Result, reply.ContentType
		c.State, c.Cache = reply.State, reply.Cache
	case delivery.KindDrop:
		status = delivery.StatusDropped
		result.Status, result.Reason = status, outcome.Reason
	default:
		status = delivery.StatusError
		result.Status, result.Error = status, outcome.Error
	}
	r.addResult(c, d, result)
	if outcome.Kind == delivery.KindDone {
		r.addEmissions(c, d, reply.Emissions, now)
	}
	if outcome.Kind == delivery.KindDead {
		if r.cfg.DLQ == "" {
			status = delivery.StatusDiscarded
		} else {
			letter := delivery.DeadLetter{Reason: outcome.Reason, Error: outcome.Error, Plugin: reply.Plugin, At: now}
			c.Adds = append(c.Adds, r.add(r.cfg.DLQ, letter.Fields(d)))
		}
	}
	c.Outcome = status
	c.Audit = r.auditEnd(d, status, outcome, reply, now)
	return c, status
}

// addResult adds the one result entry, and its copy to whoever asked for a reply.
func (r *Role) addResult(c *delivery.Commit, d *delivery.Delivery, result delivery.Result) {
	results := r.resultsOf(d.Stream)
	replyTo := d.Message.ReplyTo
	if replyTo != "" && !r.cfg.Topology().MayReply(replyTo) {
		replyTo = ""
	}
	if results == "" && replyTo == "" {
		return
	}
	fields := result.Fields(d)
	if results != "" {
		c.Adds = append(c.Adds, r.add(results, fields))
	}
	if replyTo != "" && replyTo != results {
		c.Adds = append(c.Adds, r.add(replyTo, fields))
	}
}

func (r *Role) resultsOf(stream string) string {
	for _, sub := range r.subs {
		if sub.Stream == stream {
			return sub.Results
		}
	}
	return ""
}

// add trims results and dead letters by length, if that is wanted; never a
// stream that somebody reads in a group.
func (r *Role) add(stream string, fields []string) delivery.Add {
	a := delivery.Add{Stream: stream, Fields: fields}
	if r.cfg.MaxLen > 0 && !r.cfg.Topology().HasGroup(stream) {
		a.MaxLen = r.cfg.MaxLen
	}
	return a
}

// addEmissions adds what the function emits. Ids are made from the message's, so
// that a message that runs twice emits the same ids.
func (r *Role) addEmissions(c *delivery.Commit, d *delivery.Delivery, emissions []delivery.Emission, now time.Time) {
	for i, e := range emissions {
		stream, err := r.cfg.Topology().MayEmit(r.cfg.Role, e.To)
		if err != nil {
			continue // checkEmissions has refused it
		}
		correlation := d.Message.CorrelationID
		if correlation == "" {
			correlation = d.Message.ID
		}
		fields := withDefaults(e.Fields,
			"id", d.Stream+"/"+d.Entry.ID+"/"+strconv.Itoa(i),
			"source", delivery.SourceOf(r.cfg.Role),
			"time", now.UTC().Format(time.RFC3339Nano),
			"correlationid", correlation,
			"causationid", d.Message.ID,
			"traceparent", d.Trace,
		)
		c.Adds = append(c.Adds, delivery.Add{Stream: stream, Fields: fields, NotBefore: e.NotBefore})
	}
}

// withDefaults adds the attributes that fields does not have.
func withDefaults(fields []string, defaults ...string) []string {
	all := make([]string, 0, len(fields)+len(defaults))
	for i := 0; i < len(defaults); i += 2 {
		if defaults[i+1] != "" && !has(fields, defaults[i]) {
			all = append(all, defaults[i], defaults[i+1])
		}
	}
	return append(all, fields...)
}

func has(fields []string, name string) bool {
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == name {
			return true
		}
	}
	return false
}

// trace gives the traceparent of a run: a span of the message's own trace, or of
// a new one if the run is audited.
func (r *Role) trace(d *delivery.Delivery) string {
	parent := d.Message.TraceParent
	if !r.sampled(d) {
		return parent
	}
	if parent == "" {
		return "00-" + randomHex(16) + "-" + randomHex(8) + "-01"
	}
	return parent[:36] + randomHex(8) + parent[52:]
}

func randomHex(n int) string {
	b := make([]byte, 0, 16)
	for len(b) < n {
		v := rand.Uint64() | 1 // never all zero
		for range 8 {
			b, v = append(b, byte(v)), v>>8
		}
	}
	return hex.EncodeToString(b[:n])
}

func (r *Role) sampled(d *delivery.Delivery) bool {
	return r.cfg.Sampled != nil && r.cfg.Sampled(d.Stream, d.Entry.ID)
}

// endTypes are the audit event types by status.
var endTypes = map[string]string{
	delivery.StatusOK:        delivery.AuditSucceeded,
	delivery.StatusError:     delivery.AuditDeadLettered,
	delivery.StatusDiscarded: delivery.AuditDeadLettered,
	delivery.StatusDropped:   delivery.AuditDropped,
}

// auditEnd records the end of a message and the span of its last run, in the
// same commit: the audit never claims what did not happen.
func (r *Role) auditEnd(d *delivery.Delivery, status string, outcome delivery.Outcome, reply delivery.Reply, now time.Time) []delivery.Add {
	if !r.sampled(d) {
		return nil
	}
	event := r.event(d, endTypes[status], now)
	event.Outcome, event.Error, event.Plugin = status, outcome.Error.Message, reply.Plugin.Name
	if status == delivery.StatusDropped {
		event.Error = outcome.Reason
	}
	return append([]delivery.Add{{Stream: topology.AuditEvents, Fields: event.Fields(), MaxLen: r.cfg.AuditMaxLen}}, r.span(d, status, reply, now)...)
}

// auditRetry records a charged failure.
func (r *Role) auditRetry(d *delivery.Delivery, outcome delivery.Outcome) []delivery.Add {
	if !r.sampled(d) {
		return nil
	}
	event := r.event(d, delivery.AuditRetried, time.Now())
	event.Outcome, event.Error = "retry", outcome.Error.Message
	return []delivery.Add{{Stream: topology.AuditEvents, Fields: event.Fields(), MaxLen: r.cfg.AuditMaxLen}}
}

func (r *Role) event(d *delivery.Delivery, kind string, now time.Time) delivery.AuditEvent {
	return delivery.AuditEvent{At: now, Type: kind, Role: r.cfg.Role, Stream: d.Stream, ID: d.Entry.ID, Host: r.cfg.Host, Attempt: d.Grant.Attempt}
}

func (r *Role) span(d *delivery.Delivery, status string, reply delivery.Reply, now time.Time) []delivery.Add {
	if d.Trace == "" {
		return nil
	}
	parent := ""
	if d.Message.TraceParent != "" {
		parent = d.Message.TraceParent[36:52]
	}
	s := delivery.Span{
		Trace: d.Trace[3:35], ID: d.Trace[36:52], Parent: parent,
		Name: "process " + d.Stream, Status: status, Start: now.Add(-reply.Took), Duration: reply.Took,
		Attributes: []string{
			"messaging.system", "redis", "messaging.operation.type", "process",
			"messaging.destination.name", d.Stream, "messaging.message.id", d.Entry.ID,
			"fnhost.role", r.cfg.Role, "fnhost.attempt", strconv.Itoa(d.Grant.Attempt),
			"fnhost.plugin.name", reply.Plugin.Name, "fnhost.plugin.version", reply.Plugin.Version,
		},
	}
	return []delivery.Add{{Stream: topology.AuditSpans, Fields: s.Fields(), MaxLen: r.cfg.AuditMaxLen}}
}
