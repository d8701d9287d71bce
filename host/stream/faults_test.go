package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
)

// throughProxy has the world's client go through a proxy.
func throughProxy(t *testing.T, args ...string) (*world, *hosttest.Proxy) {
	t.Helper()
	w := onReal(t, args...)
	p := hosttest.NewProxy(t, w.srv.Addr())
	c, err := Open(Options{URL: p.URL(), Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	w.c = c
	return w, p
}

// named matches a command by its name.
func named(name string) func([]string) bool {
	return func(command []string) bool { return command[0] == name }
}

// evals matches the scripts' calls that are about a key.
func evals(key string) func([]string) bool {
	return func(command []string) bool {
		return strings.HasPrefix(command[0], "EVAL") && slices.Contains(command, key)
	}
}

// What go-redis would send a second time by itself after a lost answer, adding
// the entry twice without an error.
func TestAPublishWhoseAnswerIsLostIsSentOnce(t *testing.T) {
	t.Parallel()
	w, p := throughProxy(t)
	p.Add(&hosttest.Rule{Match: named("XADD"), Times: 1, Fault: hosttest.CutAfter})
	if _, err := w.c.Publish(t.Context(), sub.Stream, []string{"a", "b"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("publish: %v, want ErrUnavailable", err)
	}
	if n := w.rdb.XLen(t.Context(), "test:rag:tasks").Val(); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

// What go-redis would repeat by itself after a lost answer, giving the next
// messages without an error and leaving these to nobody.
func TestAReadWhoseAnswerIsLostIsAnError(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]hosttest.Fault{"after it was sent": hosttest.CutAfter, "in its middle": hosttest.CutMid} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p := throughProxy(t)
			l := w.log(me, time.Minute)
			ids := w.publish(6)
			p.Add(&hosttest.Rule{Match: named("XREADGROUP"), Times: 1, Fault: fault})
			if entries, err := l.Read(t.Context(), 3); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("read: %v, %v; want ErrUnavailable", entries, err)
			}
			found, err := l.Reconcile(t.Context(), none)
			if err != nil || len(found) != 3 || found[0].ID != ids[0] || found[0].Delivered != 1 {
				t.Fatalf("found %+v, %v; want the first 3, handed out once", found, err)
			}
			w.begin(l, found)
			if next := w.read(l, 3); next[0].ID != ids[3] {
				t.Errorf("the next read begins with %s, want %s", next[0].ID, ids[3])
			}
		})
	}
}

// Several scripts in a pipeline, some executed and some not: repeated, each
// message has one result.
func TestCommitsWhoseAnswersAreLostAreRepeatable(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]hosttest.Fault{"before": hosttest.CutBefore, "after": hosttest.CutAfter, "in the middle": hosttest.CutMid} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, p := throughProxy(t)
			l := w.log(me, time.Minute)
			w.publish(300)
			var commits []delivery.Commit
			for _, h := range w.begun(l, 300) {
				commits = append(commits, done(h))
			}
			w.commit(l, commits[0]) // the script is known
			p.Add(&hosttest.Rule{Match: evals(l.lock(commits[0].ID)), Skip: 0, Times: 1, Fault: fault})
			p.Add(&hosttest.Rule{Match: evals(l.lock(commits[200].ID)), Times: 1, Fault: fault})
			failures := 0
			for {
				if _, err := l.Commit(t.Context(), commits); err == nil {
					break
				} else if failures++; !errors.Is(err, ErrUnavailable) || failures > 5 {
					t.Fatal(err)
				}
			}
			if n := len(w.results()); failures == 0 || n != 300 || w.pending() != 0 {
				t.Errorf("%d failures, then %d results and %d pending", failures, n, w.pending())
			}
		})
	}
}

// A script that the server has forgotten, in a pipeline, is sent again: only the
// calls that were refused.
func TestAForgottenScriptInAPipeline(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	l := w.log(me, time.Minute)
	w.publish(300)
	entries := w.read(l, 300)
	w.do("SCRIPT", "FLUSH")
	held := w.begin(l, entries)
	w.do("SCRIPT", "FLUSH")
	if leases, err := l.Renew(t.Context(), held); err != nil || slices.ContainsFunc(leases, func(x delivery.Lease) bool { return x.Status != delivery.Granted }) {
		t.Errorf("renew: %v", err)
	}
}

// A wait of zero would be for ever, and so would one below a millisecond.
func TestNoReadWaitsForEver(t *testing.T) {
	t.Parallel()
	for block, want := range map[time.Duration]time.Duration{
		0: maxBlock, -time.Second: maxBlock, 100 * time.Microsecond: time.Millisecond, time.Hour: maxBlock, time.Second: time.Second,
	} {
		if got := blockFor(LogOptions{Block: block}); got != want {
			t.Errorf("asked for %s it waits %s, want %s", block, got, want)
		}
	}
}

