package telemetry

import (
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/dispatch"
	"github.com/fnhost/fnhost/host/topology"
)

var _ dispatch.Observer = (*Role)(nil)

// busy gives metrics in which everything has happened once.
func busy() *Metrics {
	m := New("1.2.3")
	r := m.Role("rag")
	var sub topology.Subscription
	d := &delivery.Delivery{Entry: delivery.Entry{ID: "1-0", Fields: []string{"data", "x"}}, Grant: delivery.Grant{Attempt: 1}}
	r.Received(sub, []delivery.Entry{d.Entry})
	r.Started(d)
	r.Retried(d, delivery.Outcome{Error: delivery.Error{Type: "*fs.PathError"}})
	r.Retried(d, delivery.Outcome{Error: delivery.Error{Type: "timeout"}})
	r.Finished(d, "error", "exhausted", time.Second, time.Minute)
	r.Reclaimed(d)
	r.Lost(sub, "1-0")
	r.Replayed(2)
	r.GroupRecreated()
	r.DeadLettersTrimmed(4)
	r.Reaped(5)
	r.Trimmed("rag:tasks", 6)
	r.FloorAge(topology.Subscription{Role: "rag", Stream: "rag:tasks", Group: "rag-workers"}, 7*time.Second)
	r.Stale(d)
	r.StoreError(sub, "hand back", errors.New("refused"))
	r.InFlight(func() int { return 3 })
	r.Concurrency(64)
	r.Paused(true)
	r.PluginStarted(time.Second)
	r.PluginExited("crash")
	r.PluginUp(delivery.Plugin{Name: "rag", Version: "1", SHA256: strings.Repeat("a", 64)})
	m.Heartbeat(nil)
	m.Collected(time.Millisecond, nil)
	m.Stream("rag", "rag:tasks", 5, 9)
	m.Group("rag", "rag:tasks", "rag-workers", 2, 1, time.Minute, 0)
	m.GroupLag("rag", "rag:tasks", "rag-workers", 4, true)
	m.DeadLetters("rag", 1, time.Hour)
	m.AuditDropped(func() int64 { return 8 })
	return m
}

// scrape gives the series and their values.
func scrape(t *testing.T, m *Metrics) map[string]string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("scrape: %d, %v", w.Code, err)
	}
	series := map[string]string{}
	for line := range strings.Lines(string(body)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "} "); ok && line[0] != '#' {
			series[name+"}"] = value
		} else if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && line[0] != '#' {
			series[name] = value
		}
	}
	return series
}

func check(t *testing.T, series map[string]string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got, ok := series[name]; !ok || got != value {
			t.Errorf("%s is %q (there: %t), want %q", name, got, ok, value)
		}
	}
}

