// Package dispatch is one role at work: it reads as much as the role's window has
// room for, takes the leases, hands deliveries to the function, and settles what
// comes back. It knows no Redis, no processes and no metrics; what it needs of
// them it declares in ports.go.
//
// Read deliver.go first: it is the way of one message.
package dispatch

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/retry"
	"github.com/fnhost/fnhost/host/topology"
)

// Subscription is an input stream of the role with its log.
type Subscription struct {
	topology.Subscription
	Log Log
}

// Config is what a role needs to work. All fields are required but where it says
// otherwise.
type Config struct {
	Role          string
	Host          string // the consumer name, for audit
	Subscriptions []Subscription
	Function      Function
	Quarantine    Quarantine                // runs suspects; nil: there is none, and no message is suspected
	Topology      func() *topology.Topology // as it is now
	DLQ           string                    // empty: final failures are discarded
	Policy        retry.Policy
	Window        int           // messages held at once; 0: as many as a quarter second's work, up to MaxWindow
	Batch         int           // messages of one key handed over together, at most MaxBatch; 0, 1: one
	Timeout       time.Duration // of a handler
	Grace         time.Duration // what a handler gets on top before its process is killed
	Lease         time.Duration
	MaxLen        int64 // trims results and dead letters; 0: no trimming
	Observer      Observer
	Sampled       func(stream, id string) bool // whether a message is audited; nil: none is
	AuditMaxLen   int64                        // trims the audit streams to about so many entries
	Logger        *slog.Logger
}

// Role is a role at work.
type Role struct {
	cfg  Config
	log  *slog.Logger
	subs []*subscription

	numbers atomic.Uint64 // of deliveries
	loads   loadQueue
	stop    context.CancelFunc
	reading context.CancelFunc
	readers sync.WaitGroup
	workers sync.WaitGroup
	timerC  chan struct{} // the delays have changed
	renewC  chan struct{} // a lease is too old to start under
	renews  beat
	watches beat

	mu       sync.Mutex
	window   window
	out      map[uint64]*item // handed to the function or the quarantine, by delivery number
	order    *list.List       // those with the function, in order of their handing over
	frontier *list.Element    // the first of them that has not started
	started  int              // how many of them have
	ready    []*item          // may be handed over
	suspects suspects         // to be run alone, in the quarantine
	killed   bool             // we have killed the process: its end is no message's fault
	lanes    map[string][]*item
	delays   delays
	draining bool
	readDone bool          // draining, and no reader is left
	emptied  chan struct{} // closed when readDone and nothing is held
}

// subscription is an input stream at work. Fields below mu are guarded by the
// role's mu.
type subscription struct {
	Subscription
	roomC   chan struct{} // there may be room, or a reason to look
	settleC chan struct{} // there is something to settle

	held     map[string]*item // by entry id
	bytes    int
	settling []settlement
	trouble  map[string]error // by operation: what the store last said, if it did not work
}

// New gives a role that is not working yet.
func New(cfg Config) *Role {
	r := &Role{
		cfg: cfg, log: cfg.Logger.With("role", cfg.Role),
		timerC: make(chan struct{}, 1), renewC: make(chan struct{}, 1), renews: newBeat(), watches: newBeat(),
		out: map[uint64]*item{}, order: list.New(), lanes: map[string][]*item{}, suspects: suspects{ran: noProcess},
		emptied: make(chan struct{}),
	}
	r.window = newWindow(cfg.Window, cfg.Function.Concurrency())
	r.loads.wake = make(chan struct{}, 1)
	for _, sub := range cfg.Subscriptions {
		r.subs = append(r.subs, &subscription{
			Subscription: sub, held: map[string]*item{}, trouble: map[string]error{},
			roomC: make(chan struct{}, 1), settleC: make(chan struct{}, 1),
		})
	}
	return r
}