// Readers that wait take no connection from anybody else.
func TestWaitingReadersLeaveConnectionsToOthers(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	ctx, cancel := context.WithCancel(t.Context())
	const readers = 40 // more than the pool of commands has
	ended := make(chan error, readers)
	for i := range readers {
		l := w.log(fmt.Sprint("host:", i), time.Minute)
		go func() {
			for ctx.Err() == nil {
				if _, err := l.Read(ctx, 1); err != nil && ctx.Err() == nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	w.eventually("all wait", func() bool {
		return strings.Contains(w.rdb.Info(t.Context(), "clients").Val(), fmt.Sprintf("blocked_clients:%d", readers))
	})
	brief, done := context.WithTimeout(t.Context(), 5*time.Second)
	if err := w.c.Ping(brief); err != nil {
		t.Error(err)
	}
	done()
	cancel()
	for range readers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// A connection that has died unseen is found out: reads are not deaf for ever.
func TestAReadOnAHalfOpenConnectionEnds(t *testing.T) {
	t.Parallel()
	w, p := throughProxy(t)
	l := w.c.Log(w.subs, LogOptions{Owner: me, Lease: time.Minute, DoneTTL: time.Minute, Block: 200 * time.Millisecond})
	w.groups("0-0")
	p.Add(&hosttest.Rule{Match: named("XREADGROUP"), Times: 1, Fault: hosttest.Swallow})
	if _, err := l.Read(t.Context(), 1); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("read: %v, want ErrUnavailable", err)
	}
	w.publish(1)
	w.read(l, 1)
}

// A call that times out on a connection that has died unseen gives up the others,
// which are probably as dead: the next call need not find out each of them.
func TestAfterASilenceAllConnectionsAreNew(t *testing.T) {
	t.Parallel()
	w, p := throughProxy(t)
	l := w.log(me, time.Minute)
	w.publish(1)
	held := w.begun(l, 1)
	var pings sync.WaitGroup
	const many = 5
	for range many {
		pings.Go(func() { _ = w.c.commands.BLPop(t.Context(), 300*time.Millisecond, "test:nothing").Err() })
	}
	pings.Wait()
	before := w.c.commands.PoolStats().TotalConns
	p.Add(&hosttest.Rule{Match: evals(l.lock(held[0].ID)), Times: 1, Fault: hosttest.Swallow})
	brief, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := l.Commit(brief, []delivery.Commit{done(held[0])}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("commit: %v, want ErrUnavailable", err)
	}
	w.wantStatuses(w.commit(l, done(held[0])), delivery.Committed)
	w.c.lines.mu.Lock()
	open := len(w.c.lines.open)
	w.c.lines.mu.Unlock()
	if before < many || open != 1 {
		t.Errorf("%d connections of %d are open, want only the new one", open, before)
	}
}

// Every error that says that Redis cannot serve now is one that is waited out,
// and what it interrupted is done when it is repeated.
func TestServerErrorsAreWaitedOut(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]error{
		"LOADING Redis is loading the dataset in memory":                                   ErrUnavailable,
		"READONLY You can't write against a read only replica.":                            ErrUnavailable,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": ErrUnavailable,
		"NOREPLICAS Not enough good replicas to write.":                                    ErrUnavailable,
		"MISCONF Redis is configured to save RDB snapshots, but it is unable to persist":   ErrUnavailable,
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL":               ErrUnavailable,
		"ERR max number of clients reached":                                                ErrUnavailable,
		"CLUSTERDOWN The cluster is down":                                                  ErrUnavailable,
		"TRYAGAIN Multiple keys request during rehashing of slot":                          ErrUnavailable,
		"OOM command not allowed when used memory > 'maxmemory'.":                          ErrOutOfMemory,
		"NOPERM this user has no permissions to run the 'evalsha' command":                 ErrConfig,
		"WRONGTYPE Operation against a key holding the wrong kind of value":                ErrConfig,
	} {
		t.Run(strings.Fields(message)[0]+" "+strings.Fields(message)[1], func(t *testing.T) {
			t.Parallel()
			w, p := throughProxy(t)
			l := w.log(me, time.Minute)
			w.publish(2)
			held := w.begun(l, 1)
			rules := []*hosttest.Rule{
				p.Add(&hosttest.Rule{Match: named("EVALSHA"), Fault: hosttest.Answer(message)}),
				p.Add(&hosttest.Rule{Match: named("XREADGROUP"), Fault: hosttest.Answer(message)}),
			}
			_, committed := l.Commit(t.Context(), []delivery.Commit{done(held[0])})
			_, renewed := l.Renew(t.Context(), held)
			_, read := l.Read(t.Context(), 1)
			for what, err := range map[string]error{"commit": committed, "renew": renewed, "read": read} {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
			for _, r := range rules {
				if r.Done() == 0 {
					t.Error("a fault did not happen")
				}
				p.Remove(r)
			}
			w.wantStatuses(w.commit(l, done(held[0])), delivery.Committed)
			w.begun(l, 1)
			if n := len(w.results()); n != 1 {
				t.Errorf("%d results, want 1", n)
			}
		})
	}
}

// Out of memory: nothing new is begun or taken over, leases are kept, and what
// was refused is done once there is room.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	w := onReal(t, "--maxmemory-policy", "noeviction")
	a, b := w.log(me, short), w.log(peer, short)
	w.publish(3)
	held := w.begun(a, 2)
	fresh := w.read(b, 1)
	w.do("CONFIG", "SET", "maxmemory", 1)
	if _, err := a.Commit(t.Context(), []delivery.Commit{done(held[0])}); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("commit: %v, want ErrOutOfMemory", err)
	}
	if _, err := b.Begin(t.Context(), fresh); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("begin: %v, want ErrOutOfMemory", err)
	}
	time.Sleep(2 * short)
	if taken, _ := w.reclaim(b, 8); len(taken) > 0 {
		t.Errorf("%d taken over while there is no memory to commit them", len(taken))
	}
	if leases, err := a.Renew(t.Context(), held); err != nil || leases[0].Status != delivery.Granted || leases[1].Status != delivery.Granted {
		t.Errorf("renew: %v, %v", leases, err)
	}
	w.do("CONFIG", "SET", "maxmemory", 0)
	w.wantStatuses(w.commit(a, done(held[0])), delivery.Committed)
	w.begin(b, fresh)
	w.eventually("taking over goes on", func() bool { taken, _ := w.reclaim(b, 8); return len(taken) > 0 })
	if n := len(w.results()); n != 1 {
		t.Errorf("%d results, want 1", n)
	}
}

