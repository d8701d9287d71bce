package ops

import (
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/topology"
)

// gauges keeps the last that a monitor saw.
type gauges struct {
	streams, lags, pending map[string]int64
	oldest                 map[string]time.Duration
	known                  map[string]bool
	collected              chan error
}

func newGauges() *gauges {
	return &gauges{map[string]int64{}, map[string]int64{}, map[string]int64{}, map[string]time.Duration{}, map[string]bool{}, make(chan error, 100)}
}

func (g *gauges) Stream(_, stream string, entries, _ int64) { g.streams[stream] = entries }
func (g *gauges) Group(role, _, group string, pending, _ int64, oldestPending, _ time.Duration) {
	g.pending[role+"/"+group], g.oldest[role+"/"+group] = pending, oldestPending
}

func (g *gauges) GroupLag(role, _, group string, lag int64, known bool) {
	g.lags[role+"/"+group], g.known[role+"/"+group] = lag, known
}
func (g *gauges) DeadLetters(role string, entries int64, _ time.Duration) {
	g.streams[role+" dlq"] = entries
}
func (g *gauges) Collected(_ time.Duration, err error) { g.collected <- err }

func ragTopology(t *testing.T) *topology.Topology {
	t.Helper()
	topo, err := topology.New([]topology.Role{topology.Default("rag")})
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// must runs a command.
func must(t *testing.T, client *redis.Client, command string) any {
	t.Helper()
	var args []any
	for _, arg := range strings.Fields(command) {
		args = append(args, arg)
	}
	answer, err := client.Do(t.Context(), args...).Result()
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return answer
}

func createGroups(t *testing.T, client *redis.Client, topo *topology.Topology) {
	t.Helper()
	for _, g := range topo.Groups() {
		must(t, client, "XGROUP CREATE "+keys.Stream(g.Stream)+" "+g.Group+" 0 MKSTREAM")
	}
}

// servers are what the survey must work on: `fnhost dev` has a miniredis.
func servers(t *testing.T) map[string]*redis.Client {
	t.Helper()
	mini := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = mini.Close() })
	return map[string]*redis.Client{"redis": hosttest.Redis(t).Client(), "miniredis": mini}
}

