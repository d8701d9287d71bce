package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// fakeLog is a stream, its group and locks in memory, for one owner.
type fakeLog struct {
	mu        sync.Mutex
	unread    []delivery.Entry
	arrived   chan struct{}
	locks     map[string]delivery.Grant
	stolen    map[string]bool
	decided   map[string]string
	added     map[string][][]string // by stream
	handed    []string
	parked    map[string]delivery.Rerun
	refuse    map[string]string // stream -> reason
	conflicts map[string]int    // id -> how many commits conflict
	down      error
	fence     uint64
	sizes     []int                     // messages of each commit that was written
	known     map[string]delivery.Grant // what the locks of unread entries have
	taken     []delivery.Reclaimed      // for the next Reclaim
	calls     map[string]int

	loadErr      error // of every load
	refusesLoads bool  // loadErr says that it is no outage
}

var errDown = errors.New("connection refused")

func newFakeLog() *fakeLog {
	return &fakeLog{
		arrived: make(chan struct{}, 1), locks: map[string]delivery.Grant{}, stolen: map[string]bool{}, decided: map[string]string{},
		added: map[string][][]string{}, parked: map[string]delivery.Rerun{}, refuse: map[string]string{}, conflicts: map[string]int{}, calls: map[string]int{},
		known: map[string]delivery.Grant{},
	}
}

// publish adds an entry; fields are names and values in turn.
func (l *fakeLog) publish(n int, fields ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.add(n, fields...)
}

func (l *fakeLog) add(n int, fields ...string) string {
	id := fmt.Sprintf("%d-%d", time.Now().UnixMilli(), n)
	l.unread = append(l.unread, delivery.Entry{ID: id, Fields: fields, Delivered: 1})
	wake(l.arrived)
	return id
}

func (l *fakeLog) call(name string) error {
	l.calls[name]++
	return l.down
}

func (l *fakeLog) Read(ctx context.Context, count int) ([]delivery.Entry, error) {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-l.arrived:
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("read"); err != nil {
		wake(l.arrived)
		return nil, err
	}
	n := min(count, len(l.unread))
	entries := l.unread[:n]
	l.unread = l.unread[n:]
	if len(l.unread) > 0 {
		wake(l.arrived)
	}
	return entries, nil
}

func (l *fakeLog) Reconcile(context.Context, func(string) bool) ([]delivery.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nil, l.call("reconcile")
}

func (l *fakeLog) Begin(_ context.Context, entries []delivery.Entry) ([]delivery.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("begin"); err != nil {
		return nil, err
	}
	leases := make([]delivery.Lease, len(entries))
	for i, e := range entries {
		leases[i] = delivery.Lease{ID: e.ID, Status: delivery.Busy}
		if !l.stolen[e.ID] {
			g := delivery.Grant{Attempt: 1}
			if known, ok := l.known[e.ID]; ok {
				g = known
			}
			leases[i] = l.grant(e.ID, g.Attempt, g.Deaths)
		}
	}
	return leases, nil
}

func (l *fakeLog) grant(id string, attempt, deaths int) delivery.Lease {
	l.fence++
	g := delivery.Grant{Fence: l.fence, Attempt: attempt, Deaths: deaths}
	l.locks[id] = g
	return delivery.Lease{ID: id, Status: delivery.Granted, Grant: g}
}

func (l *fakeLog) ours(h delivery.Held) bool {
	return !l.stolen[h.ID] && l.locks[h.ID].Fence == h.Fence && l.decided[h.ID] == ""
}

func (l *fakeLog) Renew(_ context.Context, held []delivery.Held) ([]delivery.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("renew"); err != nil {
		return nil, err
	}
	leases := make([]delivery.Lease, len(held))
	for i, h := range held {
		leases[i] = delivery.Lease{ID: h.ID, Status: delivery.Stale, Grant: h.Grant}
		if l.ours(h) {
			leases[i].Status = delivery.Granted
		}
	}
	return leases, nil
}

func (l *fakeLog) Commit(_ context.Context, commits []delivery.Commit) ([]delivery.CommitResult, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("commit"); err != nil {
		return nil, err
	}
	results := make([]delivery.CommitResult, len(commits))
	for i, c := range commits {
		results[i] = l.commitOne(c)
	}
	return results, nil
}

