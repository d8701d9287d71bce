package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/retry"
	"github.com/fnhost/fnhost/host/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type handler = func(ctx context.Context, d *delivery.Delivery) delivery.Reply

type bundle struct {
	role *Role
	log  *fakeLog
	fn   *fakeFunction
	jail *fakeQuarantine
}

// start runs a role named `work` over a fake log and function.
func start(t *testing.T, handle handler, change ...func(*Config)) *bundle {
	t.Helper()
	work := topology.Default("work")
	work.Emits = []string{"next"}
	topo, err := topology.New([]topology.Role{work, topology.Default("next")})
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{log: newFakeLog()}
	b.fn = newFakeFunction(handle, 4)
	b.jail = newFakeQuarantine(handle)
	cfg := Config{
		Role: "work", Host: "test:1", Function: b.fn, Quarantine: b.jail, DLQ: "work:dlq",
		Subscriptions: []Subscription{{Subscription: topo.Roles()[0].Subscriptions[0], Log: b.log}},
		Topology:      func() *topology.Topology { return topo },
		Policy:        retry.Policy{MaxRetries: 2}, Timeout: 30 * time.Second, Grace: 5 * time.Second, Lease: 15 * time.Second,
		Observer: nobody{}, Logger: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	b.role = New(cfg)
	b.fn.sink, b.jail.sink = b.role, b.role
	b.role.Start(t.Context())
	return b
}

func (b *bundle) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := b.role.Drain(ctx); err != nil {
		t.Error(err)
	}
	b.role.Stop()
}

func done(data string) delivery.Reply {
	return delivery.Reply{Verdict: delivery.Done, Result: []byte(data)}
}

func failed(message string) delivery.Reply {
	return delivery.Reply{Verdict: delivery.Retry, Error: delivery.Error{Type: "test", Message: message}}
}

// bubble runs a test in synthetic time.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, test)
}

// pass lets d go by, and what it brings settle.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestEveryMessageHasExactlyOneResult(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(_ context.Context, d *delivery.Delivery) delivery.Reply {
			time.Sleep(10 * time.Millisecond)
			return done(d.Message.Data)
		})
		const n = 1000
		for i := range n {
			b.log.publish(i, "type", "work.do", "data", fmt.Sprint(i))
		}
		pass(time.Minute)
		seen := map[string]bool{}
		for _, result := range b.log.entries("work:results") {
			if field(result, "status") != "ok" {
				t.Fatalf("result %v: want status ok", result)
			}
			seen[field(result, "data")] = true
		}
		if got := len(b.log.entries("work:results")); got != n || len(seen) != n {
			t.Fatalf("%d results, %d of them distinct; want %d", got, len(seen), n)
		}
		if b.fn.most != 4 {
			t.Errorf("%d handlers at once, want 4", b.fn.most)
		}
		b.stop(t)
	})
}

func TestAFailureIsRetriedAndThenDeadLettered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var attempts []int
		b := start(t, func(_ context.Context, d *delivery.Delivery) delivery.Reply {
			attempts = append(attempts, d.Attempt())
			return failed("no such file \"a\"")
		}, func(c *Config) { c.Policy.Backoff = time.Second })
		began := time.Now()
		b.log.publish(1, "id", "m1", "type", "work.do", "data", "{}", "x", "y")
		pass(time.Minute)
		if !slices.Equal(attempts, []int{1, 2, 3}) {
			t.Fatalf("attempts %v, want 1 2 3", attempts)
		}
		letters, results := b.log.entries("work:dlq"), b.log.entries("work:results")
		if len(letters) != 1 || len(results) != 1 {
			t.Fatalf("%d dead letters and %d results, want one each", len(letters), len(results))
		}
		for name, want := range map[string]string{"id": "m1", "x": "y", "dlqreason": "exhausted", "dlqattempts": "3", "dlqstream": "work:tasks"} {
			if got := field(letters[0], name); got != want {
				t.Errorf("dead letter: %s=%q, want %q", name, got, want)
			}
		}
		if field(results[0], "status") != "error" || field(results[0], "correlationid") != "m1" {
			t.Errorf("result %v: want status error for m1", results[0])
		}
		if took := time.Since(began); took < 1500*time.Millisecond {
			t.Errorf("done after %v, want the backoff of 0.5 s and 1 s at least", took)
		}
		b.stop(t)
	})
}

