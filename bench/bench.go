package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Binaries are what the contenders run.
type Binaries struct {
	Self    string // this program
	Fnhost  string
	Plugins string // directory with examples/echo
}

// binaries are those in a directory that was given, or else what build builds.
func binaries(ctx context.Context, given, dir string) (Binaries, error) {
	if given == "" {
		return build(ctx, dir)
	}
	self, err := os.Executable()
	if err != nil {
		return Binaries{}, err
	}
	given, err = filepath.Abs(given) // they run in directories of their own
	return Binaries{Self: self, Fnhost: filepath.Join(given, "fnhost"), Plugins: filepath.Join(given, "plugins")}, err
}

// build builds fnhost and examples/echo, in their own module and so with its
// versions of everything.
func build(ctx context.Context, dir string) (Binaries, error) {
	self, err := os.Executable()
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{Self: self, Fnhost: filepath.Join(dir, "fnhost"), Plugins: filepath.Join(dir, "plugins")}
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return b, fmt.Errorf("finding our own module: %w", err)
	}
	file := strings.TrimSpace(string(mod))
	if file == "" || file == os.DevNull {
		return b, errors.New("run this in the folder bench: fnhost is built from the module above it")
	}
	root := filepath.Join(filepath.Dir(file), "..")
	for pkg, out := range map[string]string{"./cmd/fnhost": b.Fnhost, "./examples/echo": filepath.Join(b.Plugins, "echo")} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
		cmd.Dir = root
		if said, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("building %s: %w\n%s", pkg, err, said)
		}
	}
	return b, nil
}

// A Run is one scenario with one contender, once.
type Run struct {
	Scenario  string             `json:"scenario"`
	Contender string             `json:"contender"`
	Round     int                `json:"round"`
	Values    map[string]float64 `json:"values"` // by the name of the metric
	Commands  map[string]float64 `json:"commands_per_1000_messages,omitempty"`
	Micros    map[string]float64 `json:"redis_us_per_message,omitempty"` // a script's include what it called
	Problem   string             `json:"problem,omitempty"`
}

// A bed is a fresh redis-server and an empty directory, for one run.
type bed struct {
	*server
	site Site
}

func makeBed(ctx context.Context, bin Binaries, purpose Purpose) (*bed, error) {
	dir, err := os.MkdirTemp("", "fnhost-bench-")
	if err != nil {
		return nil, err
	}
	s, err := startServer(ctx, dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	return &bed{s, Site{Addr: s.addr, Dir: dir, Bin: bin, Purpose: purpose}}, nil
}

func (b *bed) close() {
	b.server.close()
	_ = os.RemoveAll(b.site.Dir)
}

// A Scenario is what every contender is put through.
type Scenario interface {
	Name() string
	Title() string
	Purpose() Purpose
	Metrics() []Metric
	Run(ctx context.Context, b *bed, c Contender) (Run, error)
}

// run runs a scenario with a contender on a bed of its own.
func run(ctx context.Context, bin Binaries, s Scenario, c Contender, round int) Run {
	failed := func(err error) Run {
		return Run{Scenario: s.Name(), Contender: c.Name(), Round: round, Problem: err.Error()}
	}
	b, err := makeBed(ctx, bin, s.Purpose())
	if err != nil {
		return failed(err)
	}
	defer b.close()
	r, err := s.Run(ctx, b, c)
	if err != nil {
		return failed(err)
	}
	r.Scenario, r.Contender, r.Round = s.Name(), c.Name(), round
	return r
}

// answered waits until the contender has answered n messages.
func (b *bed) answered(ctx context.Context, c Contender, p *process, n int64) error {
	err := eventually(ctx, 2*time.Millisecond, func() (bool, error) {
		done, err := b.rdb.XLen(ctx, c.Results()).Result()
		if err == nil {
			err = p.ended()
		}
		return done >= n, err
	})
	if err != nil {
		return fmt.Errorf("waiting for %d answers: %w; it said:\n%s", n, err, p.output.String())
	}
	return nil
}
