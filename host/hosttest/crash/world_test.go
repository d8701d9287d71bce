package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

const (
	// lease is short, so that what a dead host held is taken over soon. On a
	// machine so busy that it lapses by itself nothing may go wrong either.
	lease = 2 * time.Second
	// patience bounds what is waited for on a loaded machine.
	patience = 90 * time.Second
)

// A world is a namespace in some Redis: its messages, and what became of them.
type world struct {
	*testing.T
	rdb     *redis.Client // past every fault
	keys    topology.Keys
	url     string // by which workers come
	pub     *stream.Client
	history *hosttest.History
	named   int // workers so far

	mu   sync.Mutex
	jobs map[string]job // by entry id
}

// newWorld makes its group. rdb is a client of the server itself; url may lead
// workers there by way of a proxy.
func newWorld(t *testing.T, rdb *redis.Client, url, namespace string) *world {
	t.Helper()
	pub, err := stream.Open(stream.Options{URL: "redis://" + rdb.Options().Addr, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pub.Close() })
	if _, err := pub.EnsureGroups(t.Context(), roles().Groups(), "0-0"); err != nil {
		t.Fatal(err)
	}
	return &world{T: t, rdb: rdb, keys: topology.Keys{Namespace: namespace}, url: url, pub: pub, history: &hosttest.History{}, jobs: map[string]job{}}
}

func (w *world) places() hosttest.Places { return hosttest.PlacesOf(w.keys, sub(), role().DLQ) }

// publish adds messages that must arrive.
func (w *world) publish(jobs ...job) {
	w.Helper()
	for _, j := range jobs {
		if err := w.tryPublish(j); err != nil {
			w.Fatal(err)
		}
	}
}

// tryPublish adds a message, which counts once Redis has acknowledged it.
func (w *world) tryPublish(j job) error {
	_, err := w.add(j)
	return err
}

func (w *world) add(j job) (id string, err error) {
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Second)
	defer cancel()
	id, err = w.pub.Publish(ctx, sub().Stream, j.fields())
	if err != nil {
		return "", err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jobs[id] = j
	w.history.Published(id)
	return id, nil
}

// options are a new worker's, which was never there before.
func (w *world) options() options {
	w.named++
	return options{URL: w.url, Namespace: w.keys.Namespace, Owner: fmt.Sprintf("host-%d:%d", w.named, time.Now().UnixNano()), Lease: lease, Concurrency: 4}
}

// work starts a worker, which ends with the test.
func (w *world) work(change ...func(*options)) *worker {
	w.Helper()
	o := w.options()
	for _, c := range change {
		c(&o)
	}
	host, err := startWorker(o)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(host.end)
	return host
}

// eventually polls until ok.
func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// untilQuiet waits until everything published has an outcome, and everything
// that is to appear later has.
func (w *world) untilQuiet() {
	w.Helper()
	var v hosttest.Verdict
	var err error
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if w.busy() && time.Now().Before(deadline) {
			continue // full dumps cost
		}
		v, err = w.history.Check(w.Context(), w.rdb, w.places())
		if err == nil && v.Quiet() && len(v.Lost) == 0 && w.rdb.ZCard(w.Context(), w.keys.Later(outStream)).Val() == 0 {
			return
		}
		if err == nil && len(v.Lost) > 0 {
			w.Errorf("lost, while the hosts work: %v", v.Err())
			return
		}
		if time.Now().After(deadline) {
			w.Fatalf("not quiet within %s: %v, %v\n%s", patience, v, err, w.leftovers())
		}
	}
}

// busy says whether the group still has something to do.
func (w *world) busy() bool {
	groups, err := w.rdb.XInfoGroups(w.Context(), w.keys.Stream(sub().Stream)).Result()
	if err != nil || len(groups) != 1 || groups[0].Pending > 0 {
		return true
	}
	unread, err := w.rdb.XRangeN(w.Context(), w.keys.Stream(sub().Stream), "("+groups[0].LastDeliveredID, "+", 1).Result()
	return err != nil || len(unread) > 0
}

// leftovers describes what is still undecided.
func (w *world) leftovers() string {
	var b strings.Builder
	rows, _ := w.rdb.XPendingExt(w.Context(), &redis.XPendingExtArgs{Stream: w.keys.Stream(sub().Stream), Group: sub().Group, Start: "-", End: "+", Count: 20}).Result()
	for _, row := range rows {
		fmt.Fprintf(&b, "  %s of %s, idle %s, handed out %d times; lock %q\n", row.ID, row.Consumer, row.Idle, row.RetryCount, w.rdb.Get(w.Context(), w.keys.Lock(sub(), row.ID)).Val())
	}
	return b.String()
}