func TestMessagesOfOneKeyRunInOrderAndOthersGoOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		b := start(t, func(_ context.Context, d *delivery.Delivery) delivery.Reply {
			if d.Message.Data == "a0" && d.Attempt() < 3 {
				return failed("not yet")
			}
			time.Sleep(time.Second)
			mu.Lock()
			order = append(order, d.Message.Data)
			mu.Unlock()
			return done("")
		}, func(c *Config) { c.Policy.Backoff = time.Second })
		for i := range 3 {
			b.log.publish(i, "partitionkey", "a", "data", fmt.Sprintf("a%d", i))
		}
		b.log.publish(9, "data", "b")
		pass(time.Minute)
		if want := []string{"b", "a0", "a1", "a2"}; !slices.Equal(order, want) {
			t.Fatalf("ran in the order %v, want %v", order, want)
		}
		if len(b.role.lanes) != 0 {
			t.Errorf("%d lanes are left", len(b.role.lanes))
		}
		b.stop(t)
	})
}

func TestTheWindowBoundsWhatIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply { <-release; return done("") },
			func(c *Config) { c.Window = 10 })
		for i := range 100 {
			b.log.publish(i, "data", "x")
		}
		pass(10 * time.Second)
		if held := b.role.Held(); held != 10 {
			t.Fatalf("%d messages held, want the window of 10", held)
		}
		close(release)
		pass(10 * time.Second)
		if got := len(b.log.entries("work:results")); got != 100 {
			t.Fatalf("%d results, want 100", got)
		}
		b.stop(t)
	})
}

func TestALostLeaseCancelsTheHandlerAndVoidsItsOutcome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var cause error
		b := start(t, func(ctx context.Context, _ *delivery.Delivery) delivery.Reply {
			<-ctx.Done()
			cause = context.Cause(ctx)
			return done("too late")
		})
		id := b.log.publish(1, "data", "x")
		pass(time.Second)
		b.log.set(func() { b.log.stolen[id] = true })
		pass(10 * time.Second)
		if cause == nil {
			t.Fatal("the handler was not cancelled")
		}
		if got := b.log.entries("work:results"); len(got) != 0 || b.role.Held() != 0 {
			t.Fatalf("results %v, %d held; want none: the message is another host's", got, b.role.Held())
		}
		b.stop(t)
	})
}

func TestNothingIsCancelledWhileTheStoreIsDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(ctx context.Context, _ *delivery.Delivery) delivery.Reply {
			select {
			case <-ctx.Done():
				return failed("cancelled")
			case <-time.After(20 * time.Second):
				return done("")
			}
		})
		b.log.publish(1, "data", "x")
		pass(time.Second)
		b.log.set(func() { b.log.down = errDown })
		pass(10 * time.Second)
		if b.role.Trouble() == nil {
			t.Error("no trouble reported while the store is down")
		}
		pass(30 * time.Second)
		b.log.set(func() { b.log.down = nil })
		pass(10 * time.Second)
		results := b.log.entries("work:results")
		if len(results) != 1 || field(results[0], "attempt") != "1" {
			t.Fatalf("results %v, want one of attempt 1", results)
		}
		if err := b.role.Trouble(); err != nil {
			t.Errorf("trouble after the store came back: %v", err)
		}
		b.stop(t)
	})
}

func TestAPluginsDeathChargesNobodyAndThePoisonIsFoundAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			if d.Message.Data == "poison" {
				time.Sleep(time.Second)
				die(ctx)
				return done("never heard")
			}
			select {
			case <-time.After(5 * time.Second):
			case <-ctx.Done():
			}
			return done(d.Message.Data)
		})
		for i := range 3 {
			b.log.publish(i, "data", "good")
		}
		b.log.publish(9, "data", "poison")
		pass(5 * time.Minute)
		good := 0
		for _, result := range b.log.entries("work:results") {
			if field(result, "status") == "ok" {
				good++
				if field(result, "attempt") != "1" {
					t.Errorf("a neighbour was charged: %v", result)
				}
			}
		}
		letters := b.log.entries("work:dlq")
		if good != 3 || len(letters) != 1 || field(letters[0], "dlqreason") != "poison" {
			t.Fatalf("%d good results, dead letters %v; want 3 and one for poison", good, letters)
		}
		b.stop(t)
	})
}

