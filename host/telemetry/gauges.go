package telemetry

import (
	"strings"
	"time"
)

// StoreError counts an operation on Redis that failed; a nil error counts nothing.
func (m *Metrics) StoreError(op string, err error) {
	if err != nil {
		m.redisErrors.WithLabelValues(known(storeOps, strings.ReplaceAll(op, " ", "_"))).Inc()
	}
}

// Heartbeat notes a try to write heartbeats: see ops.HeartbeatConfig.
func (m *Metrics) Heartbeat(err error) {
	if err != nil {
		m.heartbeats.WithLabelValues("error").Inc()
		m.StoreError("heartbeat", err)
		return
	}
	m.heartbeats.WithLabelValues("ok").Inc()
	m.heartbeatLast.SetToCurrentTime()
}

// Collected notes a look at all groups and streams, and by that whether Redis
// answers. What was seen before stays until it is seen again.
func (m *Metrics) Collected(took time.Duration, err error) {
	m.redisUp.Set(number(err == nil))
	if err != nil {
		m.collectorErrors.Inc()
		return
	}
	m.collectorDuration.Observe(took.Seconds())
}

// Stream sets a stream's length and how many entries were ever added to it. added
// is negative if Redis does not tell.
func (m *Metrics) Stream(role, stream string, entries, added int64) {
	m.streamEntries.WithLabelValues(role, stream).Set(float64(entries))
	if added >= 0 {
		m.streamAdded.set(role, stream, float64(added))
	}
}

// Group sets what a group has read and not acknowledged, and the ages of the
// oldest such entry and of the oldest that it has not read.
func (m *Metrics) Group(role, stream, group string, pending, consumers int64, oldestPending, oldestUndelivered time.Duration) {
	m.groupPending.WithLabelValues(role, stream, group).Set(float64(pending))
	m.groupConsumers.WithLabelValues(role, stream, group).Set(float64(consumers))
	m.groupOldestPending.WithLabelValues(role, stream, group).Set(oldestPending.Seconds())
	m.groupOldestUndelivered.WithLabelValues(role, stream, group).Set(oldestUndelivered.Seconds())
}

// GroupLag sets how many entries the group has not read. While Redis does not
// know, the series is absent: 0 would be a lie.
func (m *Metrics) GroupLag(role, stream, group string, lag int64, known bool) {
	m.groupLagKnown.WithLabelValues(role, stream, group).Set(number(known))
	if known {
		m.groupLag.WithLabelValues(role, stream, group).Set(float64(lag))
	} else {
		m.groupLag.DeleteLabelValues(role, stream, group)
	}
}

// DeadLetters sets the length of a role's dead-letter queue and the age of its
// oldest entry.
func (m *Metrics) DeadLetters(role string, entries int64, oldest time.Duration) {
	m.dlqEntries.WithLabelValues(role).Set(float64(entries))
	m.dlqOldest.WithLabelValues(role).Set(oldest.Seconds())
}
