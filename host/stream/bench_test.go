package stream

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/topology"
)

// BenchmarkBeginCommit is the path of a message through Redis: read, begin and
// commit with one result, in batches of 128.
func BenchmarkBeginCommit(b *testing.B) {
	srv := hosttest.Redis(b)
	c, err := Open(Options{URL: srv.URL(), Namespace: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx := b.Context()
	if _, err := c.EnsureGroups(ctx, []topology.Group{{Stream: sub.Stream, Group: sub.Group}}, "$"); err != nil {
		b.Fatal(err)
	}
	l := c.Log(sub, LogOptions{Owner: me, Lease: time.Minute, DoneTTL: time.Minute})
	fill(b, c, b.N)
	before := cpu(b, srv)
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; {
		entries, err := l.Read(ctx, min(left, maxBatch))
		if err != nil {
			b.Fatal(err)
		}
		leases, err := l.Begin(ctx, entries)
		if err != nil {
			b.Fatal(err)
		}
		commits := make([]delivery.Commit, len(leases))
		for i, lease := range leases {
			commits[i] = done(delivery.Held{ID: lease.ID, Grant: lease.Grant})
		}
		if _, err := l.Commit(ctx, commits); err != nil {
			b.Fatal(err)
		}
		left -= len(entries)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric((cpu(b, srv)-before)*1e6/float64(b.N), "redis-µs/msg")
}

// BenchmarkFloor is the same with plain commands in pipelines, and no care for
// crashes: what the scripts are to be measured against.
func BenchmarkFloor(b *testing.B) {
	srv := hosttest.Redis(b)
	c, err := Open(Options{URL: srv.URL(), Namespace: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx := b.Context()
	if _, err := c.EnsureGroups(ctx, []topology.Group{{Stream: sub.Stream, Group: sub.Group}}, "$"); err != nil {
		b.Fatal(err)
	}
	l := c.Log(sub, LogOptions{Owner: me, Lease: time.Minute, DoneTTL: time.Minute})
	fill(b, c, b.N)
	before := cpu(b, srv)
	b.ResetTimer()
	for left := b.N; left > 0; {
		entries, err := l.Read(ctx, min(left, maxBatch))
		if err != nil {
			b.Fatal(err)
		}
		locks, effects := c.commands.Pipeline(), c.commands.Pipeline()
		for _, e := range entries {
			locks.SetNX(ctx, l.lock(e.ID), me, time.Minute)
			effects.XAdd(ctx, &redis.XAddArgs{Stream: c.keys.Stream(sub.Results), Values: done(delivery.Held{ID: e.ID}).Adds[0].Fields})
			effects.Set(ctx, l.lock(e.ID), "done", time.Minute)
			effects.XAck(ctx, l.stream, sub.Group, e.ID)
		}
		for _, p := range []redis.Pipeliner{locks, effects} {
			if _, err := p.Exec(ctx); err != nil {
				b.Fatal(err)
			}
		}
		left -= len(entries)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric((cpu(b, srv)-before)*1e6/float64(b.N), "redis-µs/msg")
}

// cpu is the server's processor time, in seconds.
func cpu(b *testing.B, srv *hosttest.RedisServer) (s float64) {
	info := srv.Client().InfoMap(b.Context(), "cpu")
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		part, err := strconv.ParseFloat(info.Item("CPU", name), 64)
		if err != nil {
			b.Fatal(err)
		}
		s += part
	}
	return s
}

func fill(b *testing.B, c *Client, n int) {
	pipe := c.commands.Pipeline()
	for i := range n {
		pipe.Do(b.Context(), "XADD", c.keys.Stream(sub.Stream), "*", "type", "rag.query", "data", string(make([]byte, 240)))
		if i%1000 == 999 || i == n-1 {
			if _, err := pipe.Exec(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