func (l *fakeLog) commitOne(c delivery.Commit) delivery.CommitResult {
	all := append([]delivery.Member{{Held: c.Held, Outcome: c.Outcome, Adds: c.Adds, Audit: c.Audit}}, c.Also...)
	var lost []string
	for _, m := range all {
		if !l.ours(m.Held) {
			lost = append(lost, m.ID)
		}
	}
	if len(lost) > 0 {
		return delivery.CommitResult{ID: c.ID, Status: delivery.CommitLost, Lost: lost}
	}
	if l.conflicts[c.ID] > 0 {
		l.conflicts[c.ID]--
		return delivery.CommitResult{ID: c.ID, Status: delivery.Conflict}
	}
	for _, m := range all {
		for _, add := range m.Adds {
			if reason := l.refuse[add.Stream]; reason != "" {
				return delivery.CommitResult{ID: c.ID, Status: delivery.Refused, Reason: reason}
			}
		}
	}
	l.sizes = append(l.sizes, len(all))
	for _, m := range all {
		for _, add := range append(m.Adds, m.Audit...) {
			l.added[add.Stream] = append(l.added[add.Stream], add.Fields)
		}
		l.decided[m.ID] = m.Outcome
	}
	return delivery.CommitResult{ID: c.ID, Status: delivery.Committed}
}

func (l *fakeLog) Rerun(_ context.Context, reruns []delivery.Rerun) ([]delivery.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("rerun"); err != nil {
		return nil, err
	}
	leases := make([]delivery.Lease, len(reruns))
	for i, rr := range reruns {
		leases[i] = delivery.Lease{ID: rr.ID, Status: delivery.Stale}
		if !l.ours(rr.Held) {
			continue
		}
		leases[i] = l.grant(rr.ID, rr.Attempt, rr.Deaths)
		if rr.Park {
			l.parked[rr.ID] = rr
			l.stolen[rr.ID] = true
		}
	}
	return leases, nil
}

func (l *fakeLog) HandBack(_ context.Context, held []delivery.Held) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.call("handback"); err != nil {
		return err
	}
	for _, h := range held {
		if l.ours(h) {
			l.handed = append(l.handed, h.ID)
			l.stolen[h.ID] = true
		}
	}
	return nil
}

func (l *fakeLog) AwaitReclaim(ctx context.Context) error {
	second := time.NewTimer(time.Second)
	defer second.Stop()
	select {
	case <-second.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *fakeLog) Reclaim(context.Context, func(string) bool, int) ([]delivery.Reclaimed, []string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.taken
	l.taken = nil
	return taken, nil, l.call("reclaim")
}

func (l *fakeLog) Load(_ context.Context, loads ...delivery.Load) (answers []delivery.Loaded) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := cmp.Or(l.call("load"), l.loadErr)
	for _, load := range loads {
		answer := delivery.Loaded{Request: load.Request, Found: true, Version: "7", Fields: []string{"n", "1"}}
		if err != nil {
			answer = delivery.Loaded{Request: load.Request, Err: err, Unavailable: !l.refusesLoads}
		}
		answers = append(answers, answer)
	}
	return answers
}

func (l *fakeLog) Unblock() {}

// set changes the store under its lock.
func (l *fakeLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *fakeLog) entries(stream string) [][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.added[stream]
}

// field gives the value of a field of an entry.
func field(fields []string, name string) string {
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == name {
			return fields[i+1]
		}
	}
	return ""
}

// fakeFunction runs a handler as a function process does: in order of arrival,
// at most concurrency at once, one reply each.
type fakeFunction struct {
	handle      func(ctx context.Context, d *delivery.Delivery) delivery.Reply
	concurrency int
	sink        Sink
	changed     chan struct{}

	mu      sync.Mutex
	down    bool
	running map[uint64]context.CancelCauseFunc
	queue   []*delivery.Delivery
	kills   []string
	loaded  []delivery.Loaded
	most    int  // handlers seen at once
	pid     int  // of the process now
	mortal  bool // after a death it is down
}

// processKey names the fakeFunction in a handler's context.
type processKey struct{}

