package ops

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/dispatch"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/topology"
)

var _ dispatch.Observer = (*RoleAudit)(nil)

var keys = topology.Keys{Namespace: "test"}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// unreachable is a client of a Redis that is not there.
func unreachable(t *testing.T) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func entries(t *testing.T, client *redis.Client, stream string) []redis.XMessage {
	t.Helper()
	got, err := client.XRange(t.Context(), keys.Stream(stream), "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 30s: %s", what)
		}
	}
}

func TestAuditWritesAllAtStop(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	audit := NewAudit(client, keys, AuditConfig{Sample: 1}, quiet())
	const n = 3000
	for i := range n { // before the start: the queue keeps them
		audit.Event(delivery.AuditEvent{At: time.Now(), Type: delivery.AuditStarted, Role: "rag", Stream: "rag:tasks", ID: strconv.Itoa(i) + "-0", Attempt: 2})
	}
	audit.Span(delivery.Span{Trace: "t", ID: "s", Name: "rag", Start: time.Now(), Duration: time.Millisecond, Attributes: []string{"role", "rag"}})
	if err := audit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	audit.Stop()
	got := entries(t, client, topology.AuditEvents)
	if len(got) != n || audit.Dropped() != 0 {
		t.Fatalf("%d events and %d dropped, want %d and 0", len(got), audit.Dropped(), n)
	}
	for i, e := range got {
		if e.Values["id"] != strconv.Itoa(i)+"-0" || e.Values["type"] != "started" || e.Values["attempt"] != "2" {
			t.Fatalf("event %d: %v", i, e.Values)
		}
	}
	if spans := entries(t, client, topology.AuditSpans); len(spans) != 1 || spans[0].Values["duration_us"] != "1000" || spans[0].Values["role"] != "rag" {
		t.Fatalf("spans: %v", spans)
	}
}

func TestAuditIsTrimmed(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	audit := NewAudit(client, keys, AuditConfig{Sample: 1, MaxLen: 100}, quiet())
	if err := audit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		audit.Event(delivery.AuditEvent{Stream: "rag:tasks", ID: strconv.Itoa(i)})
	}
	audit.Stop()
	if n := len(entries(t, client, topology.AuditEvents)); n < 100 || n > 300 {
		t.Fatalf("%d events kept, want about 100", n)
	}
}

func TestAuditSamplesWholeMessages(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	audit := NewAudit(client, keys, AuditConfig{Sample: 0.25}, quiet())
	role := audit.Role("rag", "host-1")
	sub := topology.Subscription{Stream: "rag:tasks"}
	if err := audit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 2000
	for i := range n {
		e := delivery.Entry{ID: fmt.Sprintf("1764000000000-%d", i)}
		role.Received(sub, []delivery.Entry{e})
		role.Started(&delivery.Delivery{Stream: sub.Stream, Entry: e, Grant: delivery.Grant{Attempt: 1}})
	}
	role.Lost(sub, "1-1")
	audit.Stop()
	byType := map[string][]string{}
	for _, e := range entries(t, client, topology.AuditEvents) {
		kind, id := e.Values["type"].(string), e.Values["id"].(string)
		byType[kind] = append(byType[kind], id)
		if kind != "lost" && !audit.Sampled("rag:tasks", id) {
			t.Fatalf("message %s is audited but not sampled", id)
		}
	}
	if !slices.Equal(byType["received"], byType["started"]) {
		t.Fatal("some messages have only a part of their events")
	}
	if got := len(byType["received"]); got < n/5 || got > n*3/10 {
		t.Fatalf("%d of %d messages, want about a quarter", got, n)
	}
	if len(byType["lost"]) != 1 {
		t.Fatal("a loss must always be audited")
	}
}

func TestAuditNeverBlocks(t *testing.T) {
	t.Parallel()
	audit := NewAudit(unreachable(t), keys, AuditConfig{Sample: 1}, quiet())
	if err := audit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 2 * queueLength
	for i := range n {
		audit.Event(delivery.AuditEvent{ID: strconv.Itoa(i)})
	}
	if got := audit.Dropped(); got < n-queueLength-queueBatch {
		t.Errorf("%d of %d dropped, and the queue takes %d", got, n, queueLength)
	}
	audit.Stop()
}

