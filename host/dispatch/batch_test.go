package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// together runs a role that takes batches of 4. Its handler takes a second; it
// notes what it was given, and answers with each message's data, unless judge
// says otherwise.
func together(t *testing.T, judge func(d *delivery.Delivery, data []string) *delivery.Reply, change ...func(*Config)) (*bundle, *[][]string) {
	t.Helper()
	var runs [][]string
	b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
		data := []string{d.Message.Data}
		for _, m := range d.More {
			data = append(data, m.Message.Data)
		}
		runs = append(runs, data)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return delivery.Reply{Verdict: delivery.Interrupted}
		}
		if reply := judge(d, data); reply != nil {
			return *reply
		}
		return doneAll(data)
	}, append([]func(*Config){func(c *Config) { c.Batch = 4 }}, change...)...)
	b.fn.concurrency = 1
	return b, &runs
}

func doneAll(data []string) delivery.Reply {
	reply := done(data[0])
	for _, d := range data[1:] {
		reply.Parts = append(reply.Parts, delivery.Part{Result: []byte(d)})
	}
	return reply
}

func allDone(*delivery.Delivery, []string) *delivery.Reply { return nil }

// publishKeyed publishes messages of one key, which one read finds all at once.
func (b *bundle) publishKeyed(from, to int) (ids []string) {
	b.log.set(func() {
		for i := from; i < to; i++ {
			ids = append(ids, b.log.add(i, "partitionkey", "k", "data", fmt.Sprint("m", i)))
		}
	})
	return ids
}

// wantResults checks that each of the messages has one result, in order.
func (b *bundle) wantResults(t *testing.T, from, to int) {
	t.Helper()
	var got, want []string
	for _, e := range b.log.entries("work:results") {
		got = append(got, field(e, "data"))
	}
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprint("m", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("results %v, want %v", got, want)
	}
	if len(b.role.lanes) != 0 || b.role.Held() != 0 {
		t.Errorf("%d lanes and %d messages are left", len(b.role.lanes), b.role.Held())
	}
}

func wantRuns(t *testing.T, runs [][]string, want ...string) {
	t.Helper()
	var got []string
	for _, r := range runs {
		got = append(got, strings.Join(r, " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
}

func TestMessagesOfABusyKeyGoTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, runs := together(t, allDone)
		b.publishKeyed(0, 7)
		pass(10 * time.Millisecond)
		b.log.publish(8, "data", "m7") // no key: by itself, and not kept waiting by more than its turn
		pass(time.Minute)
		wantRuns(t, *runs, "m0 m1 m2 m3", "m7", "m4 m5 m6")
		if !slices.Equal(b.log.sizes, []int{4, 1, 3}) {
			t.Errorf("commits of %v messages", b.log.sizes)
		}
		if got := len(b.log.entries("work:results")); got != 8 {
			t.Errorf("%d results, want 8", got)
		}
		b.stop(t)
	})
}

func TestALoneMessageDoesNotWaitForCompany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, runs := together(t, allDone)
		b.publishKeyed(0, 1)
		pass(500 * time.Millisecond)
		b.publishKeyed(1, 4)
		pass(time.Minute)
		wantRuns(t, *runs, "m0", "m1 m2 m3")
		b.wantResults(t, 0, 4)
		b.stop(t)
	})
}

func TestABatchIsNoLargerThanAFrame(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var sizes []int
		b := start(t, func(_ context.Context, d *delivery.Delivery) delivery.Reply {
			sizes = append(sizes, 1+len(d.More))
			time.Sleep(time.Second)
			return doneAll(make([]string, 1+len(d.More)))
		}, func(c *Config) { c.Batch = 100 })
		b.log.set(func() {
			for i := range 6 {
				b.log.add(i, "partitionkey", "k", "data", strings.Repeat("x", 400<<10))
			}
		})
		pass(time.Minute)
		if slices.Max(sizes) != 2 || len(b.log.entries("work:results")) != 6 {
			t.Errorf("batches of %v messages of 400 KiB", sizes)
		}
		b.stop(t)
	})
}