// die ends the process that a handler runs in.
func die(ctx context.Context) { ctx.Value(processKey{}).(*fakeFunction).die() }

var errCancelled = errors.New("cancelled")

func (f *fakeFunction) Deliver(ds []*delivery.Delivery) {
	f.mu.Lock()
	if f.down {
		f.mu.Unlock()
		for _, d := range ds {
			f.sink.Replies([]delivery.Reply{{Number: d.Number, Verdict: delivery.Died}})
		}
		return
	}
	defer f.mu.Unlock()
	f.queue = append(f.queue, ds...)
	f.fill()
}

// fill starts what may start.
func (f *fakeFunction) fill() {
	for len(f.queue) > 0 && len(f.running) < f.concurrency {
		d := f.queue[0]
		f.queue = f.queue[1:]
		ctx, cancel := context.WithCancelCause(context.Background())
		f.running[d.Number] = cancel
		f.most = max(f.most, len(f.running))
		go f.run(ctx, d)
	}
}

func (f *fakeFunction) run(ctx context.Context, d *delivery.Delivery) {
	reply := f.handle(context.WithValue(ctx, processKey{}, f), d)
	reply.Number, reply.Started = d.Number, true
	f.mu.Lock()
	reply.Plugin.PID = f.pid
	_, known := f.running[d.Number]
	delete(f.running, d.Number)
	f.fill()
	f.mu.Unlock()
	if known {
		f.sink.Replies([]delivery.Reply{reply})
	}
}

func (f *fakeFunction) Cancel(numbers []uint64, _ delivery.Cause) {
	f.mu.Lock()
	var dropped []delivery.Reply
	for _, n := range numbers {
		if cancel := f.running[n]; cancel != nil {
			cancel(errCancelled)
			continue
		}
		for i, d := range f.queue {
			if d.Number == n {
				f.queue = append(f.queue[:i:i], f.queue[i+1:]...)
				dropped = append(dropped, delivery.Reply{Number: n, Verdict: delivery.NotStarted})
				break
			}
		}
	}
	f.mu.Unlock()
	if len(dropped) > 0 {
		f.sink.Replies(dropped)
	}
}

// die ends the process: everything it had gets a reply of Died.
func (f *fakeFunction) die() {
	f.mu.Lock()
	var replies []delivery.Reply
	for n, cancel := range f.running {
		cancel(errCancelled)
		replies = append(replies, delivery.Reply{Number: n, Verdict: delivery.Died, Started: true, Error: delivery.Error{Type: "plugin died", Message: "exit status 3"}, Plugin: delivery.Plugin{PID: f.pid}})
	}
	for _, d := range f.queue {
		replies = append(replies, delivery.Reply{Number: d.Number, Verdict: delivery.Died})
	}
	f.running, f.queue = map[uint64]context.CancelCauseFunc{}, nil
	f.pid++
	f.down = f.down || f.mortal
	f.mu.Unlock()
	f.sink.Replies(replies)
}

func (f *fakeFunction) setDown(down bool) {
	f.mu.Lock()
	f.down = down
	f.mu.Unlock()
	wake(f.changed)
}

func (f *fakeFunction) Loaded(loaded []delivery.Loaded) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded = append(f.loaded, loaded...)
}

func (f *fakeFunction) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.down
}

func (f *fakeFunction) Changed() <-chan struct{} { return f.changed }
func (f *fakeFunction) Concurrency() int         { return f.concurrency }

func (f *fakeFunction) Kill(reason string) {
	f.mu.Lock()
	f.kills = append(f.kills, reason)
	f.mu.Unlock()
	f.die()
}

// nobody observes.
type nobody struct{}

func (nobody) Received(topology.Subscription, []delivery.Entry)                          {}
func (nobody) Reclaimed(*delivery.Delivery)                                              {}
func (nobody) Started(*delivery.Delivery)                                                {}
func (nobody) Retried(*delivery.Delivery, delivery.Outcome)                              {}
func (nobody) Finished(*delivery.Delivery, string, string, time.Duration, time.Duration) {}
func (nobody) Lost(topology.Subscription, string)                                        {}
func (nobody) Stale(*delivery.Delivery)                                                  {}
func (nobody) StoreError(topology.Subscription, string, error)                           {}
