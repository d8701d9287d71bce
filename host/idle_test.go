package host_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/sdk"
)

// What a host asks of Redis while there is nothing to do: a read of each role
// every five seconds, a look at all groups and one at all entries for later every
// second, and heartbeats and the survey now and then. A request for each role every
// second is too much.
func TestAnIdleHostHardlyAsksRedis(t *testing.T) {
	if os.Getenv(sdk.MagicCookieKey) == sdk.MagicCookieValue {
		sdk.Serve(sdk.Function{Role: os.Getenv("ROLE"), Handler: sleeper.Handler}) // does not return
	}
	t.Parallel()
	const roles, window, most = 4, 4 * time.Second, 6 // a second
	srv := hosttest.Redis(t)
	h, err := newHost(t, "REDIS_URL="+srv.URL(), "FNHOST_PLUGIN_DIR="+playing(t, roles))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the host ended with %v", err)
		}
	})
	<-h.Loaded()
	untilReadyz(t, h, `"ready":true`)
	rdb, got := srv.Client(), 0.0
	for range 5 { // it settles first
		before := requests(t, rdb)
		start := time.Now()
		time.Sleep(window)
		got = float64(requests(t, rdb)-before-1) / time.Since(start).Seconds()
		t.Logf("%.1f requests a second", got)
		if got <= most {
			return
		}
	}
	t.Errorf("a host of %d idle roles sends %.1f requests a second, want %d at most", roles, got, most)
}

// playing gives a plugin directory of so many roles, all played by the test's
// binary: run once more, it gets to the test and serves.
func playing(t *testing.T, roles int) (dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for i := range roles {
		role := fmt.Sprintf("idle%d", i)
		script := fmt.Sprintf("#!/bin/sh\nROLE=%s exec '%s' -test.run '^%s$'\n", role, self, t.Name())
		if err := os.WriteFile(filepath.Join(dir, role), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var reads = regexp.MustCompile(`total_reads_processed:(\d+)`)

// requests is how often the server has read from a client: commands that are sent
// together count once, those of a script not at all.
func requests(t *testing.T, rdb *redis.Client) int {
	t.Helper()
	info, err := rdb.Info(t.Context(), "stats").Result()
	if err != nil {
		t.Fatal(err)
	}
	found := reads.FindStringSubmatch(info)
	if found == nil {
		t.Fatalf("this redis-server does not count its reads: %s", info)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
