package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/config"
)

// BenchmarkHost drains a backlog through a host inside this process, for
// profiles of it; the plugin is a process as ever. An operation is a message:
//
//	go test -bench Host -benchtime 200000x -cpuprofile cpu.out
func BenchmarkHost(b *testing.B) {
	b.Run("audit=0", func(b *testing.B) { drainInProcess(b, "0") })
	b.Run("audit=1", func(b *testing.B) { drainInProcess(b, "1") })
}

func drainInProcess(b *testing.B, audit string) {
	ctx := b.Context()
	bin, err := build(ctx, b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	bed, err := makeBed(ctx, bin, Throughput)
	if err != nil {
		b.Fatal(err)
	}
	defer bed.close()
	contender := fnhost{concurrency: 2048, audit: audit == "1"}
	if _, err := contender.Publish(ctx, bed.rdb, strings.Repeat("x", 240), b.N); err != nil {
		b.Fatal(err)
	}
	cfg, err := config.Load(config.Sources{Environ: contender.Command(bed.site).Env, WorkDir: bed.site.Dir})
	if err != nil {
		b.Fatal(err)
	}
	h, err := host.New(cfg, host.Options{Logger: slog.New(slog.DiscardHandler), Version: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := h.Start(ctx); err != nil {
		b.Fatal(err)
	}
	if _, err := bed.await(ctx, contender, bed.process, int64(b.N)); err != nil {
		b.Error(err)
	}
	b.StopTimer()
	if err := h.Drain(ctx); err != nil {
		b.Error(err)
	}
	h.Stop()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}
