package telemetry

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// Role is the metrics of one role, its series looked up once. It is an observer
// of the role's dispatcher: see dispatch.Observer.
type Role struct {
	name    string
	metrics *Metrics

	received, processed, retries, deadLetters, exits     map[string]prometheus.Counter
	reclaims, lost, stale, starts                        prometheus.Counter
	replayed, recreated, dlqTrimmed, reaped              prometheus.Counter
	dispatch                                             map[string]prometheus.Observer
	queueWait, latency, size, batch, attempts, startTook prometheus.Observer
	up, paused, concurrency                              prometheus.Gauge
}

// Role gives the metrics of a role, always the same, and makes its series on the
// first call.
func (m *Metrics) Role(name string) *Role {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok := m.roles[name]; ok {
		return r
	}
	r := &Role{
		name: name, metrics: m,
		received:    counters(m.received, name, sources),
		processed:   counters(m.processed, name, outcomes),
		retries:     counters(m.retries, name, retryReasons),
		deadLetters: counters(m.deadLetters, name, deadReasons),
		exits:       counters(m.pluginExits, name, exitReasons),
		dispatch:    observers(m.dispatch, name, outcomes),
		reclaims:    m.reclaims.WithLabelValues(name),
		lost:        m.lost.WithLabelValues(name),
		stale:       m.stale.WithLabelValues(name),
		replayed:    m.replayed.WithLabelValues(name),
		recreated:   m.groupsRecreated.WithLabelValues(name),
		dlqTrimmed:  m.dlqTrimmed.WithLabelValues(name),
		reaped:      m.reaped.WithLabelValues(name),
		starts:      m.pluginStarts.WithLabelValues(name),
		queueWait:   m.queueWait.WithLabelValues(name),
		latency:     m.latency.WithLabelValues(name),
		batch:       m.batch.WithLabelValues(name),
		size:        m.size.WithLabelValues(name),
		attempts:    m.attempts.WithLabelValues(name),
		startTook:   m.pluginStartDuration.WithLabelValues(name),
		up:          m.pluginUp.WithLabelValues(name),
		paused:      m.paused.WithLabelValues(name),
		concurrency: m.concurrency.WithLabelValues(name),
	}
	m.inFlight.set(name, func() int { return 0 })
	m.roles[name] = r
	return r
}

func counters(vec *prometheus.CounterVec, role string, values []string) map[string]prometheus.Counter {
	made := map[string]prometheus.Counter{}
	for _, value := range append(slices.Clone(values), other) {
		made[value] = vec.WithLabelValues(role, value)
	}
	return made
}

func observers(vec *prometheus.HistogramVec, role string, values []string) map[string]prometheus.Observer {
	made := map[string]prometheus.Observer{}
	for _, value := range append(slices.Clone(values), other) {
		made[value] = vec.WithLabelValues(role, value)
	}
	return made
}

// Received counts entries read for the first time.
func (r *Role) Received(_ topology.Subscription, entries []delivery.Entry) {
	r.received["new"].Add(float64(len(entries)))
	r.batch.Observe(float64(len(entries)))
	for i := range entries {
		r.size.Observe(float64(entries[i].Bytes()))
	}
}

// Reclaimed counts a message taken over from another owner.
func (r *Role) Reclaimed(d *delivery.Delivery) {
	r.reclaims.Inc()
	r.received["reclaimed"].Inc()
	r.size.Observe(float64(d.Entry.Bytes()))
}

// Started notes how long a message's first run had to wait.
func (r *Role) Started(d *delivery.Delivery) {
	if d.Grant.Attempt <= 1 {
		r.queueWait.Observe(max(0, time.Since(delivery.IDTime(d.Entry.ID))).Seconds())
	}
}

// Retried counts a failed attempt after which the message runs again.
func (r *Role) Retried(_ *delivery.Delivery, outcome delivery.Outcome) {
	reason := "error"
	if slices.Contains(retryReasons, outcome.Error.Type) {
		reason = outcome.Error.Type
	}
	r.retries[reason].Inc()
}

// Finished counts a message that has its outcome. reason is that of a dead
// letter: see delivery.DeadLetter.
func (r *Role) Finished(d *delivery.Delivery, status, reason string, took, latency time.Duration) {
	outcome := known(outcomes, status)
	r.processed[outcome].Inc()
	r.dispatch[outcome].Observe(took.Seconds())
	r.latency.Observe(latency.Seconds())
	r.attempts.Observe(float64(max(1, d.Grant.Attempt)))
	if status == delivery.StatusError || status == delivery.StatusDiscarded {
		r.deadLetters[known(deadReasons, reason)].Inc()
	}
}

// Lost counts a message that was deleted before it had an outcome.
func (r *Role) Lost(topology.Subscription, string) { r.lost.Inc() }

// Stale counts a commit, or a lease, that turned out to be another host's.
func (r *Role) Stale(*delivery.Delivery) { r.stale.Inc() }

// Replayed counts messages that run again after a loss of their group.
func (r *Role) Replayed(messages int) { r.replayed.Add(float64(messages)) }

// GroupRecreated counts a group that was gone and is there again.
func (r *Role) GroupRecreated() { r.recreated.Inc() }

// DeadLettersTrimmed counts dead letters that were dropped for want of room.
func (r *Role) DeadLettersTrimmed(n int64) { r.dlqTrimmed.Add(float64(n)) }

// Trimmed counts entries of an input stream that were removed for their age.
func (r *Role) Trimmed(stream string, n int64) {
	r.metrics.streamTrimmed.WithLabelValues(r.name, stream).Add(float64(n))
}

// Reaped counts consumers of hosts that are gone.
func (r *Role) Reaped(n int64) { r.reaped.Add(float64(n)) }

// FloorAge sets how old the lowest undecided message is while later ones were
// handed out; else 0.
func (r *Role) FloorAge(sub topology.Subscription, age time.Duration) {
	r.metrics.groupFloorAge.WithLabelValues(r.name, sub.Stream, sub.Group).Set(age.Seconds())
}

// StoreError counts an operation on Redis that failed.
func (r *Role) StoreError(_ topology.Subscription, operation string, err error) {
	r.metrics.StoreError(operation, err)
}

// InFlight sets where the number of messages that the host holds for the role is
// read at each scrape. read must not block.
func (r *Role) InFlight(read func() int) { r.metrics.inFlight.set(r.name, read) }

// Concurrency sets how many handlers may run at once.
func (r *Role) Concurrency(handlers int) { r.concurrency.Set(float64(handlers)) }

// Paused says whether the role reads no messages for want of a healthy plugin.
func (r *Role) Paused(paused bool) { r.paused.Set(number(paused)) }

// PluginStarted counts a plugin process, and notes how long it took until it
// could take messages.
func (r *Role) PluginStarted(took time.Duration) {
	r.starts.Inc()
	r.startTook.Observe(took.Seconds())
}

// PluginExited counts the end of a plugin process: `crash`, `unhealthy`, `killed`,
// `suspect` (any of these, while it ran messages alone), `rejected` (it never
// could take messages), `swap` or `shutdown`.
func (r *Role) PluginExited(reason string) { r.exits[known(exitReasons, reason)].Inc() }

// PluginUp says which plugin serves the role now; none if p is empty.
func (r *Role) PluginUp(p delivery.Plugin) {
	r.metrics.pluginInfo.DeletePartialMatch(prometheus.Labels{"role": r.name})
	r.up.Set(number(p.Name != ""))
	if p.Name != "" {
		r.metrics.pluginInfo.WithLabelValues(r.name, p.Name, p.Version, p.SHA256[:min(12, len(p.SHA256))]).Set(1)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
