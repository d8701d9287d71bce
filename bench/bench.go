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

	"github.com/redis/go-redis/v9"
)

// Binaries are what the contenders run.
type Binaries struct {
	Self    string // this program
	Fnhost  string
	Plugins string // directory with examples/echo
	Echo    string // bench/echo, which takes its role from its file's name
}

// binaries builds what the contenders run: fnhost and examples/echo in their own
// module, and so with its versions of everything, unless a directory with them is
// given; and bench/echo.
func binaries(ctx context.Context, given, dir string) (Binaries, error) {
	self, err := os.Executable()
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{Self: self, Fnhost: filepath.Join(dir, "fnhost"), Plugins: filepath.Join(dir, "plugins"), Echo: filepath.Join(dir, "echo")}
	own, err := module(ctx)
	if err != nil {
		return b, err
	}
	if err := build(ctx, own, "./echo", b.Echo); err != nil {
		return b, err
	}
	if given != "" {
		given, err = filepath.Abs(given) // they run in directories of their own
		b.Fnhost, b.Plugins = filepath.Join(given, "fnhost"), filepath.Join(given, "plugins")
		return b, err
	}
	if err := build(ctx, filepath.Dir(own), "./cmd/fnhost", b.Fnhost); err != nil {
		return b, err
	}
	return b, build(ctx, filepath.Dir(own), "./examples/echo", filepath.Join(b.Plugins, "echo"))
}

// module is the folder of our own module.
func module(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding our own module: %w", err)
	}
	file := strings.TrimSpace(string(mod))
	if file == "" || file == os.DevNull {
		return "", errors.New("run this in the folder bench: fnhost is built from the module above it")
	}
	return filepath.Dir(file), nil
}

func build(ctx context.Context, module, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Dir = module
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, said)
	}
	return nil
}

// A Run is one scenario with one contender, once.
type Run struct {
	Scenario  string             `json:"scenario"`
	Contender string             `json:"contender"`
	Round     int                `json:"round"`
	Values    map[string]float64 `json:"values"` // by the name of the metric
	Commands  map[string]float64 `json:"commands_per_1000_messages,omitempty"`
	Micros    map[string]float64 `json:"redis_us_per_message,omitempty"` // a script's include what it called
	Requests  map[string]float64 `json:"requests_per_second,omitempty"`
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
	// Contenders are those that take part, of all that were chosen or of its own;
	// ratios are to the first.
	Contenders(chosen []Contender) []Contender
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

// start starts the contender's processes.
func (b *bed) start(c Contender) (crew, error) {
	cmds, err := c.Commands(b.site)
	if err != nil {
		return nil, err
	}
	return startCrew(cmds)
}

// done is how many messages the contender has answered.
func (b *bed) done(ctx context.Context, c Contender) (n int64, err error) {
	keys := c.Results()
	lengths := make([]*redis.IntCmd, len(keys))
	_, err = b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			lengths[i] = p.XLen(ctx, key)
		}
		return nil
	})
	for _, length := range lengths {
		n += length.Val()
	}
	return n, err
}

// answered waits until the contender has answered n messages.
func (b *bed) answered(ctx context.Context, c Contender, p crew, n int64) error {
	err := eventually(ctx, 2*time.Millisecond, func() (bool, error) {
		done, err := b.done(ctx, c)
		if err == nil {
			err = p.ended()
		}
		return done >= n, err
	})
	if err != nil {
		return fmt.Errorf("waiting for %d answers: %w; it said:\n%s", n, err, p.output())
	}
	return nil
}
