package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/retry"
)

func newFakeFunction(handle handler, concurrency int) *fakeFunction {
	return &fakeFunction{handle: handle, concurrency: concurrency, changed: make(chan struct{}, 1), running: map[uint64]context.CancelCauseFunc{}}
}

// fakeQuarantine is a function that starts when it is woken, and after a death
// waits to be woken again.
type fakeQuarantine struct {
	*fakeFunction
	mu     sync.Mutex
	broken bool // it cannot start
	wakes  int

	beforeKill func() // what happens just before a kill
}

func (q *fakeQuarantine) Kill(reason string) {
	if q.beforeKill != nil {
		q.beforeKill()
	}
	q.fakeFunction.Kill(reason)
}

func newFakeQuarantine(handle handler) *fakeQuarantine {
	q := &fakeQuarantine{fakeFunction: newFakeFunction(handle, 1)}
	q.pid, q.down, q.mortal = 1000, true, true
	return q
}

// Wake may be called under the role's lock, so what follows from it comes later.
func (q *fakeQuarantine) Wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakes++
	if !q.broken {
		go q.setDown(false)
	}
}

func (q *fakeQuarantine) setBroken(broken bool) {
	q.mu.Lock()
	q.broken = broken
	q.mu.Unlock()
	wake(q.changed)
}

// suspected publishes messages under which plugins have died before.
func (b *bundle) suspected(n int, fields ...string) string {
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	id := b.log.add(n, fields...)
	b.log.known[id] = delivery.Grant{Attempt: 1, Deaths: retry.MaxDeaths}
	return id
}

func inQuarantine(ctx context.Context) bool {
	f := ctx.Value(processKey{}).(*fakeFunction)
	return f.mortal
}

func TestSuspectsRunAloneWhileTheOthersGoOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		alone, most := 0, 0
		large := strings.Repeat("x", 2<<20)
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			if d.Message.Data != large {
				return done(d.Message.Data)
			}
			if !inQuarantine(ctx) {
				t.Error("a suspect runs among the others")
			}
			mu.Lock()
			alone++
			most = max(most, alone)
			mu.Unlock()
			time.Sleep(20 * time.Second)
			mu.Lock()
			alone--
			mu.Unlock()
			return done("suspect")
		}, func(c *Config) { c.Window = 8 })
		for i := range 20 { // more than the window holds, and more bytes
			b.suspected(i, "data", large)
		}
		pass(time.Second)
		for i := range 100 {
			b.log.publish(100+i, "data", "good")
		}
		pass(10 * time.Second)
		if got := len(b.log.entries("work:results")); got != 100 {
			t.Errorf("%d results while the first suspect runs, want the 100 good ones", got)
		}
		pass(20 * 20 * time.Second)
		if got := len(b.log.entries("work:results")); got != 120 || most != 1 {
			t.Errorf("%d results and %d suspects at once; want 120 and one", got, most)
		}
		if b.role.Suspects() != 0 || b.role.suspects.bytes != 0 || b.role.Held() != 0 {
			t.Errorf("%d suspects of %d bytes and %d messages are left", b.role.Suspects(), b.role.suspects.bytes, b.role.Held())
		}
		if b.jail.pid != 1000 {
			t.Errorf("%d processes, want one for all", b.jail.pid-999)
		}
		b.stop(t)
	})
}

func TestASuspectKeepsItsLane(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var ran []string
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			if inQuarantine(ctx) {
				time.Sleep(20 * time.Second)
			}
			mu.Lock()
			defer mu.Unlock()
			ran = append(ran, d.Message.Data)
			return done("")
		})
		b.suspected(1, "data", "first", "partitionkey", "k")
		b.log.publish(2, "data", "second", "partitionkey", "k")
		pass(time.Second)
		b.log.publish(3, "data", "other", "partitionkey", "l")
		pass(time.Minute)
		if want := []string{"other", "first", "second"}; !slices.Equal(ran, want) {
			t.Errorf("ran %v, want %v", ran, want)
		}
		b.stop(t)
	})
}

// A suspect that another one has left a broken process to is not found guilty.
func TestNoSuspectIsFoundGuiltyForAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ran []string
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			ran = append(ran, d.Message.Data)
			switch f := ctx.Value(processKey{}).(*fakeFunction); d.Message.Data {
			case "time bomb":
				time.AfterFunc(500*time.Millisecond, f.die)
			case "poison":
				die(ctx)
			default:
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
			return done(d.Message.Data)
		})
		b.suspected(1, "data", "time bomb")
		b.suspected(2, "data", "slow")
		b.suspected(3, "data", "poison")
		b.suspected(4, "data", "last")
		pass(time.Minute)
		if want := []string{"time bomb", "slow", "slow", "poison", "poison", "last"}; !slices.Equal(ran, want) {
			t.Errorf("ran %v, want %v: what has not been proven runs again before the others", ran, want)
		}
		letters := b.log.entries("work:dlq")
		if len(letters) != 1 || field(letters[0], "data") != "poison" || field(letters[0], "dlqreason") != "poison" {
			t.Errorf("dead letters %v, want the poison's only", letters)
		}
		for _, r := range b.log.entries("work:results") {
			if field(r, "attempt") != "1" {
				t.Errorf("charged: %v", r)
			}
		}
		b.stop(t)
	})
}

