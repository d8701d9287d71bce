// Package endtoend tests what a user has: the fnhost command, plugin binaries,
// and a redis-server, each as a process of its own.
package endtoend

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// built is the directory of the binaries, made once for all tests.
var built string

const module = "github.com/fnhost/fnhost/"

// TestMain builds the binaries as a user would: without the race detector.
func TestMain(m *testing.M) {
	// Tests wait for leases, backoffs and timeouts most of the time, so more of
	// them than there are processors run at once. The command line overrides it.
	if err := flag.Set("test.parallel", "5"); err != nil {
		panic(err)
	}
	var err error
	if built, err = os.MkdirTemp("", "fnhost-endtoend-"); err == nil {
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
	cmd := exec.Command("go", "build", "-ldflags", "-X main.version=v1.2.3", "-o", built+string(filepath.Separator),
		module+"cmd/fnhost", module+"examples/echo", module+"examples/probe",
		module+"plugins/cm", module+"plugins/orchestrator", module+"plugins/rag", module+"plugins/persist")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the binaries: %w\n%s", err, out)
	}
	return nil
}