// Whatever goes wrong with a batch, each of its messages is judged by itself, in
// order, and none is charged for the batch.
func TestAFailedBatchRunsAgainOneByOne(t *testing.T) {
	fails := func(reply delivery.Reply) func(*delivery.Delivery, []string) *delivery.Reply {
		return func(_ *delivery.Delivery, data []string) *delivery.Reply {
			if len(data) > 1 {
				return &reply
			}
			return nil
		}
	}
	forbidden := doneAll([]string{"a", "b", "c"})
	forbidden.Parts[1].Emissions = []delivery.Emission{{To: "elsewhere"}}
	for name, reply := range map[string]delivery.Reply{
		"an error":              failed("no"),
		"a permanent error":     {Verdict: delivery.Dead},
		"a snooze":              {Verdict: delivery.Snooze, After: time.Hour},
		"a drop":                {Verdict: delivery.Drop},
		"too few parts":         done("a"),
		"a forbidden emission":  forbidden,
		"the end of the plugin": {Verdict: delivery.Died, Started: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b, runs := together(t, fails(reply))
				b.publishKeyed(0, 3)
				pass(500 * time.Millisecond)
				b.publishKeyed(3, 5)
				pass(time.Minute)
				wantRuns(t, *runs, "m0 m1 m2", "m0", "m1", "m2", "m3 m4", "m3", "m4")
				b.wantResults(t, 0, 5)
				for _, e := range b.log.entries("work:results") {
					if field(e, "attempt") != "1" || field(e, "status") != "ok" {
						t.Errorf("result %v: want ok in the first attempt", e)
					}
				}
				b.stop(t)
			})
		})
	}
}

func TestAMessageThatFailsAloneKeepsItsPlaceAndItsOwnVerdict(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, runs := together(t, func(d *delivery.Delivery, data []string) *delivery.Reply {
			if slices.Contains(data, "m1") && d.Attempt() < 3 {
				reply := failed("no")
				return &reply
			}
			return nil
		}, func(c *Config) { c.Policy.Backoff = time.Second })
		b.publishKeyed(0, 3)
		pass(time.Minute)
		wantRuns(t, *runs, "m0 m1 m2", "m0", "m1", "m1", "m1", "m2")
		b.wantResults(t, 0, 3)
		if got := field(b.log.entries("work:results")[1], "attempt"); got != "3" {
			t.Errorf("m1 in attempt %s, want 3", got)
		}
		b.stop(t)
	})
}

func TestAConflictRunsTheBatchAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, runs := together(t, allDone)
		ids := b.publishKeyed(0, 3)
		b.log.set(func() { b.log.conflicts[ids[0]] = 2 })
		pass(time.Minute)
		wantRuns(t, *runs, "m0 m1 m2", "m0 m1 m2", "m0 m1 m2")
		b.wantResults(t, 0, 3)
		b.stop(t)
	})
}

func TestARefusedBatchIsTakenApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, runs := together(t, func(_ *delivery.Delivery, data []string) *delivery.Reply {
			reply := doneAll(data)
			for i, d := range data {
				if d == "m1" {
					emission := []delivery.Emission{{To: "next", Fields: []string{"a", "b"}}}
					if i == 0 {
						reply.Emissions = emission
					} else {
						reply.Parts[i-1].Emissions = emission
					}
				}
			}
			return &reply
		})
		b.log.set(func() { b.log.refuse["next:tasks"] = "it is no stream" })
		b.publishKeyed(0, 3)
		pass(time.Minute)
		wantRuns(t, *runs, "m0 m1 m2", "m0", "m1", "m2")
		var statuses []string
		for _, e := range b.log.entries("work:results") {
			statuses = append(statuses, field(e, "status"))
		}
		if !slices.Equal(statuses, []string{"ok", "error", "ok"}) || len(b.log.entries("work:dlq")) != 1 {
			t.Errorf("statuses %v and %d dead letters; want the one that could not be written", statuses, len(b.log.entries("work:dlq")))
		}
		b.stop(t)
	})
}

