package delivery

import (
	"strconv"
	"time"
)

// Types of audit events.
const (
	AuditReceived     = "received"
	AuditStarted      = "started"
	AuditRetried      = "retried"
	AuditSucceeded    = "succeeded"
	AuditDeadLettered = "deadlettered"
	AuditDropped      = "dropped"
	AuditReclaimed    = "reclaimed"
	AuditLost         = "lost"
	AuditTrimmed      = "trimmed"   // dead letters, by REDIS_STREAM_MAXLEN
	AuditReplayed     = "replayed"  // handed out again by a group that was made again
	AuditRequeued     = "requeued"  // a dead letter, by an operator
	AuditDiscarded    = "discarded" // a dead letter, by an operator
)

// AuditEvent is one entry of `audit:events`.
type AuditEvent struct {
	At                                                   time.Time
	Type, Role, Stream, ID, Host, Plugin, Outcome, Error string
	Attempt                                              int
}

// Fields are the entry's fields.
func (e AuditEvent) Fields() []string {
	return []string{
		"time", formatTime(e.At), "type", e.Type, "role", e.Role, "stream", e.Stream, "id", e.ID,
		"attempt", strconv.Itoa(e.Attempt), "host", e.Host, "plugin", e.Plugin, "outcome", e.Outcome, "error", e.Error,
	}
}

// Span is one entry of `audit:spans`, with the fields of an OpenTelemetry span.
type Span struct {
	Trace, ID, Parent string // hex, as in a traceparent
	Name, Status      string
	Start             time.Time
	Duration          time.Duration
	Attributes        []string // names and values in turn
}

// Fields are the entry's fields.
func (s Span) Fields() []string {
	return append([]string{
		"traceid", s.Trace, "spanid", s.ID, "parentid", s.Parent, "name", s.Name,
		"start", formatTime(s.Start), "duration_us", strconv.FormatInt(s.Duration.Microseconds(), 10), "status", s.Status,
	}, s.Attributes...)
}

// StatsBuckets are the upper bounds, in milliseconds, of the latency buckets in
// a minute's counts; a slower message counts in `le_inf`.
var StatsBuckets = []int64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000}

// StatsBucket is the name of a latency's bucket field in a minute's counts.
func StatsBucket(latency time.Duration) string {
	for _, ms := range StatsBuckets {
		if latency <= time.Duration(ms)*time.Millisecond {
			return "le_" + strconv.FormatInt(ms, 10)
		}
	}
	return "le_inf"
}
