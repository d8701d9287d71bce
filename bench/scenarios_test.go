package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain is the process of a contender, if a scenario has started one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRequestsAreThoseThatClientsSend(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		`+1795559250.1 [0 127.0.0.1:60866] "EVALSHA" "abc" "1" "k"` + "\r\n": "evalsha",
		`+1795559250.1 [0 lua] "xack" "k" "g" "1-0"` + "\r\n":                "",
		`+1795559250.1 [0 unix:/tmp/x] "PING"` + "\r\n":                      "ping",
		"+OK\r\n": "",
	} {
		if got, ok := request(line); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v; want %q", line, got, ok, want)
		}
	}
}

func TestPlotsAreDrawnToScale(t *testing.T) {
	t.Parallel()
	s := drain{size: 240, count: 1}
	r := &Report{scenarios: []Scenario{s}, contenders: []Contender{floor{}, fnhost{name: "a<b"}, asynqQueue{}}}
	for round, v := range []float64{90, 100} {
		r.Runs = append(r.Runs, Run{Scenario: s.Name(), Contender: "floor", Round: round, Values: map[string]float64{"msg_per_s": v}})
	}
	r.Runs = append(r.Runs, Run{Scenario: s.Name(), Contender: "a<b", Values: map[string]float64{"msg_per_s": 50}})
	panels := r.plot(s)
	if len(panels) != 1 || len(panels[0].bars) != 2 {
		t.Fatalf("got %+v; want one panel with those that ran", panels)
	}
	picture := svg(s.Title(), panels)
	for _, want := range []string{`width="240.0" height="14" fill="#2f6fde"`, `width="456.0" height="14" fill="#9aa0a6"`, ">a&lt;b</text>", ">95</text>"} {
		if !strings.Contains(picture, want) {
			t.Errorf("the picture lacks %s:\n%s", want, picture)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is not XML: %v", err)
		}
	}
	dir := t.TempDir() + "/plots"
	if err := r.writePlots(dir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(dir + "/drain-240.svg"); err != nil || string(b) != picture {
		t.Errorf("the file is not the picture: %v", err)
	}
}

func TestQuickLeavesWhatWasGiven(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"-quick", "-n", "2", "-last", "1s"})
	if err != nil || o.rounds != 2 || o.last != time.Second || o.idle != 5*time.Second || o.backlog >= 1_000_000 {
		t.Errorf("got %+v, %v", o, err)
	}
	if o, err := parse(nil); err != nil || o.rounds != 3 || o.idle != 20*time.Second {
		t.Errorf("without it: %+v, %v", o, err)
	}
}

// TestScenarios runs each scenario with little to do, so that a change of the host
// that breaks one is seen.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute; make bench-check or -run without -short")
	}
	bin, err := binaries(t.Context(), "", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := options{sizes: "240x2000,65536x600", rates: "100", last: time.Second, idle: time.Second, backlog: 30_000, roles: 1600, hosts: 2000}
	scenarios, err := o.pickScenarios()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		for _, c := range s.Contenders(contenders()) {
			t.Run(s.Name()+"/"+c.Name(), func(t *testing.T) {
				r := run(t.Context(), bin, s, c, 0)
				if r.Problem != "" {
					t.Fatal(r.Problem)
				}
				for _, m := range s.Metrics() {
					if _, there := r.Values[m.Name]; !there {
						t.Errorf("no value for %s: %v", m.Name, r.Values)
					}
				}
				t.Log(r.Values)
			})
		}
	}
}
