// Package telemetry is what the host tells Prometheus. This file has every name
// and label; names are API. A role's series appear at 0 with [Metrics.Role], so
// that a first failure counts as an increase.
//
// Label `role` is the role's name and `stream` a stream without the namespace.
// Ids of messages, consumers, error texts and raw keys are never labels.
package telemetry

import (
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "fnhost"

// Values of closed labels. What is not among them counts as `other`.
var (
	sources = []string{"new", "reclaimed"}
	// outcomes are the statuses of a result, and `discarded`: see delivery.Commit.
	outcomes = []string{"ok", "error", "dropped", "discarded"}
	// retryReasons are the error types that the sdk names; a handler's own is `error`.
	retryReasons = []string{"error", "timeout", "panic", "oversize"}
	deadReasons  = []string{"permanent", "exhausted", "poison", "expired", "oversize"}
	exitReasons  = []string{"crash", "unhealthy", "killed", "suspect", "rejected", "swap", "shutdown"}
	storeOps     = []string{"read", "reconcile", "begin", "renew", "commit", "rerun", "hand_back", "reclaim", "heartbeat"}
)

const other = "other"

var (
	secondsBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}
	bytesBuckets   = prometheus.ExponentialBuckets(64, 4, 11) // 64 B to 64 MiB
	countBuckets   = prometheus.ExponentialBuckets(1, 2, 13)  // 1 to 4096
	attemptBuckets = []float64{1, 2, 3, 5, 10}
)

// Metrics is every series of one host, in a registry of its own. Its methods are
// safe for concurrent use and never block.
type Metrics struct {
	registry *prometheus.Registry

	mu    sync.Mutex
	roles map[string]*Role
	// streamAdded is what Redis counts, so its last value is kept and exposed.
	streamAdded *totals

	received, processed, retries, deadLetters           *prometheus.CounterVec
	reclaims, lost, stale                               *prometheus.CounterVec
	replayed, groupsRecreated                           *prometheus.CounterVec
	dlqTrimmed, streamTrimmed, reaped                   *prometheus.CounterVec
	dispatch, queueWait, latency, size, attempts, batch *prometheus.HistogramVec
	concurrency, paused                                 *prometheus.GaugeVec
	inFlight                                            *readings

	streamEntries                                         *prometheus.GaugeVec
	groupLag, groupLagKnown, groupPending, groupConsumers *prometheus.GaugeVec
	groupOldestPending, groupOldestUndelivered            *prometheus.GaugeVec
	groupFloorAge                                         *prometheus.GaugeVec
	dlqEntries, dlqOldest                                 *prometheus.GaugeVec

	pluginInfo, pluginUp      *prometheus.GaugeVec
	pluginStarts, pluginExits *prometheus.CounterVec
	pluginStartDuration       *prometheus.HistogramVec

	redisUp, heartbeatLast  prometheus.Gauge
	redisErrors, heartbeats *prometheus.CounterVec
	collectorErrors         prometheus.Counter
	collectorDuration       prometheus.Histogram
}

// New gives the metrics of a host of that version, with the collectors of the Go
// runtime and of the process.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), roles: map[string]*Role{}}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	f := factory{promauto.With(m.registry)}
	m.messages(f)
	m.streams(f)
	m.plugins(f)
	m.host(f)
	buildInfo(f, version)
	return m
}

func (m *Metrics) messages(f factory) {
	m.received = f.counter("messages_received_total", "Messages read from a group.", "role", "source")
	m.processed = f.counter("messages_processed_total", "Messages that got their outcome.", "role", "outcome")
	m.retries = f.counter("retries_total", "Failed attempts after which a message runs again.", "role", "reason")
	m.deadLetters = f.counter("dead_letters_total", "Messages sent to the dead-letter queue, or discarded where there is none.", "role", "reason")
	m.reclaims = f.counter("reclaims_total", "Messages taken over because nobody renewed their lease.", "role")
	m.lost = f.counter("messages_lost_total", "Messages deleted from their stream before they had an outcome.", "role")
	m.stale = f.counter("stale_grants_total", "Commits and leases that turned out to be another host's by then.", "role")
	m.replayed = f.counter("messages_replayed_total", "Messages that ran again after their group was lost, though most of them were decided.", "role")
	m.dispatch = f.histogram("dispatch_duration_seconds", "Time that the handler took for a message.", secondsBuckets, "role", "outcome")
	m.queueWait = f.histogram("queue_wait_seconds", "Time from a message's entry in its stream to its start.", secondsBuckets, "role")
	m.latency = f.histogram("message_latency_seconds", "Time from a message's entry in its stream to its outcome.", secondsBuckets, "role")
	m.size = f.histogram("message_size_bytes", "Names and values of a message's entry.", bytesBuckets, "role")
	m.attempts = f.histogram("attempts", "Attempts that a message had needed when it got its outcome.", attemptBuckets, "role")
	m.batch = f.histogram("read_batch_messages", "Messages that one read of a group gave.", countBuckets, "role")
	m.concurrency = f.gauge("concurrency_limit", "Handlers that may run at once.", "role")
	m.paused = f.gauge("role_paused", "1 while the role reads no messages because it has no healthy plugin.", "role")
	m.inFlight = newReadings("messages_in_flight", "Messages held by the host, running or waiting.")
	m.registry.MustRegister(m.inFlight)
}