func TestSuspectsWaitForAQuarantineThatCannotStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply { return done("") })
		b.jail.setBroken(true)
		suspect := b.suspected(1, "data", "suspect")
		for i := range 50 {
			b.log.publish(10+i, "data", "good")
		}
		pass(time.Minute)
		if got := len(b.log.entries("work:results")); got != 50 || b.role.Suspects() != 1 {
			t.Fatalf("%d results and %d suspects, want 50 and one", got, b.role.Suspects())
		}
		if b.role.Trouble() != nil {
			t.Errorf("the role is said to be paused: %v", b.role.Trouble())
		}
		if b.jail.wakes == 0 {
			t.Error("the quarantine was not woken")
		}
		b.jail.setBroken(false)
		pass(time.Minute)
		if b.log.decided[suspect] != "ok" {
			t.Error("the suspect does not run once it can")
		}
		b.stop(t)
	})
}

func TestAQuarantinedHandlerThatIgnoresItsCancelIsChargedForItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			if d.Message.Data == "hang" {
				time.Sleep(10 * time.Minute)
			}
			time.Sleep(34 * time.Second) // beyond the timeout, within the grace
			return done("")
		}, func(c *Config) { c.Policy.MaxRetries = 0 })
		b.suspected(1, "data", "hang")
		b.suspected(2, "data", "slow")
		b.log.publish(3, "data", "neighbour")
		pass(5 * time.Minute)
		letters, results := b.log.entries("work:dlq"), b.log.entries("work:results")
		if len(letters) != 1 || field(letters[0], "dlqreason") != "exhausted" || field(letters[0], "dlqerrortype") != "timeout" || field(letters[0], "data") != "hang" {
			t.Errorf("dead letters %v, want the hanging one for its timeout", letters)
		}
		if len(results) != 3 || len(b.jail.kills) != 1 || len(b.fn.kills) != 0 {
			t.Errorf("results %v, kills %v and %v; want three, and one of the quarantine", results, b.jail.kills, b.fn.kills)
		}
		pass(10 * time.Minute)
		b.stop(t)
	})
}

// A kill that comes late, when the process has ended by itself, does not hit the
// next suspect in the next process.
func TestNoSuspectIsKilledForAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			if d.Message.Data == "hang" && d.Attempt() == 1 {
				<-ctx.Done()
				time.Sleep(time.Minute)
			}
			time.Sleep(time.Second)
			return done(d.Message.Data)
		})
		b.jail.beforeKill = func() {
			b.jail.die()
			time.Sleep(500 * time.Millisecond)
		}
		for i, data := range []string{"hang", "innocent"} {
			b.suspected(i, "data", data)
		}
		pass(5 * time.Minute)
		if results := b.log.entries("work:results"); len(results) != 2 || field(results[0], "status") != "ok" || field(results[1], "status") != "ok" || len(b.jail.kills) != 1 {
			t.Errorf("results %v and kills %v, want two that are ok, and one", results, b.jail.kills)
		}
		b.stop(t)
	})
}

func TestASuspectThatIsLostWhileItWaitsDoesNotRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply {
			t.Error("it runs")
			return done("")
		})
		b.jail.setBroken(true)
		id := b.suspected(1, "data", "x")
		pass(time.Second)
		b.log.set(func() { b.log.stolen[id] = true })
		pass(10 * time.Second)
		b.jail.setBroken(false)
		pass(10 * time.Second)
		if b.role.Held() != 0 || b.role.Suspects() != 0 || b.role.suspects.bytes != 0 {
			t.Errorf("%d messages and %d suspects of %d bytes are held", b.role.Held(), b.role.Suspects(), b.role.suspects.bytes)
		}
		b.stop(t)
	})
}

func TestSuspectsAreCancelledAnsweredAndHandedBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			<-ctx.Done()
			return delivery.Reply{Verdict: delivery.Interrupted}
		})
		lost := b.suspected(1, "data", "x")
		pass(time.Second)
		var number uint64
		for n := range b.jail.running {
			number = n
		}
		b.role.Loads([]delivery.Load{{Request: 7, Delivery: number, Key: "k"}})
		pass(time.Second)
		if len(b.jail.loaded) != 1 || b.jail.loaded[0].Err != nil {
			t.Errorf("loads answered: %+v", b.jail.loaded)
		}
		b.log.set(func() { b.log.stolen[lost] = true })
		runs, waits := b.suspected(2, "data", "x"), b.suspected(3, "data", "x")
		pass(10 * time.Second)
		if b.role.Suspects() != 2 {
			t.Errorf("%d suspects, want two: the lost one was cancelled", b.role.Suspects())
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := b.role.Drain(ctx); err != nil {
			t.Error(err)
		}
		b.role.Stop()
		if want := []string{waits, runs}; !slices.Equal(b.log.handed, want) || b.role.Suspects() != 0 {
			t.Errorf("handed back %v, want %v; %d suspects are left", b.log.handed, want, b.role.Suspects())
		}
		if g := b.log.locks[runs]; g.Attempt != 1 || g.Deaths != retry.MaxDeaths {
			t.Errorf("handed back with %+v, want it uncharged", g)
		}
	})
}

