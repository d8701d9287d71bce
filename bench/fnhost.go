package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/redis/go-redis/v9"
)

// fnhost is `fnhost serve` with examples/echo as its one plugin. concurrency is
// for throughput; 0 keeps the default. Latency is measured with the defaults.
type fnhost struct {
	name        string
	concurrency int
	audit       bool
}

func (f fnhost) Name() string { return f.name }

func (f fnhost) What() string {
	audit := "audit off"
	if f.audit {
		audit = "full audit"
	}
	if f.concurrency == 0 {
		return "fnhost serve, examples/echo in its own process, default concurrency, " + audit
	}
	return fmt.Sprintf("fnhost serve, examples/echo in its own process, FNHOST_CONCURRENCY=%d for drains, %s", f.concurrency, audit)
}

func (fnhost) Publish(ctx context.Context, rdb *redis.Client, payload string, n int) ([]string, error) {
	return publishFields(ctx, rdb, "bench:echo:tasks", n, task(payload))
}

func (f fnhost) Command(s Site) *exec.Cmd {
	cmd := exec.Command(s.Bin.Fnhost, "serve")
	cmd.Dir = s.Dir
	audit := "0"
	if f.audit {
		audit = "1"
	}
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "TMPDIR=" + s.Dir,
		"REDIS_URL=redis://" + s.Addr, "REDIS_NAMESPACE=bench", "REDIS_GROUP_START=0-0",
		"FNHOST_PLUGIN_DIR=" + s.Bin.Plugins, "FNHOST_STATE_DIR=" + filepath.Join(s.Dir, "state"),
		"FNHOST_METRICS_ADDR=127.0.0.1:0", "FNHOST_ADMIN_ADDR=off", "FNHOST_LOG_FORMAT=text",
		"OPS_AUDIT_ENABLED=" + audit,
	}
	if f.concurrency > 0 && s.Purpose == Throughput {
		cmd.Env = append(cmd.Env, fmt.Sprintf("FNHOST_CONCURRENCY=%d", f.concurrency))
	}
	return cmd
}

func (fnhost) Results() string  { return "bench:echo:results" }
func (fnhost) KeyField() string { return "entryid" }