func TestAHandlerThatIgnoresItsCancelCostsItsProcessAndOnlyItsOwnAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			if d.Message.Data == "hang" {
				time.Sleep(10 * time.Minute)
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Second):
			}
			return done("")
		}, func(c *Config) { c.Policy.MaxRetries = 0 })
		b.log.publish(1, "data", "hang")
		pass(20 * time.Second)
		b.log.publish(2, "data", "good")
		pass(5 * time.Minute)
		letters := b.log.entries("work:dlq")
		if len(letters) != 1 || field(letters[0], "dlqerrortype") != "timeout" || field(letters[0], "data") != "hang" {
			t.Fatalf("dead letters %v, want the hanging one for its timeout", letters)
		}
		if len(b.fn.kills) != 1 {
			t.Errorf("kills %v, want one", b.fn.kills)
		}
		if results := b.log.entries("work:results"); len(results) != 2 || field(results[1], "status") != "ok" {
			t.Errorf("results %v, want the neighbour's to be ok", results)
		}
		pass(10 * time.Minute)
		b.stop(t)
	})
}

func TestWhileNoPluginIsReadyReadsArePaused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply { return done("") })
		pass(time.Second)
		b.fn.setDown(true)
		pass(2 * time.Second) // the read that waits ends empty
		b.log.publish(1, "data", "x")
		pass(time.Minute)
		if b.role.Held() != 0 || b.role.Trouble() == nil {
			t.Fatalf("%d held, trouble %v; want none held and a reason", b.role.Held(), b.role.Trouble())
		}
		b.fn.setDown(false)
		pass(time.Second)
		if got := len(b.log.entries("work:results")); got != 1 {
			t.Fatalf("%d results, want 1", got)
		}
		b.stop(t)
	})
}

func TestADrainFinishesWhatRunsAndHandsBackTheRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
			if d.Message.Data == "later" {
				return delivery.Reply{Verdict: delivery.Snooze, After: 3 * time.Second}
			}
			time.Sleep(10 * time.Second)
			return done("")
		})
		b.log.publish(0, "data", "later")
		pass(time.Second)
		for i := range 20 {
			b.log.publish(i, "partitionkey", fmt.Sprint(i%10), "data", "x")
		}
		pass(time.Second)
		b.stop(t)
		results, handed := len(b.log.entries("work:results")), len(b.log.handed)
		if unread := len(b.log.unread); results != 4 || results+handed+unread != 21 {
			t.Fatalf("%d results, %d handed back, %d unread; want 4 and the rest", results, handed, unread)
		}
		if b.role.Held() != 0 {
			t.Errorf("%d still held", b.role.Held())
		}
	})
}

func TestADrainThatTakesTooLongInterruptsWithoutACharge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(ctx context.Context, _ *delivery.Delivery) delivery.Reply {
			<-ctx.Done()
			return delivery.Reply{Verdict: delivery.Interrupted}
		})
		id := b.log.publish(1, "data", "x")
		pass(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := b.role.Drain(ctx); err != nil {
			t.Error(err)
		}
		b.role.Stop()
		if !slices.Equal(b.log.handed, []string{id}) || b.log.locks[id].Attempt != 1 {
			t.Fatalf("handed back %v at attempt %d, want %s at 1", b.log.handed, b.log.locks[id].Attempt, id)
		}
	})
}

func TestAStateConflictRunsTheMessageAgainUncharged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(_ context.Context, d *delivery.Delivery) delivery.Reply { return done(fmt.Sprint(d.Grant.Fence)) })
		id := b.log.publish(1, "data", "x")
		b.log.set(func() { b.log.conflicts[id] = 2 })
		pass(time.Second)
		results := b.log.entries("work:results")
		if len(results) != 1 || field(results[0], "attempt") != "1" || field(results[0], "data") != "3" {
			t.Fatalf("results %v, want one of attempt 1 under the third fence", results)
		}
		b.stop(t)
	})
}