// A message that kills its host is charged before it runs, since nobody is left
// to do so afterwards.
func TestAMessageThatKillsItsHost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hosts, deaths := 0, 0
		var seen []int
		for hosts < 20 { // each is lost while it runs the message
			hosts++
			b := start(t, func(ctx context.Context, _ *delivery.Delivery) delivery.Reply {
				<-ctx.Done()
				return delivery.Reply{Verdict: delivery.Interrupted}
			})
			id := fmt.Sprintf("%d-0", time.Now().UnixMilli())
			grant := delivery.Grant{Fence: 1, Attempt: 1, Deaths: deaths}
			b.log.set(func() {
				b.log.locks[id] = grant
				b.log.taken = []delivery.Reclaimed{{Entry: delivery.Entry{ID: id, Fields: []string{"data", "killer"}, Delivered: int64(hosts)}, Grant: grant}}
			})
			pass(5 * time.Second)
			if letters := b.log.entries("work:dlq"); len(letters) == 1 {
				if field(letters[0], "dlqreason") != "poison" || !strings.Contains(field(letters[0], "dlqerror"), "the host was lost") {
					t.Errorf("dead letter %v", letters[0])
				}
				b.stop(t)
				break
			}
			deaths = b.log.locks[id].Deaths
			seen = append(seen, deaths)
			if alone := b.role.Suspects() == 1; alone != (hosts > retry.MaxHandouts) {
				t.Errorf("handed out %d times: alone is %v", hosts, alone)
			}
			b.kill(t)
		}
		if want := []int{0, 0, 0, 0, 0, 3, 4, 5}; !slices.Equal(seen, want) {
			t.Errorf("deaths %v, want %v", seen, want)
		}
		if hosts != retry.MaxHandouts+retry.MaxLosses+1 {
			t.Errorf("%d hosts until it was a dead letter", hosts)
		}
	})
}

// What was paid in advance is refunded by any outcome.
func TestAnInnocentThatHostsWereLostWithIsRefunded(t *testing.T) {
	for name, reply := range map[string]delivery.Reply{
		"retry":  {Verdict: delivery.Retry, HasAfter: true, After: time.Second},
		"snooze": {Verdict: delivery.Snooze, After: time.Second},
		"parked": {Verdict: delivery.Snooze, After: time.Hour},
		"drain":  {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
					if !inQuarantine(ctx) {
						t.Error("it runs among the others")
					}
					if d.Grant.Deaths != retry.MaxDeaths+1 {
						t.Errorf("it runs with %d deaths, want it paid", d.Grant.Deaths)
					}
					if reply.Verdict == 0 {
						<-ctx.Done()
						return delivery.Reply{Verdict: delivery.Interrupted}
					}
					return reply
				})
				id := b.log.publish(1, "data", "x")
				b.log.set(func() { b.log.unread[0].Delivered = retry.MaxHandouts + 1 })
				pass(500 * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := b.role.Drain(ctx); err != nil {
					t.Error(err)
				}
				b.role.Stop()
				if got := b.log.locks[id].Deaths; got != retry.MaxDeaths {
					t.Errorf("%d deaths are left, want %d", got, retry.MaxDeaths)
				}
				if got := len(b.log.entries("work:dlq")); got != 0 {
					t.Errorf("%d dead letters", got)
				}
			})
		})
	}
}

// A drain that comes while a message is being charged in advance refunds it.
func TestADrainRefundsWhatHasNotRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply {
			t.Error("it runs")
			return done("")
		})
		b.jail.setBroken(true)
		id := b.log.publish(1, "data", "x")
		b.log.set(func() { b.log.unread[0].Delivered = retry.MaxHandouts + 1 })
		pass(500 * time.Millisecond)
		b.log.set(func() { b.log.down = errDown })
		b.jail.setBroken(false)
		pass(500 * time.Millisecond)
		drained := make(chan error)
		go func() { drained <- b.role.Drain(t.Context()) }()
		pass(500 * time.Millisecond)
		b.log.set(func() { b.log.down = nil })
		if err := <-drained; err != nil {
			t.Error(err)
		}
		b.role.Stop()
		if got := b.log.locks[id].Deaths; got != retry.MaxDeaths {
			t.Errorf("%d deaths are left, want %d", got, retry.MaxDeaths)
		}
	})
}

// kill ends a role as the end of its host does: nothing is handed back or
// written any more.
func (b *bundle) kill(t *testing.T) {
	t.Helper()
	b.log.set(func() { b.log.down = errDown })
	b.role.Stop()
	b.fn.die()
	b.jail.die()
}

// With no quarantine nothing waits for one.
func TestWithoutAQuarantineNothingIsSuspected(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply { return done("") },
			func(c *Config) { c.Quarantine = nil })
		id := b.suspected(1, "data", "x")
		pass(time.Second)
		if b.log.decided[id] != "ok" {
			t.Error("it did not run")
		}
		b.stop(t)
	})
}