func TestAuditWaitsForRedis(t *testing.T) {
	t.Parallel()
	server := hosttest.Redis(t)
	client := server.Client()
	server.Kill()
	audit := NewAudit(client, keys, AuditConfig{Sample: 1}, quiet())
	if err := audit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer audit.Stop()
	audit.Event(delivery.AuditEvent{ID: "1-0"})
	eventually(t, "the writer has the event", func() bool { return len(audit.entries) == 0 })
	server.Restart()
	eventually(t, "the event is written after Redis is back", func() bool { return len(entries(t, client, topology.AuditEvents)) > 0 })
}

func TestRefusedEntriesAreCountedAndDoNotBlockOthers(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	if err := client.Set(t.Context(), keys.Stream(topology.AuditSpans), "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	audit := NewAudit(client, keys, AuditConfig{Sample: 1}, quiet())
	audit.Span(delivery.Span{})
	audit.Event(delivery.AuditEvent{ID: "1-0"})
	if err := audit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	audit.Stop()
	if n := len(entries(t, client, topology.AuditEvents)); n != 1 || audit.Dropped() != 1 {
		t.Fatalf("%d events, %d dropped; want 1 and 1", n, audit.Dropped())
	}
}

func TestEntriesWaitForAServerThatCannotWriteNow(t *testing.T) {
	t.Parallel()
	server := hosttest.Redis(t)
	client := server.Client()
	full := func(limit string) {
		if err := client.ConfigSet(t.Context(), "maxmemory", limit).Err(); err != nil {
			t.Fatal(err)
		}
	}
	full("1")
	audit := NewAudit(client, keys, AuditConfig{Sample: 1}, quiet())
	if err := audit.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer audit.Stop()
	audit.Event(delivery.AuditEvent{ID: "1-0"})
	eventually(t, "the writer has tried", func() bool {
		return strings.Contains(client.Info(t.Context(), "errorstats").Val(), "errorstat_OOM")
	})
	full("0")
	eventually(t, "the event is written when there is memory again", func() bool { return len(entries(t, client, topology.AuditEvents)) == 1 })
	if n := audit.Dropped(); n != 0 {
		t.Errorf("%d dropped", n)
	}
}

func TestHealthWritesChangesOnly(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	health := NewHealth(client, keys, "host-1", quiet())
	if err := health.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	health.Set("rag", Starting, "found")
	health.Set("rag", Serving, "rag 1.0")
	health.Set("rag", Serving, "again")
	health.Set("rag", Paused, "plugin died")
	if health.States()["rag"] != Paused {
		t.Errorf("states: %v", health.States())
	}
	health.Stop()
	var got []string
	for _, e := range entries(t, client, topology.OpsHealth) {
		got = append(got, fmt.Sprint(e.Values["role"], e.Values["host"], e.Values["from"], ">", e.Values["to"], ":", e.Values["reason"]))
		if _, err := time.Parse(time.RFC3339, e.Values["time"].(string)); err != nil {
			t.Error(err)
		}
	}
	want := []string{"raghost-1>starting:found", "raghost-1starting>serving:rag 1.0", "raghost-1serving>paused:plugin died"}
	if !slices.Equal(got, want) {
		t.Errorf("changes %q, want %q", got, want)
	}
}

func TestStress(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	topo, err := topology.New(topology.Standard())
	if err != nil {
		t.Fatal(err)
	}
	hosttest.Stress(t, NewAudit(client, keys, AuditConfig{Sample: 1}, quiet()))
	hosttest.Stress(t, NewHealth(client, keys, "host-1", quiet()))
	hosttest.Stress(t, NewHeartbeats(client, keys, HeartbeatConfig{Consumer: "c", TTL: time.Minute, Interval: time.Second, Healthy: func() []string { return []string{"rag"} }}))
	hosttest.Stress(t, NewMonitor(client, keys, func() *topology.Topology { return topo }, newGauges()))
	if n, err := client.Exists(context.Background(), keys.Heartbeat("rag", "c")).Result(); err != nil || n != 0 {
		t.Errorf("a heartbeat is left after the stop: %d, %v", n, err)
	}
}
