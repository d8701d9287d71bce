package crash

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/dispatch"
)

// A job is what a message wants of the function; it is the message's data.
type job struct {
	Fails  int    `json:"fails,omitempty"`  // attempts that fail before one does not
	After  int    `json:"after,omitempty"`  // ms until the next attempt
	End    string `json:"end,omitempty"`    // dead or drop; else done
	Deaths int    `json:"deaths,omitempty"` // times that the function's process dies of it
	Crash  bool   `json:"crash,omitempty"`  // kills the host, wherever it runs
	Snooze int    `json:"snooze,omitempty"` // ms after its publishing before which it does not run
	Slow   int    `json:"slow,omitempty"`   // ms that the handler takes
	State  string `json:"state,omitempty"`  // key of a counter
	Emit   bool   `json:"emit,omitempty"`   // an entry for another stream
	Later  int    `json:"later,omitempty"`  // ms until a second one appears
}

// The retries that a message has.
const maxRetries = 2

// expect says what must become of the job, and with which attempt.
func (j job) expect() (status string, attempt int) {
	switch {
	case j.Deaths > 2 || j.Crash:
		return "error", 1
	case j.Fails > maxRetries:
		return "error", maxRetries + 1
	case j.End == "dead":
		return "error", j.Fails + 1
	case j.End == "drop":
		return "dropped", j.Fails + 1
	}
	return "ok", j.Fails + 1
}

// emissions is how many entries for another stream the job makes.
func (j job) emissions() int {
	status, _ := j.expect()
	n := 0
	if status == "ok" && j.Emit {
		n++
	}
	if status == "ok" && j.Later > 0 {
		n++
	}
	return n
}

func (j job) fields() []string {
	data, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	return []string{"type", "job", "data", string(data)}
}

// function runs jobs as a function's process does: in order of arrival, at most
// concurrency at once, one reply each.
type function struct {
	sink        dispatch.Sink
	concurrency int
	changed     chan struct{}
	requests    *atomic.Uint64 // of loads; shared by all that answer to one sink
	runs        sync.WaitGroup

	mu      sync.Mutex
	idle    bool // not ready
	running map[uint64]context.CancelFunc
	queue   []*delivery.Delivery
	loads   map[uint64]chan delivery.Loaded
	pid     int           // of the process, as it were
	held    chan struct{} // handlers wait until it is closed; nil: they do not
}

// pids are the numbers of processes that there are only in name.
var pids atomic.Int64

func newFunction(concurrency int, requests *atomic.Uint64) *function {
	return &function{
		concurrency: concurrency, requests: requests, pid: int(pids.Add(1)), changed: make(chan struct{}, 1),
		running: map[uint64]context.CancelFunc{}, loads: map[uint64]chan delivery.Loaded{},
	}
}

func (f *function) Deliver(ds []*delivery.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, ds...)
	f.fill()
}

// fill starts what may start.
func (f *function) fill() {
	for len(f.queue) > 0 && len(f.running) < f.concurrency {
		d := f.queue[0]
		f.queue = f.queue[1:]
		ctx, cancel := context.WithCancel(context.Background())
		f.running[d.Number] = cancel
		f.runs.Go(func() { f.run(ctx, d) })
	}
}

func (f *function) run(ctx context.Context, d *delivery.Delivery) {
	reply := f.handle(ctx, d)
	if reply.Verdict == delivery.Died {
		f.die()
		return
	}
	f.mu.Lock()
	reply.Number, reply.Started, reply.Plugin.PID = d.Number, true, f.pid
	cancel, known := f.running[d.Number]
	delete(f.running, d.Number)
	f.fill()
	f.mu.Unlock()
	if known {
		cancel()
		f.sink.Replies([]delivery.Reply{reply})
	}
}

func (f *function) handle(ctx context.Context, d *delivery.Delivery) delivery.Reply {
	var j job
	if err := json.Unmarshal([]byte(d.Message.Data), &j); err != nil {
		return delivery.Reply{Verdict: delivery.Dead, Error: delivery.Error{Type: "job", Message: err.Error()}}
	}
	if !pause(ctx, time.Duration(j.Slow)*time.Millisecond) {
		return delivery.Reply{Verdict: delivery.Interrupted}
	}
	f.mu.Lock()
	held := f.held
	f.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return delivery.Reply{Verdict: delivery.Interrupted}
		}
	}
	if j.Crash {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	failed := delivery.Error{Type: "job", Message: "as it was asked to"}
	switch left := time.Duration(j.Snooze)*time.Millisecond - time.Since(delivery.IDTime(d.Entry.ID)); {
	case d.Grant.Deaths < j.Deaths:
		return delivery.Reply{Verdict: delivery.Died}
	case left > 0:
		return delivery.Reply{Verdict: delivery.Snooze, After: left + time.Millisecond}
	case d.Attempt() <= j.Fails:
		return delivery.Reply{Verdict: delivery.Retry, Error: failed, After: time.Duration(j.After) * time.Millisecond, HasAfter: j.After > 0}
	case j.End == "dead":
		return delivery.Reply{Verdict: delivery.Dead, Error: failed}
	case j.End == "drop":
		return delivery.Reply{Verdict: delivery.Drop, Error: failed}
	}
	return f.done(ctx, d, j)
}

