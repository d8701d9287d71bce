package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/config"
)

// The benchmarks run a host inside this process, for profiles of it; the plugin
// is a process as ever. An operation is a message:
//
//	go test -bench HostDrain -benchtime 200000x -cpuprofile cpu.out
//	go test -bench HostTrickle -benchtime 20000x -cpuprofile cpu.out

// BenchmarkHostDrain works off a backlog.
func BenchmarkHostDrain(b *testing.B) {
	for name, audit := range map[string]bool{"audit=0": false, "audit=1": true} {
		b.Run(name, func(b *testing.B) {
			c := fnhost{concurrency: 2048, audit: audit}
			bed := newBed(b, Throughput)
			if _, err := c.Publish(b.Context(), bed.rdb, strings.Repeat("x", 240), b.N); err != nil {
				b.Fatal(err)
			}
			h := newHost(b, bed, c)
			b.ReportAllocs()
			b.ResetTimer()
			begin(b, h)
			if _, err := bed.await(b.Context(), c, crew{bed.process}, int64(b.N)); err != nil {
				b.Error(err)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// BenchmarkHostTrickle answers 2,000 messages a second as they come; what counts
// is the processor time, and the latency.
func BenchmarkHostTrickle(b *testing.B) {
	const rate = 2000
	c, bed := fnhost{}, newBed(b, Latency)
	begin(b, newHost(b, bed, c))
	if _, err := c.Publish(b.Context(), bed.rdb, "x", 1); err != nil {
		b.Fatal(err)
	}
	if err := bed.answered(b.Context(), c, crew{bed.process}, 1); err != nil {
		b.Fatal(err)
	}
	o := openLoop{rate: rate, last: time.Second * time.Duration(b.N) / rate, drain: patience}
	used := cpu(os.Getpid())
	b.ReportAllocs()
	b.ResetTimer()
	due, seen, err := o.measure(b.Context(), bed, c, strings.Repeat("x", 240))
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric((cpu(os.Getpid())-used)/float64(b.N)*1e6, "cpu-us/msg")
	b.ReportMetric(o.percentiles(due, seen, time.Now())["p50_ms"], "p50-ms")
}

func newBed(b testing.TB, purpose Purpose) *bed {
	own, err := module(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	bin := Binaries{Plugins: b.TempDir()} // the host is in this process
	if err := build(b.Context(), filepath.Dir(own), "./examples/echo", filepath.Join(bin.Plugins, "echo")); err != nil {
		b.Fatal(err)
	}
	bed, err := makeBed(b.Context(), bin, purpose)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(bed.close)
	return bed
}

// newHost gives a host with the settings that the contender's process would have.
func newHost(b testing.TB, bed *bed, c fnhost) *host.Host {
	cfg, err := config.Load(config.Sources{Environ: c.environ(bed.site, bed.site.Bin.Plugins, "state"), WorkDir: bed.site.Dir})
	if err != nil {
		b.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{Logger: slog.New(slog.DiscardHandler), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	return h
}

// begin starts the host, which ends with the test.
func begin(b testing.TB, h *host.Host) {
	if err := h.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience) // the benchmark's is over
		defer cancel()
		if err := h.Drain(ctx); err != nil {
			b.Log(err)
		}
		h.Stop()
	})
}