func TestNamesAreClean(t *testing.T) {
	t.Parallel()
	families, err := busy().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Names are API: a change here is a change for every dashboard and alert.
func TestNames(t *testing.T) {
	t.Parallel()
	families, err := busy().Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		if name, ok := strings.CutPrefix(f.GetName(), "fnhost_"); ok {
			names = append(names, name)
		}
	}
	want := strings.Fields(`attempts audit_dropped_total build_info collector_duration_seconds
		collector_errors_total concurrency_limit consumers_reaped_total dead_letters_total dead_letters_trimmed_total dispatch_duration_seconds dlq_entries
		dlq_oldest_age_seconds group_consumers group_floor_age_seconds group_lag_entries group_lag_known group_oldest_pending_age_seconds
		group_oldest_undelivered_age_seconds group_pending_entries groups_recreated_total heartbeat_last_success_timestamp_seconds
		heartbeats_total message_latency_seconds message_size_bytes messages_in_flight messages_lost_total
		messages_processed_total messages_received_total messages_replayed_total plugin_exits_total plugin_info
		plugin_start_duration_seconds plugin_starts_total plugin_up queue_wait_seconds read_batch_messages reclaims_total
		redis_errors_total redis_up retries_total role_paused stale_grants_total stream_added_total stream_entries
		stream_trimmed_total`)
	if !slices.Equal(names, want) {
		t.Errorf("names\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	series := scrape(t, busy())
	check(t, series, map[string]string{
		`fnhost_messages_received_total{role="rag",source="new"}`:                           "1",
		`fnhost_messages_received_total{role="rag",source="reclaimed"}`:                     "1",
		`fnhost_messages_processed_total{outcome="error",role="rag"}`:                       "1",
		`fnhost_retries_total{reason="error",role="rag"}`:                                   "1",
		`fnhost_retries_total{reason="timeout",role="rag"}`:                                 "1",
		`fnhost_dead_letters_total{reason="exhausted",role="rag"}`:                          "1",
		`fnhost_reclaims_total{role="rag"}`:                                                 "1",
		`fnhost_messages_lost_total{role="rag"}`:                                            "1",
		`fnhost_stale_grants_total{role="rag"}`:                                             "1",
		`fnhost_messages_replayed_total{role="rag"}`:                                        "2",
		`fnhost_groups_recreated_total{role="rag"}`:                                         "1",
		`fnhost_dead_letters_trimmed_total{role="rag"}`:                                     "4",
		`fnhost_consumers_reaped_total{role="rag"}`:                                         "5",
		`fnhost_stream_trimmed_total{role="rag",stream="rag:tasks"}`:                        "6",
		`fnhost_group_floor_age_seconds{group="rag-workers",role="rag",stream="rag:tasks"}`: "7",
		`fnhost_messages_in_flight{role="rag"}`:                                             "3",
		`fnhost_concurrency_limit{role="rag"}`:                                              "64",
		`fnhost_role_paused{role="rag"}`:                                                    "1",
		`fnhost_dispatch_duration_seconds_bucket{outcome="error",role="rag",le="0.5"}`:      "0",
		`fnhost_dispatch_duration_seconds_bucket{outcome="error",role="rag",le="1"}`:        "1",
		`fnhost_read_batch_messages_sum{role="rag"}`:                                        "1",
		`fnhost_message_latency_seconds_sum{role="rag"}`:                                    "60",
		`fnhost_message_latency_seconds_count{role="rag"}`:                                  "1",
		`fnhost_plugin_up{role="rag"}`:                                                      "1",
		`fnhost_plugin_info{plugin="rag",role="rag",sha256="aaaaaaaaaaaa",version="1"}`:     "1",
		`fnhost_plugin_exits_total{reason="crash",role="rag"}`:                              "1",
		`fnhost_redis_errors_total{op="hand_back"}`:                                         "1",
		`fnhost_redis_up`: "1",
		`fnhost_stream_added_total{role="rag",stream="rag:tasks"}`:                                   "9",
		`fnhost_group_lag_entries{group="rag-workers",role="rag",stream="rag:tasks"}`:                "4",
		`fnhost_group_oldest_pending_age_seconds{group="rag-workers",role="rag",stream="rag:tasks"}`: "60",
		`fnhost_dlq_oldest_age_seconds{role="rag"}`:                                                  "3600",
		`fnhost_audit_dropped_total`:                                                                 "8",
	})
}

func TestSeriesStartAtZero(t *testing.T) {
	t.Parallel()
	m := New("1")
	m.Role("rag")
	check(t, scrape(t, m), map[string]string{
		`fnhost_messages_processed_total{outcome="ok",role="rag"}`:        "0",
		`fnhost_dead_letters_total{reason="poison",role="rag"}`:           "0",
		`fnhost_retries_total{reason="panic",role="rag"}`:                 "0",
		`fnhost_plugin_exits_total{reason="crash",role="rag"}`:            "0",
		`fnhost_messages_replayed_total{role="rag"}`:                      "0",
		`fnhost_groups_recreated_total{role="rag"}`:                       "0",
		`fnhost_dead_letters_trimmed_total{role="rag"}`:                   "0",
		`fnhost_consumers_reaped_total{role="rag"}`:                       "0",
		`fnhost_messages_in_flight{role="rag"}`:                           "0",
		`fnhost_dispatch_duration_seconds_count{outcome="ok",role="rag"}`: "0",
		`fnhost_redis_errors_total{op="commit"}`:                          "0",
		`fnhost_heartbeats_total{result="error"}`:                         "0",
	})
}

// What a handler or a plugin says must not make series of its own.
func TestUnknownValuesAreOther(t *testing.T) {
	t.Parallel()
	m := New("1")
	r := m.Role("rag")
	r.Finished(&delivery.Delivery{}, "surprise", "", 0, 0)
	r.Finished(&delivery.Delivery{}, "error", "surprise", 0, 0)
	r.PluginExited("surprise")
	m.StoreError("surprise", errors.New("refused"))
	for name := range scrape(t, m) {
		if strings.Contains(name, "surprise") {
			t.Errorf("series %s", name)
		}
	}
}

func TestUnknownLagIsAbsent(t *testing.T) {
	t.Parallel()
	m := busy()
	m.GroupLag("rag", "rag:tasks", "rag-workers", 0, false)
	series := scrape(t, m)
	if value, ok := series[`fnhost_group_lag_entries{group="rag-workers",role="rag",stream="rag:tasks"}`]; ok {
		t.Errorf("an unknown lag is shown as %s", value)
	}
	check(t, series, map[string]string{`fnhost_group_lag_known{group="rag-workers",role="rag",stream="rag:tasks"}`: "0"})
}

func TestOnlyTheRunningPluginIsShown(t *testing.T) {
	t.Parallel()
	m := New("1")
	r := m.Role("rag")
	r.PluginUp(delivery.Plugin{Name: "rag", Version: "1", SHA256: "abc"})
	r.PluginUp(delivery.Plugin{Name: "rag", Version: "2", SHA256: "def"})
	series := scrape(t, m)
	if _, ok := series[`fnhost_plugin_info{plugin="rag",role="rag",sha256="abc",version="1"}`]; ok {
		t.Error("the version that was swapped out is still shown")
	}
	check(t, series, map[string]string{`fnhost_plugin_info{plugin="rag",role="rag",sha256="def",version="2"}`: "1"})
	r.PluginUp(delivery.Plugin{})
	check(t, scrape(t, m), map[string]string{`fnhost_plugin_up{role="rag"}`: "0"})
}

func TestRedisDown(t *testing.T) {
	t.Parallel()
	m := busy()
	m.Collected(0, errors.New("refused"))
	check(t, scrape(t, m), map[string]string{`fnhost_redis_up`: "0", `fnhost_collector_errors_total`: "1"})
}
