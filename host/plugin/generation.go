package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// timing are the limits and intervals of a generation's life.
type timing struct {
	describe    time.Duration // to answer Describe
	configure   time.Duration // to answer Configure, which may open databases, and be healthy
	healthEvery time.Duration
	health      time.Duration // to answer a health check
	misses      int           // health checks in a row, after which it hangs
	dump        time.Duration // to print its stacks when it hangs
	streamEnd   time.Duration // from the end of the stream to that of the process
	shutdown    time.Duration // to end when asked
	terminate   time.Duration // to end on SIGTERM
	stable      time.Duration // in service, after which earlier crashes are forgotten
	backoff     time.Duration // before the second restart; doubles
	backoffMax  time.Duration
	idle        time.Duration // of a quarantine, after which it ends; twice that at most
}

var defaultTiming = timing{
	describe: 10 * time.Second, configure: 30 * time.Second,
	healthEvery: 5 * time.Second, health: 2 * time.Second, misses: 3, dump: time.Second,
	streamEnd: 500 * time.Millisecond, shutdown: 5 * time.Second, terminate: 3 * time.Second,
	stable: time.Minute, backoff: 200 * time.Millisecond, backoffMax: 30 * time.Second, idle: 10 * time.Second,
}

// A generation is one running process of one exact binary, in service.
type generation struct {
	*link
	number      int
	concurrency int
	plugin      delivery.Plugin
	sink        func() Sink
	log         *slog.Logger
	timing      timing
	protocol    func(breach string) // told of breaches of the contract
	nextLoad    func() uint64       // numbers loads, over all generations of a function
	started     time.Time
	worker      *client.Worker
	release     context.CancelFunc // ends the stream

	mu      sync.Mutex
	ended   bool              // no more deliveries are taken
	arrived uint64            // deliveries so far
	out     map[uint64]uint64 // delivery without an outcome -> its place in the order of arrival
	loads   map[uint64]uint64 // the host's number of a load -> the function's
}

// serve takes a described process into service: it is configured, found healthy,
// and its stream is opened.
func (g *generation) serve(ctx context.Context, settings json.RawMessage, stateDir string) error {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return fmt.Errorf("making the directory of the role: %w", err)
	}
	configuring, cancel := context.WithTimeout(ctx, g.timing.configure)
	defer cancel()
	request := &fnhostv1.ConfigureRequest{
		Settings: settings, Concurrency: uint32(g.concurrency), StateDir: stateDir,
	}
	if err := client.Configure(configuring, g.conn, request); err != nil {
		return err
	}
	if err := client.Health(configuring, g.conn); err != nil {
		return err
	}
	var working context.Context
	working, g.release = context.WithCancel(context.WithoutCancel(ctx))
	worker, err := client.Work(working, g.conn, g)
	if err != nil {
		g.release()
		return err
	}
	g.worker = worker
	return nil
}

func (g *generation) healthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.timing.health)
	defer cancel()
	return client.Health(ctx, g.conn)
}

// deliver takes deliveries, all or none; it takes none when the generation has
// ended. The order of arrival is that in which the stream carries them.
func (g *generation) deliver(deliveries []*delivery.Delivery) bool {
	wire := toWire(deliveries)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return false
	}
	for _, d := range deliveries {
		g.arrived++
		g.out[d.Number] = g.arrived
	}
	g.worker.Deliver(wire...)
	return true
}

// cancel and loaded speak of deliveries that may be another generation's by now;
// the function ignores those that it does not know.
func (g *generation) cancel(numbers []uint64, cause delivery.Cause) {
	g.worker.Cancel(toCancels(numbers, cause)...)
}

func (g *generation) loaded(answers []delivery.Loaded) {
	var wire []*fnhostv1.Loaded
	g.mu.Lock()
	for i := range answers {
		if number, ok := g.loads[answers[i].Request]; ok {
			delete(g.loads, answers[i].Request)
			wire = append(wire, toLoaded(&answers[i], number))
		}
	}
	g.mu.Unlock()
	g.worker.Loaded(wire...)
}

// Outcomes is called from the stream's read loop.
func (g *generation) Outcomes(outcomes []*fnhostv1.Outcome) {
	replies := make([]delivery.Reply, 0, len(outcomes))
	var broken error
	for _, o := range outcomes {
		reply, err := fromWire(o)
		if err != nil {
			broken = err // this one and the rest are undecided
			break
		}
		reply.Plugin = g.plugin
		replies = append(replies, reply)
	}
	replies, unknown := g.settle(replies)
	for _, number := range unknown {
		g.breach("unknown delivery", fmt.Sprintf("an outcome for delivery %d, which is unknown or has one", number))
	}
	g.reply(replies)
	if broken != nil {
		g.breach("no verdict", broken.Error())
		g.kill(broken.Error())
	}
}

