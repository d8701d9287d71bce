package sdktest

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/config"
	"github.com/fnhost/fnhost/host/embedded"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
	"github.com/fnhost/fnhost/sdk"
)

// Binary is the path of a plugin's executable, for [Start].
type Binary string

// Host is the real host with one plugin process, on an embedded Redis.
type Host struct {
	t     testing.TB
	redis *stream.Client
	host  *host.Host
	role  topology.Role
}

// Start runs the real host with the plugin, which is a [sdk.Function] or a
// [Binary], as a process of its own, and waits until it serves. Settings of the
// host may follow, as `REDIS_MAX_RETRIES=0`. All ends with the test.
//
// A function becomes a process by running the test's binary once more, up to
// this very call, which serves it there: so Start should come early in its test,
// and what the test does before is done twice.
func Start(t testing.TB, plugin any, settings ...string) *Host {
	t.Helper()
	file := executable(t, plugin)
	server, err := embedded.Start()
	require(t, err, "starting the embedded Redis")
	t.Cleanup(server.Close)
	cfg, err := config.Load(config.Sources{WorkDir: t.TempDir(), Environ: append([]string{
		"REDIS_URL=" + server.URL(), "FNHOST_STATE_DIR=" + t.TempDir(), "FNHOST_PLUGIN_DIR=" + filepath.Dir(file),
		"FNHOST_METRICS_ADDR=127.0.0.1:0", "OPS_LEASE_TTL=3",
	}, settings...)})
	require(t, err, "reading the settings")
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	h := &Host{t: t}
	h.host, err = host.New(cfg, host.Options{Version: "sdktest", Logger: log})
	require(t, err, "making the host")
	require(t, h.host.Start(t.Context()), "starting the host")
	t.Cleanup(h.stop)
	h.redis, err = stream.Open(stream.Options{URL: server.URL(), Namespace: cfg.Namespace})
	require(t, err, "connecting to the embedded Redis")
	t.Cleanup(func() { _ = h.redis.Close() })
	h.await()
	return h
}

// executable gives a file, alone in its folder, that runs the plugin.
func executable(t testing.TB, plugin any) string {
	t.Helper()
	switch p := plugin.(type) {
	case Binary:
		file := filepath.Join(t.TempDir(), filepath.Base(string(p)))
		data, err := os.ReadFile(string(p))
		require(t, err, "reading the plugin")
		require(t, os.WriteFile(file, data, 0o755), "copying the plugin")
		return file
	case sdk.Function:
		if os.Getenv(sdk.MagicCookieKey) == sdk.MagicCookieValue {
			sdk.Serve(p) // does not return
		}
		self, err := os.Executable()
		require(t, err, "finding the test's binary")
		file := filepath.Join(t.TempDir(), "plugin")
		script := fmt.Sprintf("#!/bin/sh\nexec %s -test.run %s\n", quote(self), quote(pattern(t.Name())))
		require(t, os.WriteFile(file, []byte(script), 0o755), "writing the plugin's start")
		return file
	}
	t.Fatalf("sdktest: a plugin is an sdk.Function or a sdktest.Binary, not a %T", plugin)
	return ""
}

// pattern matches one test by its full name, for -test.run.
func pattern(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func require(t testing.TB, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("sdktest: %s: %v", doing, err)
	}
}

// await waits until the plugin's role is served.
func (h *Host) await() {
	h.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for _, r := range h.host.Roles() {
			switch r.State {
			case "serving":
				h.role, _ = h.host.Role(r.Role)
				return
			case "refused":
				h.t.Fatalf("sdktest: the host refuses the plugin: %s", r.Reason)
			}
		}
	}
	h.t.Fatalf("sdktest: the plugin did not serve within %s: %+v", patience, h.host.Roles())
}

func (h *Host) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.host.Drain(ctx); err != nil {
		h.t.Errorf("sdktest: draining the host: %v", err)
	}
	h.host.Stop()
}

// An Answer is what became of a message in the host, after all its attempts.
type Answer struct {
	Status     string // ok, error (dead-lettered) or dropped
	Data       []byte // of the result
	DeadReason string // why it was dead-lettered; empty: it was not
	Error      string // of a message that is not ok
	Fields     map[string]string
}

// Run publishes a message to the role's first stream and waits for what becomes
// of it. Attributes, as type, are names and values in turn.
func (h *Host) Run(data []byte, attributes ...string) Answer {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	sub := h.role.Subscriptions[0]
	watch, err := h.redis.WatchAnswers(ctx, sub, h.role.DLQ)
	require(h.t, err, "looking at the results")
	id, err := h.redis.Publish(ctx, sub.Stream, append(attributes[:len(attributes):len(attributes)], "data", string(data)))
	require(h.t, err, "publishing")
	found, err := watch.Await(ctx, sub, h.role.DLQ, id)
	require(h.t, err, "waiting for the result of entry "+id)
	return answerOf(found)
}

func answerOf(found stream.Answer) Answer {
	a := Answer{Fields: map[string]string{}}
	for i := 0; i+1 < len(found.Entry.Fields); i += 2 {
		a.Fields[found.Entry.Fields[i]] = found.Entry.Fields[i+1]
	}
	if found.Dead {
		a.Status, a.DeadReason, a.Error = "error", a.Fields["dlqreason"], a.Fields["dlqerror"]
		return a
	}
	a.Status, a.Data = a.Fields["status"], []byte(a.Fields["data"])
	var failure struct{ Message string }
	if json.Unmarshal([]byte(a.Fields["error"]), &failure) == nil {
		a.Error = failure.Message
	}
	return a
}
