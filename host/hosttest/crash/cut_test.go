package crash

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/stream"
)

// scripts names each script by its hash.
var scripts = sync.OnceValue(func() map[string]string {
	const dir = "../../stream/lua"
	names := map[string]string{}
	common, err := os.ReadFile(filepath.Join(dir, "common.lua"))
	files, globErr := filepath.Glob(filepath.Join(dir, "*.lua"))
	if err := errors.Join(err, globErr); err != nil {
		panic(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".lua")
		names[hash(string(text))] = name
		names[hash(string(common)+string(text))] = name
	}
	return names
})

func hash(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// commands are the operations that are not scripts.
var commands = map[string]string{
	"XREADGROUP": "read", "XPENDING": "reconcile", "XRANGE": "bodies", "XADD": "publish", "ZADD": "publish", "CLIENT": "hello", "HGETALL": "load", "HMGET": "load",
}

// operation names what a command is for: a script, or one of commands.
func operation(command []string) string {
	switch command[0] {
	case "EVALSHA":
		return scripts()[command[1]]
	case "EVAL":
		return scripts()[hash(command[1])]
	}
	return commands[command[0]]
}

// is gives the matcher of an operation.
func is(op string) func([]string) bool {
	return func(command []string) bool { return operation(command) == op }
}

// A trip is a round trip to Redis, and the work in which it comes up.
type trip struct {
	op      string
	jobs    []job
	before  string                // what another host did before; it is dead
	prepare func(*world)          // once the host works, before the messages come
	also    *hosttest.Rule        // a fault that leads to the round trip
	after   func(*world, *worker) // once the messages are there
}

func trips() []trip {
	fresh := again(6, whole)
	return []trip{
		{op: "hello", jobs: fresh},
		{op: "read", jobs: fresh},
		{op: "begin", jobs: fresh},
		{op: "load", jobs: fresh},
		{op: "commit", jobs: fresh},
		{op: "rerun", jobs: again(6, job{Fails: 1, State: "a", Emit: true})},
		{op: "renew", jobs: again(6, job{Slow: 1600, State: "a"})},
		{op: "scan", jobs: fresh, before: "begin"},
		{op: "takeover", jobs: fresh, before: "begin"},
		{op: "reconcile", jobs: fresh, also: &hosttest.Rule{Match: is("read"), Fault: hosttest.CutAfter, Times: 1}},
		{op: "bodies", jobs: fresh, also: &hosttest.Rule{Match: is("read"), Fault: hosttest.CutAfter, Times: 1}},
		{op: "promote", jobs: fresh},
		{op: "group", jobs: fresh, prepare: func(w *world) {
			if err := w.rdb.XGroupDestroy(w.Context(), w.keys.Stream(sub().Stream), sub().Group).Err(); err != nil {
				w.Fatal(err)
			}
		}},
		{op: "handback", jobs: again(12, job{Slow: 200, State: "a"}), after: func(w *world, host *worker) {
			w.eventually("the host works", func() bool { return host.role.Held() > 4 })
			go func() { _ = host.role.Drain(context.WithoutCancel(w.Context())) }()
		}},
	}
}

// A cut is how a round trip fails.
type cut struct {
	name  string
	fault hosttest.Fault
	times int
}

func cuts() []cut {
	all := []cut{
		{"before it was executed", hosttest.CutBefore, 1},
		{"in place of the answer", hosttest.CutAfter, 1},
		{"in the middle of the answer", hosttest.CutMid, 1},
	}
	if full {
		for _, c := range slices.Clone(all) {
			all = append(all, cut{c.name + " four times", c.fault, 4})
		}
	}
	return all
}

// times collects how long things took.
type times struct {
	mu  sync.Mutex
	all []time.Duration
}

func (c *times) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, d)
}

func (c *times) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return "none"
	}
	slices.Sort(c.all)
	return fmt.Sprintf("%d times, p50 %s, max %s", len(c.all), c.all[len(c.all)/2].Round(time.Millisecond), c.all[len(c.all)-1].Round(time.Millisecond))
}

// logs writes them when all of a test's cases have ended.
func (c *times) logs(t *testing.T, what string) {
	t.Cleanup(func() { t.Logf("%s: %s", what, c) })
}

