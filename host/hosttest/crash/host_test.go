package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/config"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/sdk"
)

// plugin is the function of whole hosts: jobs, in a process of their own, which
// answers with its number.
func plugin() sdk.Function {
	return sdk.Function{
		Name: "job", Role: role().Name, Version: "test", Emits: role().Emits,
		Handler: sdk.HandlerFunc(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
			var j job
			if err := json.Unmarshal(m.Data, &j); err != nil {
				return nil, sdk.Permanent(err)
			}
			return handleJob(ctx, m, j)
		}),
	}
}

func handleJob(ctx context.Context, m *sdk.Message, j job) (*sdk.Reply, error) {
	if !pause(ctx, time.Duration(j.Slow)*time.Millisecond) {
		return nil, context.Cause(ctx)
	}
	switch failed := fmt.Errorf("as it was asked to"); {
	case m.Attempt <= j.Fails && j.After > 0:
		return nil, sdk.RetryAfter(time.Duration(j.After)*time.Millisecond, failed)
	case m.Attempt <= j.Fails:
		return nil, failed
	case j.End == "dead":
		return nil, sdk.Permanent(failed)
	case j.End == "drop":
		return nil, sdk.Drop("as it was asked to")
	}
	if j.State != "" {
		state, err := sdk.State(ctx, j.State)
		if err != nil {
			return nil, err
		}
		n := 0
		if err := state.Decode("n", &n); err != nil {
			return nil, sdk.Permanent(err)
		}
		state.Set("n", strconv.Itoa(n+1))
	}
	reply := &sdk.Reply{Data: []byte(strconv.Itoa(os.Getpid()))}
	for i := range j.emissions() {
		if err := reply.Emit(outStream, "job.emission", i); err != nil {
			return nil, err
		}
		if i > 0 || !j.Emit {
			reply.Emissions[i].NotBefore = time.Now().Add(time.Duration(j.Later) * time.Millisecond)
		}
	}
	return reply, nil
}

// newHost gives a whole host with the plugin in the file.
func newHost(o options) (*host.Host, error) {
	plugins := filepath.Dir(o.Plugin)
	dir := filepath.Dir(plugins)
	cfg, err := config.Load(config.Sources{WorkDir: dir, Environ: []string{
		"REDIS_URL=" + o.URL, "REDIS_NAMESPACE=" + o.Namespace, "REDIS_GROUP_START=0-0",
		"OPS_LEASE_TTL=" + o.Lease.String(), "OPS_IDEMP_TTL=10m", "REDIS_MAX_RETRIES=" + strconv.Itoa(maxRetries),
		"FNHOST_PLUGIN_DIR=" + plugins, "FNHOST_STATE_DIR=" + filepath.Join(dir, "state"),
		"FNHOST_METRICS_ADDR=off", "FNHOST_ADMIN_ADDR=off",
	}})
	if err != nil {
		return nil, err
	}
	return host.New(cfg, host.Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
}

// beHost is a whole host until its standard input ends.
func beHost(o options, ended <-chan struct{}) error {
	h, err := newHost(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-ended
		cancel()
	}()
	return h.Run(ctx)
}

// wholeHost starts a host here, and gives what ends it.
func (w *world) wholeHost(o options) (end func()) {
	w.Helper()
	h, err := newHost(o)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	done := false
	end = func() {
		if done {
			return
		}
		done = true
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("the host ended with %v", err)
		}
	}
	w.Cleanup(end)
	return end
}

// hostOptions are those of a whole host; its plugin is this program.
func (w *world) hostOptions() options {
	w.Helper()
	o := w.options()
	self, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	o.Plugin = filepath.Join(w.TempDir(), "plugins", "job")
	w.must(os.Mkdir(filepath.Dir(o.Plugin), 0o755))
	w.must(os.WriteFile(o.Plugin, []byte("#!/bin/sh\nexec '"+self+"'\n"), 0o755))
	return o
}

// wholeJob is a job for a plugin that dies only when it is killed.
func wholeJob(i int) job {
	j := mixed(i)
	j.Deaths = 0
	return j
}

// TestWholeHosts puts two hosts with plugins under load, and breaks something.
func TestWholeHosts(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*world, *hosttest.RedisServer, *child){
		"Redis is killed": func(_ *world, srv *hosttest.RedisServer, _ *child) {
			srv.Kill()
			srv.Restart()
		},
		"a host is killed": func(_ *world, _ *hosttest.RedisServer, c *child) {
			_ = c.cmd.Process.Kill()
		},
		"plugins are killed": func(w *world, _ *hosttest.RedisServer, _ *child) {
			for range 3 {
				w.killPlugins()
				time.Sleep(300 * time.Millisecond)
			}
		},
	} {
		if !full && name != "a host is killed" {
			continue // a host with a plugin costs a second of a processor only to begin
		}
		t.Run(name, func(t *testing.T) {
			w, srv, _ := besieged(t, hosttest.AppendOnly...)
			end := w.wholeHost(w.hostOptions())
			c := w.start(w.hostOptions())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			loaded := make(chan struct{})
			go func() {
				defer close(loaded)
				w.publishUntil(ctx, wholeJob)
			}()
			w.eventually("the hosts work", func() bool { return len(w.plugins()) == 2 && w.decided() > before })
			fault(w, srv, c)
			ended := time.Now()
			w.publishSoon(whole)
			resumed := time.Since(ended)
			published := w.history.Len()
			w.eventually("more messages come", func() bool { return w.history.Len() > published+after })
			cancel()
			<-loaded
			w.untilQuiet()
			if name != "a host is killed" {
				c.drained()
			}
			end()
			t.Logf("%v; resumed within %s", w.judge(), resumed.Round(time.Millisecond))
			w.judgeCounts()
		})
	}
}

// plugins are the processes that have answered.
func (w *world) plugins() map[int]bool {
	w.Helper()
	pids := map[int]bool{}
	for _, e := range w.dump(sub().Results) {
		if data, _ := e.Values["data"].(string); e.Values["status"] == "ok" {
			if pid, err := strconv.Atoi(data); err == nil {
				pids[pid] = true
			}
		}
	}
	return pids
}

// killPlugins kills each process of a plugin that answered last.
func (w *world) killPlugins() {
	w.Helper()
	results := w.dump(sub().Results)
	for i := len(results) - 1; i >= max(0, len(results)-20); i-- {
		data, _ := results[i].Values["data"].(string)
		if pid, err := strconv.Atoi(data); err == nil && isPlugin(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// isPlugin says whether a process is still this program: it may have died before,
// and its number be another's.
func isPlugin(pid int) bool {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	self, selfErr := os.Executable()
	return err == nil && selfErr == nil && name == self && pid != os.Getpid()
}
