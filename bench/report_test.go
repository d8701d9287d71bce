package main

import (
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	t.Parallel()
	took := make([]time.Duration, 1000)
	for i := range took {
		took[i] = time.Duration(i+1) * time.Millisecond
	}
	for q, want := range map[float64]float64{0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		if got := percentile(took, q); got != want {
			t.Errorf("percentile %v of 1 to 1000 ms is %v, want %v", q, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("percentile of nothing is %v", got)
	}
}

// A message that was held up counts from when it was due, not from when it was
// sent; one in the warm-up does not count; one without an answer is told, and
// counts as answered at the end.
func TestLatencyIsCountedFromWhenAMessageWasDue(t *testing.T) {
	t.Parallel()
	o := openLoop{warm: time.Second}
	begun := time.Now()
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	due := map[string]time.Time{"warm": at(0), "a": at(1000), "b": at(1100), "never": at(1200)}
	seen := map[string]time.Time{"warm": at(900), "a": at(1300), "b": at(1300), "stranger": at(1)}
	got := o.percentiles(due, seen, at(2100))
	if got["p50_ms"] != 300 || got["max_ms"] != 900 || got["unanswered"] != 1 {
		t.Errorf("got %v; want p50 300, max 900 and one unanswered", got)
	}
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	t.Parallel()
	s := drain{size: 240, count: 1}
	r := &Report{Machine: map[string]string{}, scenarios: []Scenario{s}, contenders: []Contender{floor{}, fnhost{name: "fnhost"}}}
	for round, speeds := range [][2]float64{{100, 50}, {200, 160}, {1000, 700}} {
		for i, name := range []string{"floor", "fnhost"} {
			r.Runs = append(r.Runs, Run{Scenario: s.Name(), Contender: name, Round: round, Values: map[string]float64{"msg_per_s": speeds[i]}})
		}
	}
	r.Runs = append(r.Runs, Run{Scenario: s.Name(), Contender: "fnhost", Round: 3, Problem: "it has ended"})
	var b strings.Builder
	if err := r.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| fnhost | **160** (50–700) | **0.70** (0.50–0.80) |", "| floor | **200** (100–1000) | 1.00 |", "**Failed**: drain-240, fnhost, round 4: it has ended"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}

func TestPickRefusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	if _, err := pick(contenders(), "floor,flor"); err == nil || !strings.Contains(err.Error(), `"flor"`) {
		t.Errorf("got %v, want an error that names it", err)
	}
}