func TestMessagesThatMustNotRunAndOutcomesThatMustNotBe(t *testing.T) {
	for name, c := range map[string]struct {
		fields []string
		reply  delivery.Reply
		refuse string
		reason string
		says   string
	}{
		"an expired message":              {fields: []string{"expirytime", "1999-01-01T00:00:00Z"}, reason: "expired", says: "had passed"},
		"a reply to where none may go":    {fields: []string{"replyto", "elsewhere"}, reason: "permanent", says: "fnhost.yaml"},
		"an emission that is not allowed": {reply: delivery.Reply{Verdict: delivery.Done, Emissions: []delivery.Emission{{To: "next"}, {To: "elsewhere"}}}, reason: "permanent", says: "may not emit"},
		"an emission that is refused":     {reply: delivery.Reply{Verdict: delivery.Done, Emissions: []delivery.Emission{{To: "next"}}}, refuse: "next:tasks", reason: "permanent", says: "no stream"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				ran := false
				b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply { ran = true; return c.reply })
				if c.refuse != "" {
					b.log.refuse[c.refuse] = "key is no stream"
				}
				b.log.publish(1, append(c.fields, "data", "x")...)
				pass(time.Second)
				letters, results := b.log.entries("work:dlq"), b.log.entries("work:results")
				if len(letters) != 1 || field(letters[0], "dlqreason") != c.reason || !strings.Contains(field(letters[0], "dlqerror"), c.says) {
					t.Errorf("dead letters %v, want one for %s that says %q", letters, c.reason, c.says)
				}
				if len(results) != 1 || field(results[0], "status") != "error" {
					t.Errorf("results %v, want one error", results)
				}
				if got := b.log.entries("next:tasks"); len(got) != 0 {
					t.Errorf("emitted %v, want nothing applied", got)
				}
				if ran != (c.reply.Verdict != 0) {
					t.Errorf("ran: %v", ran)
				}
				b.stop(t)
			})
		})
	}
}

func TestARoleWithoutDeadLettersDiscards(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply {
			return delivery.Reply{Verdict: delivery.Dead, Error: delivery.Error{Message: "no"}}
		}, func(c *Config) { c.DLQ = "" })
		id := b.log.publish(1, "data", "x")
		pass(time.Second)
		if got := b.log.decided[id]; got != "discarded" {
			t.Fatalf("decided as %q, want discarded", got)
		}
		b.stop(t)
	})
}

func TestRepliesGoToResultsAndToWhoAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply { return done("42") })
		b.log.publish(1, "id", "q", "replyto", "next:tasks", "data", "x")
		pass(time.Second)
		results, replies := b.log.entries("work:results"), b.log.entries("next:tasks")
		if len(results) != 1 || len(replies) != 1 || !slices.Equal(results[0], replies[0]) || field(replies[0], "correlationid") != "q" {
			t.Fatalf("results %v, replies %v; want the same entry in both", results, replies)
		}
		b.stop(t)
	})
}

func TestALongDelayLeavesMemory(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply {
			return delivery.Reply{Verdict: delivery.Snooze, After: time.Hour}
		})
		id := b.log.publish(1, "data", "x")
		pass(time.Second)
		if b.log.parked[id].Delay != time.Hour || b.role.Held() != 0 {
			t.Fatalf("parked %+v, %d held; want it parked for an hour and none held", b.log.parked[id], b.role.Held())
		}
		b.stop(t)
	})
}

// The function's read loop calls the sink: it must come back at once even while
// the store answers nothing at all.
func TestTheSinkNeverWaitsForTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hold := make(chan struct{})
		b := start(t, func(context.Context, *delivery.Delivery) delivery.Reply { <-hold; return done("") })
		for i := range 4 {
			b.log.publish(i, "data", "x")
		}
		pass(time.Second)
		b.log.mu.Lock() // every call to the store now hangs
		began := time.Now()
		for n := range uint64(4) {
			b.role.Loads([]delivery.Load{{Request: n, Delivery: n + 1, Key: "k"}})
			b.role.Replies([]delivery.Reply{{Number: n + 1, Verdict: delivery.Retry}})
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the sink waited %v", waited)
		}
		b.log.mu.Unlock()
		close(hold)
		pass(time.Second)
		b.stop(t)
	})
}