// A primary that becomes a replica: its connections are not used any more, so
// that an address that now leads to the new primary is found.
func TestAConnectionToAFormerPrimaryIsGivenUp(t *testing.T) {
	t.Parallel()
	w, _ := throughProxy(t)
	l := w.log(me, time.Minute)
	w.publish(1)
	held := w.begun(l, 1)
	other := hosttest.Redis(t)
	w.do("REPLICAOF", "127.0.0.1", strings.TrimPrefix(other.Addr(), "127.0.0.1:"))
	if _, err := l.Commit(t.Context(), []delivery.Commit{done(held[0])}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("commit: %v, want ErrUnavailable", err)
	}
	w.do("REPLICAOF", "NO", "ONE")
	w.eventually("it goes on", func() bool {
		results, err := l.Commit(t.Context(), []delivery.Commit{done(held[0])})
		return err == nil && results[0].Status == delivery.Committed || errors.Is(err, ErrNoGroup)
	})
}

// The count of how often a message was handed out rises only with a host that
// was lost under it.
func TestOnlyLostHostsCountAsHandedOut(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	a, b := w.log(me, short), w.log(peer, short)
	w.publish(1)
	held := w.begun(a, 1)
	count := func() int64 {
		rows := w.rdb.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: a.stream, Group: sub.Group, Start: "-", End: "+", Count: 1}).Val()
		return rows[0].RetryCount
	}
	renew := func(l *Log) {
		if leases, err := l.Renew(t.Context(), held); err != nil || leases[0].Status != delivery.Granted {
			t.Fatal(leases, err)
		}
	}
	rerun := func(l *Log, r delivery.Rerun) {
		r.Held, r.Attempt = held[0], 1
		leases, err := l.Rerun(t.Context(), []delivery.Rerun{r})
		if err != nil || leases[0].Status != delivery.Granted {
			t.Fatal(leases, err)
		}
		held[0].Grant = leases[0].Grant
	}
	take := func(l *Log) (m delivery.Reclaimed) {
		w.eventually("it is taken over", func() bool {
			taken, _ := w.reclaim(l, 8)
			if len(taken) > 0 {
				m, held[0].Grant = taken[0], taken[0].Grant
			}
			return len(taken) > 0
		})
		return m
	}
	renew(a)
	rerun(a, delivery.Rerun{})
	renew(a)
	rerun(a, delivery.Rerun{Park: true, Delay: time.Millisecond})
	if m := take(b); m.Delivered != 1 || count() != 1 {
		t.Errorf("after renewals, reruns and a delay it counts as handed out %d times (%d in the group), want 1", m.Delivered, count())
	}
	if err := b.HandBack(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	if m := take(a); m.Delivered != 1 {
		t.Errorf("after it was handed back: %d, want 1", m.Delivered)
	}
	for want := int64(2); want < 5; want++ {
		time.Sleep(short) // nobody renews
		taker := []*Log{a, b}[want%2]
		if m := take(taker); m.Delivered != want || count() != want {
			t.Errorf("after %d lost hosts: %d", want-1, m.Delivered)
		}
	}
	if found, err := a.Reconcile(t.Context(), none); err != nil || len(found) != 1 || found[0].Delivered != 4 {
		t.Errorf("reconciled as %+v, %v; want 4 times", found, err)
	}
}
