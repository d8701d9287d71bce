package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A Baseline is what a check compares with: ratios to the floor, which say more
// than absolute numbers, since another machine, or a busier one, is slower at both.
type Baseline struct {
	At      time.Time            `json:"at"`
	Machine map[string]string    `json:"machine"`
	Ratios  map[string][]float64 `json:"ratios"` // by contender and metric, one for each round
}

// guarded are the metrics of a check.
var guarded = []struct {
	metric string
	higher bool // is better
}{{"msg_per_s", true}, {"cpu", false}, {"host_cpu", false}, {"redis_cpu", false}}

// significant is the chance by which a difference may be an accident, at most.
const significant = 0.05

var errSlower = errors.New("fnhost has become slower")

// check measures drains, and compares the ratios with those of the baseline.
func check(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench check", flag.ContinueOnError)
	o := options{contenders: "floor,fnhost,fnhost-audit"}
	file := f.String("baseline", "baseline.json", "file with the ratios to compare with")
	update := f.Bool("update", false, "write the baseline anew, and compare with nothing")
	tolerance := f.Float64("tolerance", 0.1, "share by which a median may be worse")
	f.IntVar(&o.rounds, "n", 5, "rounds; with less than 4 no difference can be told from an accident")
	f.StringVar(&o.sizes, "drains", "240x60000", "backlog, as BYTESxMESSAGES")
	f.StringVar(&o.bin, "bin", "", "directory with fnhost and plugins/echo, to check another build; default: this source is built")
	if err := f.Parse(args); err != nil || f.NArg() > 0 {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return errors.Join(err, errors.New("check takes flags alone"))
	}
	now, err := measureRatios(ctx, args, o)
	if err != nil {
		return err
	}
	if *update {
		return writeFile(*file, now.write)
	}
	var before Baseline
	b, err := os.ReadFile(*file)
	if err == nil {
		err = json.Unmarshal(b, &before)
	}
	if err != nil {
		return fmt.Errorf("reading the baseline (make one with -update, on a build that is as it should be): %w", err)
	}
	return before.compare(os.Stdout, now, *tolerance)
}

func (b Baseline) write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b)
}

func measureRatios(ctx context.Context, args []string, o options) (Baseline, error) {
	var d drain
	if _, err := fmt.Sscanf(o.sizes, "%dx%d", &d.size, &d.count); err != nil || d.size < 1 || d.count < 1 {
		return Baseline{}, fmt.Errorf("-drains: %q is not BYTESxMESSAGES", o.sizes)
	}
	rivals, err := pick(contenders(), o.contenders)
	if err != nil {
		return Baseline{}, err
	}
	r := newReport(append([]string{"check"}, args...), []Scenario{d}, rivals)
	if err := r.measure(ctx, o); err != nil {
		return Baseline{}, err
	}
	now := Baseline{At: r.At, Machine: r.Machine, Ratios: map[string][]float64{}}
	for _, run := range r.Runs {
		if run.Problem != "" {
			return now, fmt.Errorf("%s, round %d: %s", run.Contender, run.Round+1, run.Problem)
		}
	}
	for _, c := range rivals[1:] {
		for _, g := range guarded {
			ratios := r.ratios(d, c, g.metric)
			for round := range o.rounds {
				if ratio, ok := ratios[round]; ok {
					now.Ratios[c.Name()+" "+g.metric] = append(now.Ratios[c.Name()+" "+g.metric], ratio)
				}
			}
		}
	}
	return now, nil
}

// compare prints each ratio beside the baseline's. It fails with errSlower if one
// is worse by more than the tolerance, and that is hardly an accident.
func (b Baseline) compare(w io.Writer, now Baseline, tolerance float64) error {
	var worse []string
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "ratio to the floor\tbaseline\tnow\tchange\tp\t\n")
	for _, name := range names(now.Ratios) {
		old, fresh := b.Ratios[name], now.Ratios[name]
		if len(old) == 0 {
			fmt.Fprintf(out, "%s\t\t%s\t\t\tnot in the baseline\n", name, summary(fresh))
			continue
		}
		before, _, _ := spread(slices.Clone(old))
		after, _, _ := spread(slices.Clone(fresh))
		change := after/before - 1
		p, loss := accident(old, fresh), change
		if higherIsBetter(name) {
			p, loss = accident(fresh, old), -change
		}
		verdict := ""
		if loss > tolerance && p < significant {
			verdict = "WORSE"
			worse = append(worse, name)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%+.0f %%\t%.3f\t%s\n", name, summary(old), summary(fresh), change*100, p, verdict)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if len(worse) > 0 {
		return fmt.Errorf("%w: %s", errSlower, strings.Join(worse, ", "))
	}
	return nil
}

func names(ratios map[string][]float64) (all []string) {
	for name := range ratios {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func higherIsBetter(name string) bool {
	for _, g := range guarded {
		if strings.HasSuffix(name, " "+g.metric) {
			return g.higher
		}
	}
	return false
}

func summary(values []float64) string {
	middle, least, most := spread(slices.Clone(values))
	return fmt.Sprintf("%.2f (%.2f–%.2f)", middle, least, most)
}

// accident is the chance that values as these come about in such an order, or a
// clearer one, though the high ones are no higher than the low ones: the
// one-sided test of Mann and Whitney, exact.
func accident(low, high []float64) float64 {
	wins := 0.0
	for _, h := range high {
		for _, l := range low {
			switch {
			case h > l:
				wins++
			case h == l:
				wins += 0.5
			}
		}
	}
	ways := arrangements(len(high), len(low))
	all, clearer := 0.0, 0.0
	for u, n := range ways {
		all += n
		if float64(u) >= wins {
			clearer += n
		}
	}
	return clearer / all
}

// arrangements says in how many orders of n and m values the n win against the m
// so many times: the index is the number of wins.
func arrangements(n, m int) []float64 {
	ways := make([]float64, n*m+1)
	if n == 0 || m == 0 {
		ways[0] = 1
		return ways
	}
	for u, w := range arrangements(n-1, m) { // the highest is of the n: it wins against all m
		ways[u+m] += w
	}
	for u, w := range arrangements(n, m-1) {
		ways[u] += w
	}
	return ways
}
