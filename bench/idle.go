package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// idle measures what a contender costs that has nothing to do.
type idle struct {
	last time.Duration
}

func (idle) Name() string     { return "idle" }
func (idle) Purpose() Purpose { return Throughput } // asynq is set to poll often for latency
func (i idle) Title() string  { return fmt.Sprintf("Idle for %s, with no messages at all", i.last) }

// Contenders are hosts of as many roles as operators have, and the peers among
// those that were chosen.
func (idle) Contenders(chosen []Contender) []Contender {
	peers := slices.DeleteFunc(slices.Clone(chosen), func(c Contender) bool {
		_, ours := c.(fnhost)
		_, bare := c.(floor)
		return ours || bare
	})
	return append([]Contender{
		fnhost{name: "fnhost, 4 roles", roles: 4},
		fnhost{name: "fnhost-audit, 4 roles", roles: 4, audit: true},
		fnhost{name: "fnhost, 1 role", roles: 1},
		fnhost{name: "fnhost, 16 roles", roles: 16},
	}, peers...)
}

func (idle) Metrics() []Metric {
	return []Metric{
		{Name: "requests", Title: "requests to redis/s", Decimals: 1, Plot: true},
		{Name: "all", Title: "CPU %, host and plugins", Decimals: 2, Plot: true},
		{Name: "host_cpu", Title: "host CPU %", Decimals: 2},
		{Name: "plugin_cpu", Title: "CPU % of a plugin, the most", Decimals: 2},
		{Name: "host_mib", Title: "host MiB", Decimals: 1},
		{Name: "plugin_mib", Title: "MiB of a plugin, the most", Decimals: 1},
	}
}

func (i idle) Run(ctx context.Context, b *bed, c Contender) (Run, error) {
	p, err := b.begin(ctx, c, "x")
	if err != nil {
		return Run{}, err
	}
	defer p.stop()
	if err := sleep(ctx, 2*time.Second); err != nil { // what follows the first messages is no idling
		return Run{}, err
	}
	hosts, plugins := p.pids(), p.plugins()
	host := cpu(hosts...)
	before := make([]float64, len(plugins))
	for n, pid := range plugins {
		before[n] = cpu(pid)
	}
	requests, took, err := watch(ctx, b.addr, i.last)
	if err != nil {
		return Run{}, err
	}
	share := func(used float64) float64 { return used / took.Seconds() * 100 }
	v := map[string]float64{"requests": 0, "host_cpu": share(cpu(hosts...) - host), "host_mib": memory("VmRSS", hosts...), "plugin_cpu": 0, "plugin_mib": 0}
	v["all"] = v["host_cpu"]
	for n, pid := range plugins {
		used := share(cpu(pid) - before[n])
		v["all"] += used
		v["plugin_cpu"] = max(v["plugin_cpu"], used)
		v["plugin_mib"] = max(v["plugin_mib"], memory("VmRSS", pid))
	}
	r := Run{Values: v, Requests: map[string]float64{}}
	for name, n := range requests {
		r.Requests[name] = n / took.Seconds()
		v["requests"] += r.Requests[name]
	}
	return r, p.ended()
}

// watch counts, by command, the requests that clients send to the server: those
// that MONITOR shows, but for the commands that scripts call.
func watch(ctx context.Context, addr string, d time.Duration) (requests map[string]float64, took time.Duration, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		return nil, 0, err
	}
	requests, begun := map[string]float64{}, time.Now()
	if err := conn.SetReadDeadline(begun.Add(d)); err != nil {
		return nil, 0, err
	}
	lines := bufio.NewReader(conn)
	for {
		line, err := lines.ReadString('\n')
		took = time.Since(begun)
		switch {
		case ctx.Err() != nil:
			return nil, 0, ctx.Err()
		case took >= d:
			return requests, took, nil
		case err != nil:
			return nil, 0, fmt.Errorf("counting requests: %w", err)
		}
		if name, ok := request(line); ok {
			requests[name]++
		}
	}
}

// request reads a line of MONITOR, as `+1339518083.107412 [0 127.0.0.1:60866]
// "get" "x"`; a command within a script has lua in place of an address.
func request(line string) (command string, ok bool) {
	_, rest, found := strings.Cut(line, " [")
	sender, rest, _ := strings.Cut(rest, "] ")
	if !found || strings.HasSuffix(sender, " lua") {
		return "", false
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(rest), `"`), `"`)
	return strings.ToLower(name), name != ""
}