// TestCut cuts the connection at each round trip. The host goes on by itself.
func TestCut(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	resumed := &times{}
	resumed.logs(t, "from the cut to the outcome of a message that came after it")
	for n, tr := range trips() {
		for m, c := range cuts() {
			if tr.op == "group" && c.times > 1 && c.fault != hosttest.CutBefore {
				continue // once it was executed there is a group, and nothing to be asked again
			}
			t.Run(tr.op+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				proxy := hosttest.NewProxy(t, srv.Addr())
				w := newWorld(t, srv.Client(), proxy.URL(), fmt.Sprintf("c%d.%d", n, m))
				w.cut(proxy, tr, c, resumed)
			})
		}
	}
}

func (w *world) cut(proxy *hosttest.Proxy, tr trip, c cut, resumed *times) {
	w.Helper()
	if tr.before != "" {
		w.publish(tr.jobs...)
		w.deadBefore(tr.before)
	}
	host := w.work(func(o *options) { o.Idle = true })
	rule := proxy.Add(&hosttest.Rule{Match: is(tr.op), Fault: c.fault, Times: c.times})
	if tr.also != nil {
		proxy.Add(&hosttest.Rule{Match: tr.also.Match, Fault: tr.also.Fault, Times: tr.also.Times})
	}
	host.fn.serve(true)
	if tr.prepare != nil {
		tr.prepare(w)
	}
	if tr.before == "" {
		w.publish(tr.jobs...)
	}
	if tr.after != nil {
		tr.after(w, host)
	}
	w.eventually("the fault happens", func() bool { return rule.Done() == c.times })
	ended := time.Now()
	if tr.op == "handback" {
		w.eventually("the host has drained", func() bool { return host.role.Held() == 0 })
		host = w.work()
	}
	w.publishAndWait(whole)
	took := time.Since(ended)
	w.Logf("work resumed within %s", took.Round(time.Millisecond))
	resumed.add(took)
	w.untilQuiet()
	if err := host.stop(patience); err != nil {
		w.Error(err)
	}
	w.judge()
	w.judgeCounts()
}

// publishAndWait adds one message and waits for its outcome.
func (w *world) publishAndWait(j job) {
	w.Helper()
	id, err := w.add(j)
	if err != nil {
		w.Fatal(err)
	}
	w.untilDecided(id)
}

func (w *world) untilDecided(id string) {
	w.Helper()
	lock := w.keys.Lock(sub(), id)
	w.eventually("a message that comes later has an outcome", func() bool {
		return strings.HasPrefix(w.rdb.Get(w.Context(), lock).Val(), "D|")
	})
}

// TestHalfOpen leaves a request without an answer, on a connection that stays
// open: after a while the host gives it up, and goes on.
func TestHalfOpen(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	resumed := &times{}
	resumed.logs(t, "from the last sign of life of a connection to the next outcome")
	for n, tr := range trips() {
		if !full && !slices.Contains([]string{"read", "begin", "commit", "renew", "takeover"}, tr.op) {
			continue
		}
		t.Run(tr.op, func(t *testing.T) {
			t.Parallel()
			proxy := hosttest.NewProxy(t, srv.Addr())
			w := newWorld(t, srv.Client(), proxy.URL(), fmt.Sprintf("h%d", n))
			w.cut(proxy, tr, cut{"never", hosttest.Swallow, 1}, resumed)
		})
	}
}

// TestPublishIsSentOnce counts what a cut leaves of a publish: the client never
// repeats it by itself.
func TestPublishIsSentOnce(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	for n, c := range cuts() {
		proxy := hosttest.NewProxy(t, srv.Addr())
		w := newWorld(t, srv.Client(), proxy.URL(), fmt.Sprintf("p%d", n))
		client, err := stream.Open(stream.Options{URL: proxy.URL(), Namespace: w.keys.Namespace})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		proxy.Add(&hosttest.Rule{Match: is("publish"), Fault: c.fault})
		if _, err := client.Publish(t.Context(), sub().Stream, whole.fields()); !errors.Is(err, stream.ErrUnavailable) {
			t.Errorf("%s: the publisher is told %v", c.name, err)
		}
		if err := client.PublishAt(t.Context(), outStream, whole.fields(), time.Now()); !errors.Is(err, stream.ErrUnavailable) {
			t.Errorf("%s: the publisher for later is told %v", c.name, err)
		}
		want := 1
		if c.fault == hosttest.CutBefore {
			want = 0
		}
		if got := len(w.dump(sub().Stream)); got != want {
			t.Errorf("%s: %d entries, want %d", c.name, got, want)
		}
		if got := w.rdb.ZCard(t.Context(), w.keys.Later(outStream)).Val(); got != int64(want) {
			t.Errorf("%s: %d entries for later, want %d", c.name, got, want)
		}
	}
}
