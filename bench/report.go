package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A Metric is a column of a scenario's table.
type Metric struct {
	Name, Title string
	Decimals    int
	Ratio       bool // is also given as a ratio to the first contender's
	Plot        bool
}

// Report is everything that was measured.
type Report struct {
	At      time.Time         `json:"at"`
	Machine map[string]string `json:"machine"`
	Command string            `json:"command"`
	Runs    []Run             `json:"runs"`

	scenarios  []Scenario
	contenders []Contender // those chosen; a scenario may have others
	plots      string      // folder of the plots, as the Markdown names it; empty: none
}

// machine says on what was measured, and how busy it was before.
func machine() map[string]string {
	m := map[string]string{"go": runtime.Version(), "system": runtime.GOOS + "/" + runtime.GOARCH, "cores": fmt.Sprint(runtime.NumCPU())}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m["load"] = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				m["cpu"] = strings.TrimSpace(value)
				break
			}
		}
	}
	if out, err := exec.Command("redis-server", "--version").Output(); err == nil {
		m["redis"] = strings.TrimPrefix(strings.Fields(string(out))[2], "v=")
	}
	return m
}

// WriteJSON writes all runs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

const preface = `Each run has a fresh redis-server without persistence; contenders take turns. A cell is the median of the rounds, with the least and the most.
Ratios are of the same round, to the first row. Only ratios of one table compare; absolute numbers are the machine's.

Latency is by an open loop: messages are due at a fixed rate, and each counts from when it was due, whatever held it up or its publisher; one without
an answer counts as answered at the end. Requests to Redis of an idle contender are those that MONITOR shows, without the commands that scripts call.

` + "`fnhost bench ROLE`" + ` measures a role on your own Redis. ` + "`make bench-check`" + ` says whether a change made fnhost slower beside the floor.

`

const absent = `
Not measured: River, which needs PostgreSQL; what has no results stream answers by an XADD of its handler.
`

// WriteMarkdown writes one table a scenario: medians, the spread, and ratios.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance\n\nMeasured by `%s`, %s, with %s, on %s cores (%s), redis-server %s on the same machine; load before: %s.\n\n",
		r.Command, r.At.UTC().Format(time.DateTime+" UTC"), r.Machine["go"], r.Machine["cores"], r.Machine["cpu"], r.Machine["redis"], r.Machine["load"])
	b.WriteString(preface)
	for _, c := range allContenders(r.scenarios, r.contenders) {
		fmt.Fprintf(&b, "- `%s`: %s\n", c.Name(), c.What())
	}
	b.WriteString(absent)
	for _, s := range r.scenarios {
		r.table(&b, s)
		if r.plots != "" && r.plot(s) != nil {
			fmt.Fprintf(&b, "\n![%s](%s/%s.svg)\n", s.Title(), r.plots, s.Name())
		}
	}
	r.problems(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) table(b *strings.Builder, s Scenario) {
	fmt.Fprintf(b, "\n## %s\n\n| |", s.Title())
	rule := "|---|"
	for _, m := range s.Metrics() {
		fmt.Fprintf(b, " %s |", m.Title)
		rule += "---:|"
		if m.Ratio {
			b.WriteString(" ratio |")
			rule += "---:|"
		}
	}
	fmt.Fprintf(b, "\n%s\n", rule)
	for _, c := range s.Contenders(r.contenders) {
		if len(r.values(s, c, s.Metrics()[0].Name)) == 0 {
			continue
		}
		fmt.Fprintf(b, "| %s |", c.Name())
		for _, m := range s.Metrics() {
			fmt.Fprintf(b, " %s |", cell(r.values(s, c, m.Name), m.Decimals))
			if m.Ratio {
				fmt.Fprintf(b, " %s |", cell(r.ratios(s, c, m.Name), 2))
			}
		}
		b.WriteString("\n")
	}
}

// values are a metric's, by round.
func (r *Report) values(s Scenario, c Contender, metric string) map[int]float64 {
	all := map[int]float64{}
	for _, run := range r.Runs {
		if value, ok := run.Values[metric]; ok && run.Scenario == s.Name() && run.Contender == c.Name() {
			all[run.Round] = value
		}
	}
	return all
}

// ratios are to the first contender, in the same round.
func (r *Report) ratios(s Scenario, c Contender, metric string) map[int]float64 {
	all := map[int]float64{}
	base := r.values(s, s.Contenders(r.contenders)[0], metric)
	for round, value := range r.values(s, c, metric) {
		if base[round] > 0 {
			all[round] = value / base[round]
		}
	}
	return all
}

func cell(byRound map[int]float64, decimals int) string {
	if len(byRound) == 0 {
		return ""
	}
	middle, least, most := spread(slices.Collect(maps.Values(byRound)))
	if len(byRound) == 1 || fmt.Sprintf("%.*f", decimals, least) == fmt.Sprintf("%.*f", decimals, most) {
		return fmt.Sprintf("%.*f", decimals, middle)
	}
	return fmt.Sprintf("**%.*f** (%.*f–%.*f)", decimals, middle, decimals, least, decimals, most)
}

func (r *Report) problems(b *strings.Builder) {
	for _, run := range r.Runs {
		if run.Problem != "" {
			line, _, _ := strings.Cut(run.Problem, "\n")
			fmt.Fprintf(b, "\n**Failed**: %s, %s, round %d: %s\n", run.Scenario, run.Contender, run.Round+1, line)
		}
	}
}

// spread gives median, least and most.
func spread(values []float64) (middle, least, most float64) {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]
}

// percentile of sorted times, in milliseconds: the least that the share q of
// them does not pass.
func percentile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := int(q*float64(len(sorted))+0.999999) - 1
	return float64(sorted[min(max(at, 0), len(sorted)-1)].Nanoseconds()) / 1e6
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