// A member that is another host's voids the batch, whether a renewal finds out
// or the commit; the others run again.
func TestALostMemberVoidsTheBatch(t *testing.T) {
	for name, lost := range map[string]int{"the first": 0, "the second": 1, "the last": 2} {
		for when, wait := range map[string]time.Duration{"before the commit": 900 * time.Millisecond, "while it runs": 5 * time.Second} {
			t.Run(name+" "+when, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					first := true
					b, runs := together(t, func(*delivery.Delivery, []string) *delivery.Reply {
						if first && wait > time.Second {
							time.Sleep(10 * time.Second) // past a renewal, and deaf to its cancellation
						}
						first = false
						return nil
					})
					ids := b.publishKeyed(0, 3)
					pass(900 * time.Millisecond)
					b.log.set(func() { b.log.stolen[ids[lost]] = true })
					pass(time.Minute)
					rest := slices.Delete([]string{"m0", "m1", "m2"}, lost, lost+1)
					wantRuns(t, *runs, "m0 m1 m2", strings.Join(rest, " "))
					var got []string
					for _, e := range b.log.entries("work:results") {
						got = append(got, field(e, "data"))
					}
					if !slices.Equal(got, rest) || b.role.Held() != 0 || len(b.role.lanes) != 0 {
						t.Errorf("results %v, want %v; %d held", got, rest, b.role.Held())
					}
					b.stop(t)
				})
			})
		}
	}
}

func TestADrainFinishesTheBatchThatRunsAndHandsBackTheRest(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, runs := together(t, allDone)
		ids := b.publishKeyed(0, 6)
		pass(500 * time.Millisecond)
		b.stop(t)
		wantRuns(t, *runs, "m0 m1 m2 m3")
		b.wantHandedBack(t, ids[4:])
		b.wantResults(t, 0, 4)
	})
}

func TestADrainHandsBackABatchThatHasNotStarted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b, runs := together(t, allDone)
		b.log.publish(100, "data", "x") // the one handler is busy with it
		pass(10 * time.Millisecond)
		ids := b.publishKeyed(0, 6)
		pass(500 * time.Millisecond)
		b.stop(t)
		wantRuns(t, *runs, "x")
		b.wantHandedBack(t, ids)
	})
}

func (b *bundle) wantHandedBack(t *testing.T, ids []string) {
	t.Helper()
	slices.Sort(b.log.handed)
	if !slices.Equal(b.log.handed, ids) {
		t.Errorf("handed back %v, want %v", b.log.handed, ids)
	}
}

// Whatever happens to batches of several keys, each message has one result, and
// those of a key come in the order of the stream.
func TestBatchesKeepOrderThroughTrouble(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 0))
				var mu sync.Mutex
				chance := func(n int) bool {
					mu.Lock()
					defer mu.Unlock()
					return random.IntN(n) == 0
				}
				b := start(t, func(ctx context.Context, d *delivery.Delivery) delivery.Reply {
					data := []string{d.Message.Data}
					for _, m := range d.More {
						data = append(data, m.Message.Data)
					}
					time.Sleep(100 * time.Millisecond)
					switch {
					case chance(10):
						return failed("no")
					case chance(20):
						return delivery.Reply{Verdict: delivery.Snooze, After: time.Second}
					case chance(20):
						return delivery.Reply{Verdict: delivery.Interrupted}
					}
					return doneAll(data)
				}, func(c *Config) { c.Batch, c.Policy.MaxRetries, c.Policy.Backoff = 5, 100, 200*time.Millisecond })
				const n = 120
				deaths := 0
				for i := range n {
					id := b.log.publish(i, "partitionkey", fmt.Sprint("k", i%3), "data", fmt.Sprintf("%03d", i))
					b.log.set(func() {
						if chance(8) {
							b.log.conflicts[id] = 1
						}
					})
					if chance(10) {
						pass(150 * time.Millisecond)
					}
					if deaths < 2 && chance(30) { // a third could be one message's own
						deaths++
						b.fn.die()
					}
				}
				pass(10 * time.Minute)
				last, seen := map[string]string{}, 0
				for _, e := range b.log.entries("work:results") {
					key, data := field(e, "partitionkey"), field(e, "data")
					if data <= last[key] || field(e, "status") != "ok" {
						t.Errorf("result %v after %s", e, last[key])
					}
					last[key] = data
					seen++
				}
				if seen != n || b.role.Held() != 0 || len(b.role.lanes) != 0 || slices.Max(b.log.sizes) < 2 {
					t.Errorf("%d results of %d, %d held, %d lanes, commits of %v", seen, n, b.role.Held(), len(b.role.lanes), b.log.sizes)
				}
				b.stop(t)
			})
		})
	}
}