func (g *generation) breach(kind, seen string) {
	g.log.Error("the plugin breaks the contract", "seen", seen)
	g.protocol(kind)
}

// settle notes that deliveries have their outcomes, and keeps the replies of those
// that were out.
func (g *generation) settle(replies []delivery.Reply) (known []delivery.Reply, unknown []uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known = replies[:0]
	for _, r := range replies {
		if _, ok := g.out[r.Number]; !ok {
			unknown = append(unknown, r.Number)
			continue
		}
		delete(g.out, r.Number)
		known = append(known, r)
	}
	return known, unknown
}

func (g *generation) reply(replies []delivery.Reply) {
	if len(replies) > 0 {
		g.sink().Replies(replies)
	}
}

// Loads is called from the stream's read loop.
func (g *generation) Loads(loads []*fnhostv1.Load) {
	numbered := make([]delivery.Load, len(loads))
	g.mu.Lock()
	for i, l := range loads {
		number := g.nextLoad()
		g.loads[number] = l.GetRequest()
		numbered[i] = fromLoad(l, number)
	}
	g.mu.Unlock()
	g.sink().Loads(numbered)
}

// watch waits until the process has ended, hangs, or is to be stopped.
func (g *generation) watch(stop <-chan struct{}) {
	ticker := time.NewTicker(g.timing.healthEvery)
	defer ticker.Stop()
	for misses := 0; misses < g.timing.misses; {
		select {
		case <-stop:
			return
		case <-g.exited:
			return
		case <-g.worker.Done():
			if !g.has(g.timing.streamEnd) {
				g.kill(cmp.Or(g.worker.Err(), client.ErrUninvited).Error())
			}
			return
		case <-ticker.C:
		}
		if err := g.healthy(context.Background()); err != nil {
			misses++
			g.log.Warn("the plugin missed a health check", "error", err, "misses", misses, "of", g.timing.misses)
		} else {
			misses = 0
		}
	}
	g.hung()
}

// hung makes a process that does not answer print its stacks, if it can, and
// kills it.
func (g *generation) hung() {
	g.blame(reasonHung)
	g.signal(syscall.SIGQUIT)
	g.has(g.timing.dump)
	g.signal(syscall.SIGKILL)
}

// stop drains the generation for as long as ctx lasts, and then ends its
// process, politely at first.
func (g *generation) stop(ctx context.Context) {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.worker.CloseSend()
	select {
	case <-g.worker.Done():
	case <-g.exited:
	case <-ctx.Done():
	}
	g.link.end(ctx, g.timing)
}

// end ends the process: by a call, by its lifeline, by SIGTERM, by SIGKILL.
func (l *link) end(ctx context.Context, t timing) {
	ctx, cancel := context.WithTimeout(ctx, t.shutdown)
	defer cancel()
	if l.shutdown(ctx) && l.has(t.shutdown) {
		return
	}
	l.cutLifeline()
	l.signal(syscall.SIGTERM)
	if !l.has(t.terminate) {
		l.kill(reasonStubborn)
	}
	<-l.exited
}

// finish waits for the end of the process and answers for every delivery that
// has no outcome. What the process had sent before its end is taken first.
func (g *generation) finish() {
	<-g.exited
	select {
	case <-g.worker.Done():
	case <-time.After(watchdog):
	}
	g.release()
	<-g.worker.Done()
	g.reply(g.undecided())
	g.link.close()
}

// explained says whether the process ended by itself, under messages, after it had
// done others: then one of those that it had may be what ended it.
func (g *generation) explained() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.endedBy() == "" && len(g.out) > 0 && g.arrived > uint64(len(g.out))
}

// undecided ends the generation and gives the replies of the deliveries that it
// leaves. Deliveries start in the order of arrival, so the first `concurrency`
// of those without an outcome may have begun, and no others.
func (g *generation) undecided() []delivery.Reply {
	g.mu.Lock()
	g.ended = true
	out := g.out
	g.out = nil
	g.mu.Unlock()
	numbers := slices.SortedFunc(maps.Keys(out), func(a, b uint64) int { return cmp.Compare(out[a], out[b]) })
	replies := make([]delivery.Reply, len(numbers))
	message, detail := "the plugin ended: "+g.ending(), g.tail(tailLines)
	for i, n := range numbers {
		replies[i] = died(n, i < g.concurrency, message, detail)
		replies[i].Plugin = g.plugin
	}
	return replies
}

func died(number uint64, started bool, message, detail string) delivery.Reply {
	return delivery.Reply{
		Number: number, Verdict: delivery.Died, Started: started,
		Error: delivery.Error{Type: "plugin died", Message: message, Detail: detail},
	}
}

const (
	tailLines      = 40
	reasonHung     = "it missed its health checks"
	reasonStubborn = "it did not end when it was asked to"
)

var errChanged = errors.New("it describes itself otherwise than when it was loaded")