func TestLook(t *testing.T) {
	t.Parallel()
	for name, client := range servers(t) {
		must(t, client, "XGROUP CREATE test:a g 0 MKSTREAM")
		must(t, client, "XGROUP CREATE test:a all 0")
		must(t, client, "XGROUP CREATE test:empty g 0 MKSTREAM")
		for _, id := range []string{"1000-1", "2000-0", "3000-0"} {
			must(t, client, "XADD test:a "+id+" data x")
		}
		must(t, client, "XREADGROUP GROUP g me COUNT 2 STREAMS test:a >")
		must(t, client, "XACK test:a g 1000-1")
		must(t, client, "XREADGROUP GROUP all me STREAMS test:a >")
		must(t, client, "SET test:text x")
		survey, err := Look(t.Context(), client, keys, []string{"a", "empty", "text", "absent"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if since := time.Since(survey.At); since < -time.Minute || since > time.Minute {
			t.Errorf("%s: time of the survey %v", name, survey.At)
		}
		a := survey.Streams["a"]
		if a.Type != "stream" || a.Length != 3 || a.FirstID != "1000-1" || a.LastID != "3000-0" {
			t.Errorf("%s: stream %+v", name, a)
		}
		if g := a.Groups["g"]; g.Consumers != 1 || g.Pending != 1 || g.OldestPending != "2000-0" || g.OldestUndelivered != "3000-0" {
			t.Errorf("%s: group %+v", name, g)
		}
		if all := a.Groups["all"]; all.Lag != 0 || all.OldestUndelivered != "" || all.Pending != 3 {
			t.Errorf("%s: group that has read all %+v", name, all)
		}
		if e := survey.Streams["empty"]; e.Type != "stream" || e.Length != 0 || e.FirstID != "" || len(e.Groups) != 1 {
			t.Errorf("%s: empty stream %+v", name, e)
		}
		if survey.Streams["text"].Type != "string" || survey.Streams["absent"].Type != "none" {
			t.Errorf("%s: what is no stream: %+v, %+v", name, survey.Streams["text"], survey.Streams["absent"])
		}
	}
}

// What a function has put off for an hour is not stuck.
func TestWhatIsPutOffIsNotPending(t *testing.T) {
	t.Parallel()
	for name, client := range servers(t) {
		must(t, client, "XGROUP CREATE test:a g 0 MKSTREAM")
		for _, id := range []string{"1000-0", "2000-0", "10000-0"} {
			must(t, client, "XADD test:a "+id+" data x")
		}
		must(t, client, "XREADGROUP GROUP g me STREAMS test:a >")
		must(t, client, "XCLAIM test:a g parked 0 1000-0 2000-0")
		survey, err := Look(t.Context(), client, keys, []string{"a"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if g := survey.Streams["a"].Groups["g"]; g.Pending != 1 || g.OldestPending != "10000-0" {
			t.Errorf("%s: group %+v, want 1 pending, the one that is not parked", name, g)
		}
	}
}

// Redis loses count of a group's lag when entries that it has not read are deleted.
func TestUnknownLag(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	must(t, client, "XGROUP CREATE test:a g 0 MKSTREAM")
	for _, id := range []string{"1-0", "2-0", "3-0", "4-0"} {
		must(t, client, "XADD test:a "+id+" data x")
	}
	must(t, client, "XREADGROUP GROUP g me COUNT 1 STREAMS test:a >")
	must(t, client, "XDEL test:a 3-0")
	lag := func() int64 {
		survey, err := Look(t.Context(), client, keys, []string{"a"})
		if err != nil {
			t.Fatal(err)
		}
		return survey.Streams["a"].Groups["g"].Lag
	}
	if got := lag(); got != -1 {
		t.Errorf("lag %d, want unknown", got)
	}
	must(t, client, "XREADGROUP GROUP g me STREAMS test:a >")
	if got := lag(); got != 0 {
		t.Errorf("lag %d of a group that has read all, want 0", got)
	}
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	client, topo, seen := hosttest.Redis(t).Client(), ragTopology(t), newGauges()
	createGroups(t, client, topo)
	must(t, client, "XADD test:rag:tasks 1000-0 data x")
	must(t, client, "XADD test:rag:tasks 2000-0 data x")
	must(t, client, "XADD test:rag:dlq * data x")
	must(t, client, "XREADGROUP GROUP rag-workers me COUNT 1 STREAMS test:rag:tasks >")
	m := NewMonitor(client, keys, func() *topology.Topology { return topo }, seen)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-seen.collected; err != nil || m.Err() != nil {
		t.Fatal(err, m.Err())
	}
	m.Stop()
	if seen.streams["rag:tasks"] != 2 || seen.streams["rag dlq"] != 1 {
		t.Errorf("streams %v", seen.streams)
	}
	if seen.lags["rag/rag-workers"] != 1 || !seen.known["rag/rag-workers"] || seen.pending["rag/rag-workers"] != 1 || seen.oldest["rag/rag-workers"] < time.Hour {
		t.Errorf("group: lag %v (known %v), pending %v, oldest %v", seen.lags, seen.known, seen.pending, seen.oldest)
	}
	if _, ok := seen.lags["/auditors"]; !ok {
		t.Errorf("the audit's groups are not watched: %v", seen.lags)
	}
}

func TestMonitorSaysThatRedisIsDown(t *testing.T) {
	t.Parallel()
	topo, seen := ragTopology(t), newGauges()
	m := NewMonitor(unreachable(t), keys, func() *topology.Topology { return topo }, seen)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer m.Stop()
	if err := <-seen.collected; err == nil {
		t.Error("a look at a Redis that is not there succeeded")
	}
	eventually(t, "the monitor's error is set", func() bool { return m.Err() != nil })
}

func TestStats(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	now := time.Date(2026, 11, 24, 18, 30, 40, 0, time.UTC)
	minute := func(ago time.Duration, fields string) {
		must(t, client, "HSET "+keys.Stats("rag", now.Add(-ago))+" "+fields)
	}
	minute(0, "ok 3 retried 2 latency_count 3 latency_us_sum 6000 "+delivery.StatsBucket(2*time.Millisecond)+" 3")
	minute(2*time.Minute, "ok 1 error 1 dropped 1 discarded 1 latency_count 4 latency_us_sum 240000000 "+delivery.StatsBucket(2*time.Minute)+" 4")
	minute(3*time.Minute, "ok 99")
	counts, err := Stats(t.Context(), client, keys, "rag", now, 3)
	if err != nil {
		t.Fatal(err)
	}
	if len(counts) != 3 || !counts[0].At.Equal(time.Date(2026, 11, 24, 18, 28, 0, 0, time.UTC)) {
		t.Fatalf("minutes %+v", counts)
	}
	if counts[1].Finished() != 0 || counts[2].OK != 3 || counts[2].Latency.Mean() != 2*time.Millisecond {
		t.Errorf("counts %+v", counts)
	}
	sum := Sum(counts)
	if sum.Finished() != 7 || sum.OK != 4 || sum.Retried != 2 || sum.Error != 1 || !sum.At.Equal(counts[0].At) {
		t.Errorf("sum %+v", sum)
	}
	if sum.Latency.Count != 7 || sum.Latency.Percentile(0.4) > 2*time.Millisecond || sum.Latency.Percentile(0.99) != time.Minute {
		t.Errorf("latency %+v: p40 %v, p99 %v", sum.Latency, sum.Latency.Percentile(0.4), sum.Latency.Percentile(0.99))
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	spread := make([]int64, len(delivery.StatsBuckets)+1)
	spread[0], spread[3] = 50, 50 // half within 1 ms, half between 5 and 10 ms
	for _, c := range []struct {
		name    string
		buckets []int64
		p       float64
		want    time.Duration
	}{
		{"nothing measured", nil, 0.5, 0},
		{"within the first bucket", spread, 0.25, 500 * time.Microsecond},
		{"at a bound", spread, 0.5, time.Millisecond},
		{"within a later bucket", spread, 0.75, 7500 * time.Microsecond},
		{"the slowest", spread, 1, 10 * time.Millisecond},
	} {
		if got := (Latency{Buckets: c.buckets}).Percentile(c.p); got != c.want {
			t.Errorf("%s: p%v is %v, want %v", c.name, c.p*100, got, c.want)
		}
	}
}