// judge says what became of everything, by full dumps. It wants exactly one
// outcome a message, the one that its job asks for, and everything that comes
// with it exactly once.
func (w *world) judge() hosttest.Verdict {
	w.Helper()
	v, err := w.history.Check(w.Context(), w.rdb, w.places())
	if err != nil {
		w.Fatal(err)
	}
	if err := v.Err(); err != nil || !v.Quiet() {
		w.Errorf("%v: %v\n%s", v, err, w.leftovers())
	}
	w.judgeOutcomes()
	w.judgeTraces()
	return v
}

// judgeOutcomes compares each outcome with what its job asks for.
func (w *world) judgeOutcomes() {
	w.Helper()
	jobs := w.allJobs()
	state, want := map[string]int{}, map[string]int{}
	for _, e := range w.dump(sub().Results) {
		id, _ := e.Values["entryid"].(string)
		j, known := jobs[id]
		if !known {
			continue
		}
		status, attempt := j.expect()
		if e.Values["status"] != status || e.Values["attempt"] != strconv.Itoa(attempt) {
			w.Errorf("%s ended %v in attempt %v, want %s in %d (%+v)", id, e.Values["status"], e.Values["attempt"], status, attempt, j)
		}
		if status == "ok" && j.State != "" {
			state[j.State]++
		}
		for i := range j.emissions() {
			want[fmt.Sprintf("%s/%s/%d", sub().Stream, id, i)] = 1
		}
	}
	for key, n := range state { // that everything which has a result has counted, and nothing else
		if got := w.rdb.HGet(w.Context(), w.keys.State(role().Name, key), "n").Val(); got != strconv.Itoa(n) {
			w.Errorf("the counter %s is %q, want %d", key, got, n)
		}
	}
	for _, e := range w.dump(outStream) {
		want[e.Values["id"].(string)]--
	}
	for id, left := range want {
		if left != 0 {
			w.Errorf("the emission %s appeared %d times, want once", id, 1-left)
		}
	}
}

// allJobs are the jobs of what the stream has, whether its publisher was told or
// not, and of what was published and is not there any more.
func (w *world) allJobs() map[string]job {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	jobs := maps.Clone(w.jobs)
	for _, e := range w.dump(sub().Stream) {
		var j job
		if err := json.Unmarshal([]byte(e.Values["data"].(string)), &j); err != nil {
			w.Fatal(err)
		}
		jobs[e.ID] = j
	}
	return jobs
}

// judgeTraces wants that nothing is left of what runs.
func (w *world) judgeTraces() {
	w.Helper()
	for it := w.rdb.Scan(w.Context(), 0, w.keys.LockPrefix(sub())+"*", 1000).Iterator(); it.Next(w.Context()); {
		if v := w.rdb.Get(w.Context(), it.Val()).Val(); !strings.HasPrefix(v, "D|") {
			w.Errorf("the lock %s is left: %q", it.Val(), v)
		}
	}
	for _, index := range []string{w.keys.Delayed(sub().Stream, sub().Group), w.keys.Later(outStream)} {
		if n := w.rdb.ZCard(w.Context(), index).Val(); n != 0 {
			w.Errorf("the index %s has %d left", index, n)
		}
	}
}

// judgeCounts compares the counts of the minutes with the results.
func (w *world) judgeCounts() {
	w.Helper()
	const minute = "000101010000" // of the zero time
	counted, all := 0, strings.TrimSuffix(w.keys.Stats(role().Name, time.Time{}), minute)+"*"
	for it := w.rdb.Scan(w.Context(), 0, all, 1000).Iterator(); it.Next(w.Context()); {
		for _, outcome := range []string{"ok", "error", "dropped"} {
			n, _ := w.rdb.HGet(w.Context(), it.Val(), outcome).Int()
			counted += n
		}
	}
	if results := len(w.dump(sub().Results)); counted != results {
		w.Errorf("%d outcomes are counted, and there are %d results", counted, results)
	}
}

func (w *world) dump(name string) []redis.XMessage {
	w.Helper()
	all, err := w.rdb.XRange(w.Context(), w.keys.Stream(name), "-", "+").Result()
	if err != nil {
		w.Fatal(err)
	}
	return all
}
