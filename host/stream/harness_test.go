package stream

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/embedded"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	me   = "host-a:1"
	peer = "host-b:1"
)

var sub = topology.Subscription{Role: "rag", Stream: "rag:tasks", Group: "rag-workers", Results: "rag:results", Own: true}

// A world is one server, a client of it, and a plain connection to look behind it.
type world struct {
	*testing.T
	c    *Client
	rdb  *redis.Client
	srv  *hosttest.RedisServer // nil: embedded
	subs topology.Subscription
}

// real runs on a private redis-server.
func onReal(t *testing.T, args ...string) *world {
	t.Helper()
	srv := hosttest.Redis(t, args...)
	return open(t, srv.URL(), srv)
}

// onBoth runs the test on a private redis-server and on the embedded one.
func onBoth(t *testing.T, test func(*world)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(onReal(t))
	})
	onEmbedded(t, test)
}

func onEmbedded(t *testing.T, test func(*world)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		srv, err := embedded.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(srv.Close)
		test(open(t, srv.URL(), nil))
	})
}

func open(t *testing.T, url string, srv *hosttest.RedisServer) *world {
	t.Helper()
	c, err := Open(Options{URL: url, Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	o.Protocol, o.DisableIdentity = 2, true
	rdb := redis.NewClient(o)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		_ = rdb.Close()
	})
	return &world{T: t, c: c, rdb: rdb, srv: srv, subs: sub}
}

// log gives the log of an owner, past its first lease, in which it would leave
// lapsed leases alone.
func (w *world) log(owner string, lease time.Duration) *Log {
	w.Helper()
	l := w.c.Log(w.subs, LogOptions{Owner: owner, Lease: lease, DoneTTL: time.Minute, Block: time.Second, ShortBlock: w.srv == nil})
	l.since = time.Now().Add(-time.Hour)
	w.groups("0-0")
	return l
}

func (w *world) groups(start string) []Created {
	w.Helper()
	made, err := w.c.EnsureGroups(w.Context(), []topology.Group{{Stream: w.subs.Stream, Group: w.subs.Group}}, start)
	if err != nil {
		w.Fatal(err)
	}
	return made
}

func (w *world) publish(n int) (ids []string) {
	w.Helper()
	for i := range n {
		id, err := w.c.Publish(w.Context(), w.subs.Stream, []string{"type", "rag.query", "n", fmt.Sprint(i)})
		if err != nil {
			w.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// do runs a command that must succeed, and gives its reply.
func (w *world) do(args ...any) any {
	w.Helper()
	v, err := w.rdb.Do(w.Context(), args...).Result()
	if err != nil && err != redis.Nil {
		w.Fatalf("%v: %v", args, err)
	}
	return v
}

func (w *world) read(l *Log, n int) []delivery.Entry {
	w.Helper()
	entries, err := l.Read(w.Context(), n)
	if err != nil {
		w.Fatal(err)
	}
	if len(entries) != n {
		w.Fatalf("read %d entries, want %d", len(entries), n)
	}
	return entries
}

// begun reads and begins n messages.
func (w *world) begun(l *Log, n int) []delivery.Held {
	w.Helper()
	return w.begin(l, w.read(l, n))
}

func (w *world) begin(l *Log, entries []delivery.Entry) (held []delivery.Held) {
	w.Helper()
	leases, err := l.Begin(w.Context(), entries)
	if err != nil {
		w.Fatal(err)
	}
	for _, lease := range leases {
		if lease.Status != delivery.Granted {
			w.Fatalf("begin %s: %s, want granted", lease.ID, lease.Status)
		}
		held = append(held, delivery.Held{ID: lease.ID, Grant: lease.Grant})
	}
	return held
}

func (w *world) commit(l *Log, commits ...delivery.Commit) []delivery.CommitResult {
	w.Helper()
	results, err := l.Commit(w.Context(), commits)
	if err != nil {
		w.Fatal(err)
	}
	return results
}

// done is a commit with a result.
func done(h delivery.Held) delivery.Commit {
	return delivery.Commit{Held: h, Outcome: "ok", Latency: 3 * time.Millisecond,
		Adds: []delivery.Add{{Stream: sub.Results, Fields: []string{"entryid", h.ID, "id", sub.Stream + "/" + h.ID}}}}
}

func (w *world) reclaim(l *Log, room int) (taken []delivery.Reclaimed, lost []string) {
	w.Helper()
	taken, lost, err := l.Reclaim(w.Context(), func(string) bool { return false }, room)
	if err != nil {
		w.Fatal(err)
	}
	return taken, lost
}

// eventually polls until ok, for at most 20 s.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not within 20 s: %s", what)
		}
	}
}

func (w *world) pending() int64 {
	w.Helper()
	p, err := w.rdb.XPending(w.Context(), w.c.keys.Stream(w.subs.Stream), w.subs.Group).Result()
	if err != nil {
		w.Fatal(err)
	}
	return p.Count
}

func (w *world) results() []delivery.Entry {
	w.Helper()
	all, err := w.c.Range(w.Context(), w.subs.Results, "-", "+", 1<<20)
	if err != nil {
		w.Fatal(err)
	}
	return all
}

func (w *world) lockValue(id string) string {
	w.Helper()
	return w.rdb.Get(w.Context(), w.c.keys.Lock(w.subs, id)).Val()
}

func statuses(results []delivery.CommitResult) (s []delivery.CommitStatus) {
	for _, r := range results {
		s = append(s, r.Status)
	}
	return s
}

func (w *world) wantStatuses(results []delivery.CommitResult, want ...delivery.CommitStatus) {
	w.Helper()
	if got := statuses(results); !slices.Equal(got, want) {
		w.Fatalf("commits answered %v, want %v (%+v)", got, want, results)
	}
}

// told keeps what a log tells its observer.
type told struct {
	created  []Created
	replayed []string
	age      time.Duration
	trimmed  int64
	oldest   string
}

// observed keeps what the log tells from now on. It is for one goroutine.
func (l *Log) observed() *told {
	t := &told{}
	l.o.Observer = t
	return t
}

func (t *told) Recreated(c Created) { t.created = append(t.created, c) }
func (t *told) Replayed(_ topology.Subscription, ids []string) {
	t.replayed = append(t.replayed, ids...)
}
func (t *told) Floor(_ topology.Subscription, age time.Duration) { t.age = age }
func (t *told) DeadLettersTrimmed(_ string, n int64, oldest string) {
	t.trimmed, t.oldest = t.trimmed+n, oldest
}
