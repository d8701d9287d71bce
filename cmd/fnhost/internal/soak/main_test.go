// Package soak runs whole hosts, plugins and a redis-server under load, ends and
// stalls them at random, and compares what comes out with what was put in.
package soak

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// The short form is for every change; `make soak` runs the long one.
var (
	long     = flag.Bool("soak.long", false, "hold recovery times, memory and goroutines to their limits as well")
	seed     = flag.Uint64("soak.seed", 0, "choose messages and faults by this seed; 0: a fixed and a random one")
	hosts    = flag.Int("soak.hosts", 2, "how many hosts; the first one is never ended, to see whether it grows")
	messages = flag.Int("soak.messages", 600, "how many messages, besides those that measure")
	length   = flag.Duration("soak.for", 9*time.Second, "how long messages are published")
	lease    = flag.Duration("soak.lease", time.Second, "OPS_LEASE_TTL")
	binaries = flag.String("soak.bin", "", "directory of fnhost, echo and probe; empty: they are built")
	keep     = flag.String("soak.logs", "", "directory for the logs of the hosts; empty: they are shown if the test fails")
)

// built is the directory of the binaries, made once for all tests.
var built string

// TestMain builds the binaries as a user would: without the race detector.
func TestMain(m *testing.M) {
	flag.Parse()
	redis.SetLogger(silence{})
	var err error
	if built, err = os.MkdirTemp("", "fnhost-soak-"); err == nil {
		err = build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.RemoveAll(built)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(built)
		os.Exit(code)
	}))
}

func build() error {
	if *binaries != "" {
		return os.CopyFS(built, os.DirFS(*binaries))
	}
	const module = "github.com/fnhost/fnhost/"
	cmd := exec.Command("go", "build", "-ldflags", "-X main.version=v1.2.3", "-o", built+string(filepath.Separator),
		module+"cmd/fnhost", module+"examples/echo", module+"examples/probe")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the binaries: %w\n%s", err, out)
	}
	return nil
}
