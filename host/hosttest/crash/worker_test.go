package crash

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/dispatch"
	"github.com/fnhost/fnhost/host/retry"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

// outStream is where jobs emit to; nobody reads it in a group.
const outStream = "out:log"

// roles is the topology of all tests here.
var roles = sync.OnceValue(func() *topology.Topology {
	role := topology.Default("job")
	role.Emits = []string{outStream}
	topo, err := topology.New([]topology.Role{role})
	if err != nil {
		panic(err)
	}
	return topo
})

func role() topology.Role        { return roles().Roles()[0] }
func sub() topology.Subscription { return role().Subscriptions[0] }

// options of a worker; a child process is given them as JSON.
type options struct {
	URL, Namespace string
	Owner          string
	Lease          time.Duration
	DoneTTL        time.Duration // of done marks; 0: ten minutes
	Concurrency    int
	Idle           bool    // it reads nothing, and takes nothing over, until its function serves
	Points         []point // where something happens to it
	Plugin         string  // file of a plugin: a whole host; empty: a worker
}

// A worker is a host in small: the log, the dispatcher, and the loop that adds
// entries that are due, with a function in the same process.
type worker struct {
	client  *stream.Client
	fn      *function
	alone   *function // runs messages that may kill it
	role    *dispatch.Role
	gate    *gate
	seen    *seen
	cancel  context.CancelFunc
	promote sync.WaitGroup
}

// startWorker makes the groups, too, as a host does before it reads.
func startWorker(o options) (*worker, error) {
	client, err := stream.Open(stream.Options{URL: o.URL, Namespace: o.Namespace})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := client.EnsureGroups(ctx, roles().Groups(), "0-0"); err != nil {
		cancel()
		_ = client.Close()
		return nil, err
	}
	var requests atomic.Uint64
	w := &worker{client: client, fn: newFunction(max(o.Concurrency, 1), &requests), alone: newFunction(1, &requests), seen: &seen{}, cancel: cancel}
	w.fn.serve(!o.Idle)
	log := client.Log(sub(), stream.LogOptions{Owner: o.Owner, Lease: o.Lease, DoneTTL: cmp.Or(o.DoneTTL, 10*time.Minute)})
	w.gate = newGate(log, w, o.Points)
	w.role = dispatch.New(dispatch.Config{
		Role: role().Name, Host: o.Owner, DLQ: role().DLQ, Function: w.gate.behind(w.fn), Quarantine: w.gate.behind(w.alone),
		Subscriptions: []dispatch.Subscription{{Subscription: sub(), Log: w.gate}},
		Topology:      roles, Policy: retry.Policy{MaxRetries: maxRetries},
		Window: 64, Timeout: time.Minute, Grace: 2 * time.Second, Lease: o.Lease,
		Observer: w.seen, Logger: slog.New(slog.DiscardHandler),
	})
	w.fn.sink = w.gate.sink(w.role)
	w.alone.sink = w.fn.sink
	w.role.Start(ctx)
	w.promote.Go(func() { w.addDue(ctx) })
	return w, nil
}

// addDue is the host's loop for entries for later.
func (w *worker) addDue(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = w.gate.promote(ctx) // what fails is tried again
		}
	}
}

// stop drains the worker and ends it. An error says what it left to its leases.
func (w *worker) stop(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := w.role.Drain(ctx)
	w.end()
	return err
}

// end ends the worker without a drain.
func (w *worker) end() {
	w.cancel()
	w.role.Stop()
	w.fn.stop()
	w.alone.stop()
	w.promote.Wait()
	_ = w.client.Close()
}

// seen counts what a worker's observer is told.
type seen struct {
	finished, lost, stale, storeErrors atomic.Int64
	lastFinished                       atomic.Int64 // ns since 1970
}

func (*seen) Received(topology.Subscription, []delivery.Entry) {}
func (*seen) Reclaimed(*delivery.Delivery)                     {}
func (*seen) Started(*delivery.Delivery)                       {}
func (*seen) Retried(*delivery.Delivery, delivery.Outcome)     {}
func (s *seen) Finished(*delivery.Delivery, string, string, time.Duration, time.Duration) {
	s.finished.Add(1)
	s.lastFinished.Store(time.Now().UnixNano())
}
func (s *seen) Lost(topology.Subscription, string)              { s.lost.Add(1) }
func (s *seen) Stale(*delivery.Delivery)                        { s.stale.Add(1) }
func (s *seen) StoreError(topology.Subscription, string, error) { s.storeErrors.Add(1) }