// Start begins to read and work. The role lives until Stop, whatever becomes of
// ctx; only its values are used.
func (r *Role) Start(ctx context.Context) {
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx))
	reading, cancel := context.WithCancel(ctx)
	r.reading = cancel
	for _, sub := range r.subs {
		r.readers.Go(func() { r.read(reading, sub) })
		r.readers.Go(func() { r.reclaim(reading, sub) })
		r.workers.Go(func() { r.settle(ctx, sub) })
	}
	r.workers.Go(func() { r.renew(ctx) })
	r.workers.Go(func() { r.tick(ctx) })
	r.workers.Go(func() { r.follow(ctx) })
	r.workers.Go(func() { r.watch(ctx) })
	for range loadWorkers {
		r.workers.Go(func() { r.load(ctx) })
	}
}

// Drain stops reading, hands back what has not started, and waits for the rest:
// until ctx ends; then what still runs is cancelled, uncharged, and gets the
// grace to say so. An error says how many messages were left to their leases.
func (r *Role) Drain(ctx context.Context) error {
	r.beginDrain()
	r.reading()
	for _, sub := range r.subs {
		sub.Log.Unblock()
	}
	r.readers.Wait()
	r.mu.Lock()
	r.readDone = true
	r.checkEmpty()
	r.mu.Unlock()
	select {
	case <-r.emptied:
		return nil
	case <-ctx.Done():
	}
	grace := time.NewTimer(r.cfg.Grace)
	defer grace.Stop()
	// Again and again: what was about to be handed over could not be cancelled yet.
	again := time.NewTicker(max(r.cfg.Grace/10, 10*time.Millisecond))
	defer again.Stop()
	for {
		r.cancelOut(func(*item) bool { return true })
		select {
		case <-r.emptied:
			return nil
		case <-again.C:
		case <-grace.C:
			return fmt.Errorf("role %s: %d messages had no outcome in time; they run again when their leases end", r.cfg.Role, r.Held())
		}
	}
}

// Stop ends the role. What is still held is left to its leases; Drain first.
func (r *Role) Stop() {
	if r.stop == nil {
		return
	}
	r.reading()
	for _, sub := range r.subs {
		sub.Log.Unblock()
	}
	r.readers.Wait()
	r.stop()
	r.workers.Wait()
}

// beginDrain hands back all that waits and cancels what has not started.
func (r *Role) beginDrain() {
	r.mu.Lock()
	if r.draining {
		r.mu.Unlock()
		return
	}
	r.draining = true
	for _, sub := range r.subs {
		for _, it := range sub.held {
			if it.state == waiting || it.state == delayed {
				r.giveUp(it)
			}
		}
	}
	r.ready, r.delays = nil, nil
	r.suspects.drop()
	r.mu.Unlock()
	r.wakeAll()
	r.cancelOut(func(it *item) bool { return !it.started })
}

// cancelOut cancels what the function has and pick chooses.
func (r *Role) cancelOut(pick func(*item) bool) {
	r.mu.Lock()
	var numbers []uint64
	for number, it := range r.out {
		if pick(it) {
			numbers = append(numbers, number)
		}
	}
	r.mu.Unlock()
	r.cancel(numbers, delivery.CauseStop)
}

// Held is how many messages the role holds.
func (r *Role) Held() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heldLocked()
}

func (r *Role) heldLocked() int {
	n := 0
	for _, sub := range r.subs {
		n += len(sub.held)
	}
	return n
}

// Trouble says why the role does not read at the moment; nil when it does.
func (r *Role) Trouble() error {
	if !r.cfg.Function.Ready() {
		return errNotReady
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, sub := range r.subs {
		if failing := slices.Sorted(maps.Keys(sub.trouble)); len(failing) > 0 {
			return fmt.Errorf("stream %s: %w", sub.Stream, sub.trouble[failing[0]])
		}
	}
	return nil
}

// wakeAll has every loop look again.
func (r *Role) wakeAll() {
	for _, sub := range r.subs {
		wake(sub.roomC)
		wake(sub.settleC)
	}
	wake(r.timerC)
}

// wake signals a channel of capacity one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
