// Command bench puts fnhost beside its peers, and beside the least that must be
// done in Redis, on the same work and the same machine. It starts a private
// redis-server for each run and needs nothing but redis-server and Go; Linux only,
// since it reads /proc.
//
//	go run . -o ../docs/performance.md -json performance.json
//	go run . -quick
//	go run . -scenarios drain-240 -contenders floor,fnhost -n 5
//	go run . check
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 4 && args[0] == "child" {
		return child(ctx, args[1], args[2], Purpose(args[3]))
	}
	runtime.GOMAXPROCS(max(runtime.NumCPU(), 4)) // threads that wait in a system call keep their place for a while
	if len(args) > 0 && args[0] == "check" {
		return check(ctx, args[1:])
	}
	return compare(ctx, args)
}

// child is the process of a contender that this program brings itself.
func child(ctx context.Context, name, addr string, purpose Purpose) error {
	for _, c := range contenders() {
		if worker, ok := c.(interface {
			run(ctx context.Context, addr string, purpose Purpose) error
		}); ok && c.Name() == name {
			return worker.run(ctx, addr, purpose)
		}
	}
	return fmt.Errorf("no contender %q runs in this program", name)
}

// options are the flags.
type options struct {
	rounds                int
	scenarios, contenders string
	sizes, rates          string
	last, idle            time.Duration
	backlog               int
	roles, hosts          int
	quick                 bool
	bin                   string
	markdown, json        string
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.IntVar(&o.rounds, "n", 3, "rounds; contenders take turns within each")
	f.StringVar(&o.scenarios, "scenarios", "", "only these, by name, separated by commas: drain-SIZE, latency-RATE, idle, roles, hosts, standing")
	f.StringVar(&o.contenders, "contenders", "", "only these, by name, separated by commas; the first one listed in the report is what ratios are to")
	f.StringVar(&o.sizes, "drains", "240x200000,4096x50000,65536x5000", "backlogs, as BYTESxMESSAGES")
	f.StringVar(&o.rates, "rates", "200,2000,10000", "messages a second of the latency scenarios")
	f.DurationVar(&o.last, "last", 10*time.Second, "how long a latency scenario, and each half of standing, lasts")
	f.DurationVar(&o.idle, "idle", 20*time.Second, "how long the idle scenario lasts")
	f.IntVar(&o.backlog, "backlog", 1_000_000, "messages of the standing scenario")
	f.IntVar(&o.roles, "roles", 160_000, "messages of the roles scenario, all roles together")
	f.IntVar(&o.hosts, "hosts", 200_000, "messages of the hosts scenario")
	f.BoolVar(&o.quick, "quick", false, "a first look at everything, in about 8 minutes on 2 cores: one short round")
	f.StringVar(&o.bin, "bin", "", "directory with fnhost and plugins/echo, to measure another build; default: this source is built")
	f.StringVar(&o.markdown, "o", "", "file for the tables; default standard output")
	f.StringVar(&o.json, "json", "", "file for all runs as JSON")
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if err == nil && o.quick {
		err = shorten(f)
	}
	return o, err
}

// shorten sets what was not given to what is enough for a first look.
func shorten(f *flag.FlagSet) error {
	short := map[string]string{
		"n": "1", "drains": "240x60000,4096x15000,65536x1500", "last": "3s", "idle": "5s", "backlog": "200000", "roles": "48000", "hosts": "60000",
	}
	f.Visit(func(given *flag.Flag) { delete(short, given.Name) })
	for name, value := range short {
		if err := f.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

func compare(ctx context.Context, args []string) error {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	scenarios, err := o.pickScenarios()
	if err != nil {
		return err
	}
	rivals, err := pick(contenders(), o.contenders)
	if err != nil {
		return err
	}
	report := newReport(args, scenarios, rivals)
	if err := report.measure(ctx, o); err != nil {
		return err
	}
	return report.write(o)
}

func newReport(args []string, scenarios []Scenario, rivals []Contender) *Report {
	return &Report{
		At: time.Now(), Machine: machine(), Command: strings.TrimSpace("cd bench && go run . " + strings.Join(args, " ")),
		scenarios: scenarios, contenders: rivals,
	}
}

func (o options) pickScenarios() ([]Scenario, error) {
	var all []Scenario
	for _, text := range strings.Split(o.sizes, ",") {
		var d drain
		if _, err := fmt.Sscanf(text, "%dx%d", &d.size, &d.count); err != nil || d.size < 1 || d.count < 1 {
			return nil, fmt.Errorf("-drains: %q is not BYTESxMESSAGES", text)
		}
		all = append(all, d)
	}
	for _, text := range strings.Split(o.rates, ",") {
		rate, err := strconv.Atoi(text)
		if err != nil || rate < 1 {
			return nil, fmt.Errorf("-rates: %q is no rate", text)
		}
		all = append(all, openLoop{rate: rate, size: 240, last: o.last, warm: time.Second, drain: 5 * time.Second})
	}
	all = append(all, idle{last: o.idle}, manyRoles(drain{240, o.roles}), manyHosts(drain{240, o.hosts}), standing{backlog: o.backlog, last: o.last})
	return pick(all, o.scenarios)
}

// pick gives those whose names are listed; all if none is.
func pick[T interface{ Name() string }](all []T, names string) ([]T, error) {
	if names == "" {
		return all, nil
	}
	var picked []T
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(t T) bool { return t.Name() == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no %q", name)
		}
		picked = append(picked, all[i])
	}
	return picked, nil
}

// measure runs all scenarios. The contenders' order turns from round to round.
func (r *Report) measure(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "fnhost-bench-bin-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin, err := binaries(ctx, o.bin, dir)
	if err != nil {
		return err
	}
	for round := range o.rounds {
		for _, s := range r.scenarios {
			all := s.Contenders(r.contenders)
			for i := range all {
				c := all[(i+round)%len(all)]
				result := run(ctx, bin, s, c, round)
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.Runs = append(r.Runs, result)
				first := s.Metrics()[0]
				fmt.Fprintf(os.Stderr, "round %d  %-14s %-22s %10.*f %s  %s\n", round+1, s.Name(), c.Name(), first.Decimals, result.Values[first.Name], first.Title, result.Problem)
			}
		}
	}
	return nil
}

func (r *Report) write(o options) error {
	if o.json != "" {
		if err := writeFile(o.json, r.WriteJSON); err != nil {
			return err
		}
	}
	if o.markdown == "" {
		return r.WriteMarkdown(os.Stdout)
	}
	r.plots = strings.TrimSuffix(filepath.Base(o.markdown), filepath.Ext(o.markdown))
	if err := r.writePlots(filepath.Join(filepath.Dir(o.markdown), r.plots)); err != nil {
		return err
	}
	return writeFile(o.markdown, r.WriteMarkdown)
}