func (m *Metrics) streams(f factory) {
	m.streamEntries = f.gauge("stream_entries", "Entries in the stream.", "role", "stream")
	m.streamAdded = newTotals("stream_added_total", "Entries ever added to the stream.")
	m.registry.MustRegister(m.streamAdded)
	m.groupLag = f.gauge("group_lag_entries", "Entries that the group has not read yet. Absent while Redis does not know.", "role", "stream", "group")
	m.groupLagKnown = f.gauge("group_lag_known", "1 if Redis knows the group's lag.", "role", "stream", "group")
	m.groupPending = f.gauge("group_pending_entries", "Entries that the group has read and not acknowledged.", "role", "stream", "group")
	m.groupConsumers = f.gauge("group_consumers", "Consumers that the group knows.", "role", "stream", "group")
	m.groupOldestPending = f.gauge("group_oldest_pending_age_seconds", "Age of the oldest entry that is read and not acknowledged; 0 if there is none.", "role", "stream", "group")
	m.groupOldestUndelivered = f.gauge("group_oldest_undelivered_age_seconds", "Age of the oldest entry that the group has not read; 0 if there is none.", "role", "stream", "group")
	m.groupFloorAge = f.gauge("group_floor_age_seconds", "Age of the lowest undecided message while later ones were handed out; else 0. Past OPS_IDEMP_TTL, a loss of the group runs decided ones again.", "role", "stream", "group")
	m.groupsRecreated = f.counter("groups_recreated_total", "Consumer groups that were gone and were made again by this host.", "role")
	m.streamTrimmed = f.counter("stream_trimmed_total", "Entries of an input stream removed because they are older than REDIS_TASKS_RETENTION.", "role", "stream")
	m.reaped = f.counter("consumers_reaped_total", "Consumers of hosts that are gone, removed from a group.", "role")
	m.dlqTrimmed = f.counter("dead_letters_trimmed_total", "Dead letters dropped by REDIS_STREAM_MAXLEN.", "role")
	m.dlqEntries = f.gauge("dlq_entries", "Entries in the role's dead-letter queue.", "role")
	m.dlqOldest = f.gauge("dlq_oldest_age_seconds", "Age of the oldest dead letter; 0 if there is none.", "role")
}

func (m *Metrics) plugins(f factory) {
	m.pluginInfo = f.gauge("plugin_info", "1 for the plugin binary that serves the role.", "role", "plugin", "version", "sha256")
	m.pluginUp = f.gauge("plugin_up", "1 while the role has a healthy plugin.", "role")
	m.pluginStarts = f.counter("plugin_starts_total", "Plugin processes started.", "role")
	m.pluginExits = f.counter("plugin_exits_total", "Plugin processes ended.", "role", "reason")
	m.pluginStartDuration = f.histogram("plugin_start_duration_seconds", "Time from starting a plugin process until it could take messages.", secondsBuckets, "role")
}

func (m *Metrics) host(f factory) {
	m.redisUp = f.Factory.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "redis_up", Help: "1 if Redis answered when it was last asked."})
	m.redisErrors = f.counter("redis_errors_total", "Operations on Redis that failed, each try counted.", "op")
	m.heartbeats = f.counter("heartbeats_total", "Heartbeats written.", "result")
	m.heartbeatLast = f.Factory.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "heartbeat_last_success_timestamp_seconds", Help: "When a heartbeat was last written; 0 if never."})
	m.collectorErrors = f.Factory.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "collector_errors_total", Help: "Times that groups and streams could not be looked at."})
	m.collectorDuration = f.Factory.NewHistogram(histogramOpts("collector_duration_seconds", "Time to look at all groups and streams.", secondsBuckets))
	zero(m.redisErrors, append(storeOps, other))
	zero(m.heartbeats, []string{"ok", "error"})
}

func buildInfo(f factory, version string) {
	revision := ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	f.gauge("build_info", "1 for the host's build.", "version", "revision", "goversion").
		WithLabelValues(version, revision, runtime.Version()).Set(1)
}

// AuditDropped exposes how many audit entries were not written, which dropped
// gives at each scrape. It is to be called once.
func (m *Metrics) AuditDropped(dropped func() int64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Name: "audit_dropped_total", Help: "Audit events and spans that were not written.",
	}, func() float64 { return float64(dropped()) }))
}

// Handler serves the metrics, also as OpenMetrics. A scrape that comes while
// another one is under way shares its answer.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, CoalesceGather: true, Timeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	})
}

// Gatherer gives the metrics without HTTP.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }
