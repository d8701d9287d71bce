package host_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
	"github.com/fnhost/fnhost/sdk"
)

// A plant is a host at work on a private Redis, which it reaches through a proxy.
type plant struct {
	*testing.T
	srv   *hosttest.RedisServer
	proxy *hosttest.Proxy
	admin *redis.Client  // past the proxy
	redis *stream.Client // the same
	host  *host.Host
}

// sleeper answers after as many milliseconds as the message says.
var sleeper = sdk.Function{Role: "sleep", Handler: sdk.HandlerFunc(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	ms, _ := strconv.Atoi(string(m.Data))
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return &sdk.Reply{Data: m.Data}, nil
})}

// newPlant starts the host with the test's binary as its plugin: run once more,
// it gets to this call and serves.
func newPlant(t *testing.T, settings ...string) *plant {
	t.Helper()
	if os.Getenv(sdk.MagicCookieKey) == sdk.MagicCookieValue {
		sdk.Serve(sleeper) // does not return
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' -test.run '^%s$'\n", self, t.Name())
	if err := os.WriteFile(filepath.Join(dir, "sleep"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p := &plant{T: t, srv: hosttest.Redis(t)}
	p.proxy = hosttest.NewProxy(t, p.srv.Addr())
	p.admin = p.srv.Client()
	p.redis, err = stream.Open(stream.Options{URL: p.srv.URL(), Namespace: "agentic"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.redis.Close() })
	p.host, err = newHost(t, append([]string{"REDIS_URL=" + p.proxy.URL(), "FNHOST_PLUGIN_DIR=" + dir, "OPS_LEASE_TTL=3"}, settings...)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// run runs the host until the test ends.
func (p *plant) run() {
	p.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.host.Run(ctx) }()
	p.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			p.Errorf("the host ended with %v", err)
		}
	})
	<-p.host.Loaded()
	untilReadyz(p.T, p.host, `"ready":true`)
}

func (p *plant) do(args ...any) {
	p.Helper()
	if err := p.admin.Do(context.Background(), args...).Err(); err != nil && !errors.Is(err, redis.Nil) {
		p.Fatalf("%v: %v", args, err)
	}
}

// publish publishes a message that takes so long, and gives what waits for its
// one result.
func (p *plant) publish(takes time.Duration) (result func() error) {
	p.Helper()
	sub := topology.Default("sleep").Subscriptions[0]
	watch, err := p.redis.Watch(p.Context(), sub.Results)
	if err != nil {
		p.Fatal(err)
	}
	id, err := p.redis.Publish(p.Context(), sub.Stream, []string{"data", fmt.Sprint(takes.Milliseconds())})
	if err != nil {
		p.Fatal(err)
	}
	return func() error {
		ctx, cancel := context.WithTimeout(p.Context(), 30*time.Second)
		defer cancel()
		_, err := watch.Await(ctx, sub, "", id)
		return err
	}
}

// started waits until a message runs under a lease: one that was only read is
// lost with its stream, and nobody has promised otherwise.
func (p *plant) started() {
	p.Helper()
	for end := time.Now().Add(20 * time.Second); !p.leased(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.Fatal("no message was leased within 20 s")
		}
	}
}

func (p *plant) leased() bool {
	for _, lock := range p.admin.Keys(p.Context(), "agentic:ops:idemp:*").Val() {
		if strings.HasPrefix(p.admin.Get(p.Context(), lock).Val(), "P|") {
			return true
		}
	}
	return false
}

// all matches every command but those that set up a connection.
func all(command []string) bool { return command[0] != "CLIENT" && command[0] != "HELLO" }

// While something is wrong with Redis the host says so, and when it is over goes
// on by itself. Recovery times are in the log of the test.
func TestRedisInTrouble(t *testing.T) {
	p := newPlant(t)
	p.run()
	port := strings.TrimPrefix(hosttest.Redis(t).Addr(), "127.0.0.1:")
	var rule *hosttest.Rule
	answering := func(message string) func() {
		return func() { rule = p.proxy.Add(&hosttest.Rule{Match: all, Fault: hosttest.Answer(message)}) }
	}
	unrule := func() { p.proxy.Remove(rule) }
	for _, fault := range []struct {
		name         string
		begin, end   func()
		unseen, lost bool // it is over before it is seen; what runs is gone
	}{
		{name: "OOM", begin: func() { p.do("CONFIG", "SET", "maxmemory", 1) }, end: func() { p.do("CONFIG", "SET", "maxmemory", 0) }},
		{name: "READONLY", begin: answering("READONLY You can't write against a read only replica."), end: unrule},
		{name: "LOADING", begin: answering("LOADING Redis is loading the dataset in memory"), end: unrule},
		{name: "no connections", begin: func() { p.proxy.Refuse(true) }, end: func() { p.proxy.Refuse(false) }},
		{name: "max clients", begin: func() {
			p.proxy.Cut()
			answering("ERR max number of clients reached")()
		}, end: unrule},
		{name: "SCRIPT FLUSH", begin: func() { p.do("SCRIPT", "FLUSH") }, end: func() {}, unseen: true},
		{name: "connections cut", begin: p.proxy.Cut, end: func() {}, unseen: true},
		{name: "group destroyed", begin: func() { p.do("XGROUP", "DESTROY", "agentic:sleep:tasks", "sleep-workers") }, end: func() {}, unseen: true},
		{name: "stream deleted", begin: func() { p.do("DEL", "agentic:sleep:tasks") }, end: func() {}, unseen: true},
		{name: "FLUSHALL", begin: func() { p.do("FLUSHALL") }, end: func() {}, unseen: true, lost: true},
		{name: "demoted", begin: func() { p.do("REPLICAOF", "127.0.0.1", port) }, end: func() { p.do("REPLICAOF", "NO", "ONE") }, lost: true},
	} {
		result := p.publish(300 * time.Millisecond)
		p.started()
		fault.begin()
		if !fault.unseen {
			if code := untilReadyz(t, p.host, `"ready":false`); code != http.StatusServiceUnavailable {
				t.Errorf("%s: readyz answers %d", fault.name, code)
			}
		}
		fault.end()
		over := time.Now()
		if !fault.lost {
			if err := result(); err != nil {
				t.Errorf("%s: what ran has no result: %v", fault.name, err)
			}
		}
		if err := p.publish(0)(); err != nil {
			t.Fatalf("%s: no work was done after it: %v", fault.name, err)
		}
		worked := time.Since(over)
		untilReadyz(t, p.host, `"ready":true`)
		t.Logf("%-16s work after %4d ms, ready after %4d ms", fault.name, worked.Milliseconds(), time.Since(over).Milliseconds())
	}
	metrics := scrape(t, p.host)
	if !strings.Contains(metrics, `fnhost_groups_recreated_total{role="sleep"} `) || strings.Contains(metrics, `fnhost_groups_recreated_total{role="sleep"} 0`) {
		t.Error("the groups that were lost are not counted")
	}
}

// Old inputs that are decided go, and the host counts them.
func TestOldInputsAreTrimmed(t *testing.T) {
	p := newPlant(t, "REDIS_TASKS_RETENTION=1ms")
	p.run()
	p.do("CONFIG", "SET", "stream-node-max-entries", 10)
	var last func() error
	for range 100 {
		last = p.publish(0)
	}
	if err := last(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := p.admin.XLen(t.Context(), "agentic:sleep:tasks").Val()
		if left <= 20 && strings.Contains(scrape(t, p.host), fmt.Sprintf(`fnhost_stream_trimmed_total{role="sleep",stream="sleep:tasks"} %d`, 100-left)) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d entries are left of 100, or are not counted", left)
		}
	}
}

// A host whose user lacks a permission does not start, and says which.
func TestAHostWithoutItsPermissionsDoesNotStart(t *testing.T) {
	p := newPlant(t)
	p.do("ACL", "SETUSER", "bob", "on", ">secret", "~agentic:*", "+@all", "-xack")
	h, err := newHost(t, "REDIS_URL=redis://bob:secret@"+p.srv.Addr(), "FNHOST_PLUGIN_DIR="+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.Run(ctx); err == nil || !strings.Contains(err.Error(), "bob") || !strings.Contains(err.Error(), "XACK") {
		t.Errorf("the host ended with %v, want the user and the command", err)
	}
}

func TestADurabilityThatTheServerCannotGive(t *testing.T) {
	p := newPlant(t)
	h, err := newHost(t, "REDIS_URL="+p.srv.URL(), "FNHOST_PLUGIN_DIR="+t.TempDir(), "FNHOST_DURABILITY=waitaof")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.Run(ctx); err == nil || !strings.Contains(err.Error(), "FNHOST_DURABILITY") {
		t.Errorf("the host ended with %v, want that there is no append-only file to wait for", err)
	}
}
