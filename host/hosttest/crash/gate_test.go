package crash

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/dispatch"
	"github.com/fnhost/fnhost/host/stream"
)

// A point is a moment in a host's work at which something happens to it. Only
// calls that concern a message count: not a look that finds nothing.
type point struct {
	Op      string // read, begin, deliver, reply, commit, rerun, hand_back, renew, reclaim, reconcile or promote
	After   bool   // after it was done; else before
	N       int    // at the so many-th time; 0: the first
	Attempt int    // only calls with a message in such an attempt, or a later one, count
	Do      action
}

// action is what happens at a point.
type action string

const (
	kill  action = "kill"  // SIGKILL
	stop  action = "stop"  // SIGSTOP, until somebody else sends SIGCONT
	drain action = "drain" // the host begins to drain
	lose  action = "lose"  // the answer is lost
)

func (p point) String() string {
	when := "before"
	if p.After {
		when = "after"
	}
	s := fmt.Sprintf("%s %s", when, p.Op)
	if p.Attempt > 0 {
		s += fmt.Sprintf(" of attempt %d", p.Attempt)
	}
	if p.Do != kill {
		s = string(p.Do) + " " + s
	}
	return s
}

// stopping is what a process prints before it stops itself.
const stopping = "stopping"

// A gate is a worker's log and its function, and knows the points.
type gate struct {
	dispatch.Log
	w *worker

	mu       sync.Mutex
	points   []point
	counts   []int
	attempts map[uint64]int // by delivery number
	drains   sync.WaitGroup
}

var errAnswerLost = fmt.Errorf("%w: the answer was lost", stream.ErrUnavailable)

func newGate(log dispatch.Log, w *worker, points []point) *gate {
	return &gate{Log: log, w: w, points: points, counts: make([]int, len(points)), attempts: map[uint64]int{}}
}

// at is passed before and after each operation, with the highest attempt that it
// concerns. It says whether the answer is lost.
func (g *gate) at(op string, after bool, attempt int) (lost bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, p := range g.points {
		if p.Op != op || p.After != after || attempt < p.Attempt {
			continue
		}
		g.counts[i]++
		if g.counts[i] != max(p.N, 1) {
			continue
		}
		switch p.Do {
		case kill:
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		case stop:
			standStill()
		case drain:
			g.drains.Go(func() { _ = g.w.role.Drain(context.Background()) })
		case lose:
			lost = true
		}
	}
	return lost
}

// standStill stops the process. A stop reaches some thread in its own time: this
// one waits for it.
func standStill() {
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, syscall.SIGCONT)
	fmt.Println(stopping)
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-resumed
}

// pass puts the points around a call. n says how many messages its answer has.
func pass[T any](g *gate, op string, attempt int, call func() (T, error), n func(T) int) (T, error) {
	g.at(op, false, attempt)
	answer, err := call()
	if err == nil && n(answer) > 0 && g.at(op, true, attempt) {
		var none T
		return none, errAnswerLost
	}
	return answer, err
}

// count is the length of an answer.
func count[T any](all []T) int { return len(all) }

// highest is the highest attempt among messages.
func highest[T any](all []T, attempt func(T) int) int {
	n := 0
	for _, each := range all {
		n = max(n, attempt(each))
	}
	return n
}

func (g *gate) Read(ctx context.Context, n int) ([]delivery.Entry, error) {
	return pass(g, "read", 1, func() ([]delivery.Entry, error) { return g.Log.Read(ctx, n) }, count)
}

func (g *gate) Reconcile(ctx context.Context, held func(string) bool) ([]delivery.Entry, error) {
	return pass(g, "reconcile", 1, func() ([]delivery.Entry, error) { return g.Log.Reconcile(ctx, held) }, count)
}

func (g *gate) Begin(ctx context.Context, entries []delivery.Entry) ([]delivery.Lease, error) {
	return pass(g, "begin", 1, func() ([]delivery.Lease, error) { return g.Log.Begin(ctx, entries) }, count)
}

func (g *gate) Renew(ctx context.Context, held []delivery.Held) ([]delivery.Lease, error) {
	return pass(g, "renew", highest(held, attemptOf), func() ([]delivery.Lease, error) { return g.Log.Renew(ctx, held) }, count)
}

func (g *gate) Commit(ctx context.Context, commits []delivery.Commit) ([]delivery.CommitResult, error) {
	attempt := highest(commits, func(c delivery.Commit) int { return c.Attempt })
	return pass(g, "commit", attempt, func() ([]delivery.CommitResult, error) { return g.Log.Commit(ctx, commits) }, count)
}

func (g *gate) Rerun(ctx context.Context, reruns []delivery.Rerun) ([]delivery.Lease, error) {
	attempt := highest(reruns, func(r delivery.Rerun) int { return r.Held.Attempt })
	return pass(g, "rerun", attempt, func() ([]delivery.Lease, error) { return g.Log.Rerun(ctx, reruns) }, count)
}

func (g *gate) HandBack(ctx context.Context, held []delivery.Held) error {
	_, err := pass(g, "hand_back", highest(held, attemptOf), func() (int, error) { return len(held), g.Log.HandBack(ctx, held) }, self)
	return err
}

func attemptOf(h delivery.Held) int { return h.Attempt }
func self(n int) int                { return n }

func (g *gate) Reclaim(ctx context.Context, skip func(string) bool, room int) (taken []delivery.Reclaimed, lost []string, err error) {
	taken, err = pass(g, "reclaim", 1, func() ([]delivery.Reclaimed, error) {
		var taken []delivery.Reclaimed
		var err error
		taken, lost, err = g.Log.Reclaim(ctx, skip, room)
		return taken, err
	}, count)
	return taken, lost, err
}

// promote adds the entries that are due.
func (g *gate) promote(ctx context.Context) error {
	_, err := pass(g, "promote", 1, func() (stream.Promoted, error) {
		return g.w.client.Promote(ctx, roles().Targets())
	}, func(p stream.Promoted) int { return p.Added })
	return err
}

// behind is a function behind the points.
func (g *gate) behind(f *function) gatedFunction { return gatedFunction{f, g} }

type gatedFunction struct {
	*function
	g *gate
}

func (f gatedFunction) Deliver(ds []*delivery.Delivery) {
	f.g.mu.Lock()
	for _, d := range ds {
		f.g.attempts[d.Number] = d.Attempt()
	}
	f.g.mu.Unlock()
	attempt := highest(ds, (*delivery.Delivery).Attempt)
	f.g.at("deliver", false, attempt)
	f.function.Deliver(ds)
	f.g.at("deliver", true, attempt)
}

// Wake has nothing to do: a function is always there.
func (f gatedFunction) Wake() {}

// sink is the way of the function's replies, behind the points.
func (g *gate) sink(to dispatch.Sink) dispatch.Sink { return gatedSink{to, g} }

type gatedSink struct {
	dispatch.Sink
	g *gate
}

func (s gatedSink) Replies(replies []delivery.Reply) {
	s.g.mu.Lock()
	attempt := highest(replies, func(r delivery.Reply) int { return s.g.attempts[r.Number] })
	s.g.mu.Unlock()
	s.g.at("reply", false, attempt)
	s.Sink.Replies(slices.Clone(replies))
	s.g.at("reply", true, attempt)
}