// pause says whether the time has passed without ctx having ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *function) done(ctx context.Context, d *delivery.Delivery, j job) delivery.Reply {
	reply := delivery.Reply{Verdict: delivery.Done, Result: []byte(`{}`)}
	if j.State != "" {
		loaded := f.load(ctx, d, j.State)
		if loaded.Err != nil {
			return delivery.Reply{Verdict: delivery.Interrupted}
		}
		n := 0
		if loaded.Found && len(loaded.Fields) == 2 {
			n, _ = strconv.Atoi(loaded.Fields[1])
		}
		reply.State = []delivery.StateWrite{{Key: j.State, Version: loaded.Version, Set: []string{"n", strconv.Itoa(n + 1)}}}
	}
	if j.Emit {
		reply.Emissions = append(reply.Emissions, delivery.Emission{To: outStream, Fields: []string{"type", "now"}})
	}
	if j.Later > 0 {
		due := time.Now().Add(time.Duration(j.Later) * time.Millisecond)
		reply.Emissions = append(reply.Emissions, delivery.Emission{To: outStream, Fields: []string{"type", "later"}, NotBefore: due})
	}
	return reply
}

// load asks for keyed state, as the sdk does.
func (f *function) load(ctx context.Context, d *delivery.Delivery, key string) delivery.Loaded {
	request := f.requests.Add(1)
	answer := make(chan delivery.Loaded, 1)
	f.mu.Lock()
	f.loads[request] = answer
	f.mu.Unlock()
	f.sink.Loads([]delivery.Load{{Request: request, Delivery: d.Number, Key: key}})
	select {
	case loaded := <-answer:
		return loaded
	case <-ctx.Done():
		return delivery.Loaded{Err: ctx.Err()}
	}
}

func (f *function) Loaded(loaded []delivery.Loaded) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range loaded {
		if answer := f.loads[l.Request]; answer != nil {
			delete(f.loads, l.Request)
			answer <- l
		}
	}
}

func (f *function) Cancel(numbers []uint64, _ delivery.Cause) {
	f.mu.Lock()
	var dropped []delivery.Reply
	for _, n := range numbers {
		if cancel := f.running[n]; cancel != nil {
			cancel()
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

// die ends the process, as it were: everything it had gets a reply of Died.
func (f *function) die() {
	f.mu.Lock()
	var replies []delivery.Reply
	process := delivery.Plugin{PID: f.pid}
	f.pid = int(pids.Add(1))
	for n, cancel := range f.running {
		cancel()
		replies = append(replies, delivery.Reply{Number: n, Verdict: delivery.Died, Started: true, Error: delivery.Error{Type: "plugin died", Message: "exit status 3"}, Plugin: process})
	}
	for _, d := range f.queue {
		replies = append(replies, delivery.Reply{Number: d.Number, Verdict: delivery.Died, Plugin: process})
	}
	f.running, f.queue = map[uint64]context.CancelFunc{}, nil
	f.mu.Unlock()
	f.sink.Replies(replies)
}

// hold has handlers wait until release is called.
func (f *function) hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = make(chan struct{})
	return sync.OnceFunc(func() { close(f.held) })
}

// serve lets the role read, or keeps it from it.
func (f *function) serve(ready bool) {
	f.mu.Lock()
	f.idle = !ready
	f.mu.Unlock()
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *function) Ready() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.idle
}

func (f *function) Changed() <-chan struct{} { return f.changed }
func (f *function) Concurrency() int         { return f.concurrency }
func (f *function) Kill(string)              { f.die() }

// stop ends what still runs, and waits for it.
func (f *function) stop() {
	f.mu.Lock()
	for _, cancel := range f.running {
		cancel()
	}
	f.running, f.queue = map[uint64]context.CancelFunc{}, nil
	f.mu.Unlock()
	f.runs.Wait()
}
