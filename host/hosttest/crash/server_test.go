package crash

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
)

// Nothing is lost, and nothing is done twice, whatever a server or the way to it
// does that forgets nothing.
func TestServerFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*world, *hosttest.RedisServer, *hosttest.Proxy){
		"killed, and started again": func(_ *world, srv *hosttest.RedisServer, _ *hosttest.Proxy) {
			srv.Kill()
			time.Sleep(300 * time.Millisecond)
			srv.Restart()
		},
		"killed three times": func(_ *world, srv *hosttest.RedisServer, _ *hosttest.Proxy) {
			for range 3 {
				srv.Kill()
				srv.Restart()
				time.Sleep(400 * time.Millisecond)
			}
		},
		"stands still for two leases": func(_ *world, srv *hosttest.RedisServer, _ *hosttest.Proxy) {
			srv.Pause()
			time.Sleep(2 * lease)
			srv.Resume()
		},
		"stands still for 5 s": func(_ *world, srv *hosttest.RedisServer, _ *hosttest.Proxy) {
			srv.Pause()
			time.Sleep(5 * time.Second)
			srv.Resume()
		},
		"the network drops everything for 5 s": func(_ *world, _ *hosttest.RedisServer, proxy *hosttest.Proxy) {
			proxy.Freeze()
			time.Sleep(5 * time.Second)
			proxy.Thaw()
		},
		"the network refuses for two leases": func(_ *world, _ *hosttest.RedisServer, proxy *hosttest.Proxy) {
			proxy.Refuse(true)
			time.Sleep(2 * lease)
			proxy.Refuse(false)
		},
		"connections are cut all the time": func(_ *world, _ *hosttest.RedisServer, proxy *hosttest.Proxy) {
			for range 30 {
				proxy.Cut()
				time.Sleep(50 * time.Millisecond)
			}
		},
		"SCRIPT FLUSH all the time": func(w *world, _ *hosttest.RedisServer, _ *hosttest.Proxy) {
			for range 40 {
				w.must(w.rdb.ScriptFlush(w.Context()).Err())
				time.Sleep(40 * time.Millisecond)
			}
		},
		"out of memory":    outOfMemory,
		"read only":        readOnly,
		"busy":             busy,
		"too many clients": tooManyClients,
		"evicts locks":     evicts,
	} {
		t.Run(name, func(t *testing.T) {
			w, srv, proxy := besieged(t, hosttest.AppendOnly...)
			s := w.besiege(func() { fault(w, srv, proxy) }).end()
			v := s.judge()
			s.tells(v)
			if s.vanished > 0 {
				t.Errorf("%d acknowledged messages are not in the stream", s.vanished)
			}
			if name != "evicts locks" { // which evicts counts too
				s.judgeCounts()
			}
		})
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) config(name, value string) {
	w.Helper()
	w.must(w.rdb.ConfigSet(w.Context(), name, value).Err())
}

func outOfMemory(w *world, _ *hosttest.RedisServer, _ *hosttest.Proxy) {
	w.config("maxmemory", "1")
	time.Sleep(1500 * time.Millisecond)
	w.config("maxmemory", "0")
}

// readOnly makes the server a replica for a while, of a primary that is not there.
func readOnly(w *world, _ *hosttest.RedisServer, _ *hosttest.Proxy) {
	w.must(w.rdb.ReplicaOf(w.Context(), "127.0.0.1", "1").Err())
	time.Sleep(1500 * time.Millisecond)
	w.must(w.rdb.ReplicaOf(w.Context(), "NO", "ONE").Err())
}

// busy has the server run a script without end, until it is told to stop.
func busy(w *world, srv *hosttest.RedisServer, _ *hosttest.Proxy) {
	w.config("busy-reply-threshold", "100")
	runs := make(chan error, 1)
	go func() {
		c := redis.NewClient(&redis.Options{Addr: srv.Addr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1, ReadTimeout: patience})
		defer c.Close()
		runs <- c.Eval(w.Context(), "while true do end", nil).Err()
	}()
	time.Sleep(1500 * time.Millisecond)
	w.eventually("the script ends", func() bool { return w.rdb.ScriptKill(w.Context()).Err() == nil })
	<-runs
}

// tooManyClients closes every connection, and lets nobody in for a while.
func tooManyClients(w *world, _ *hosttest.RedisServer, _ *hosttest.Proxy) {
	conn := w.rdb.Conn()
	defer conn.Close()
	w.must(conn.ConfigSet(w.Context(), "maxclients", "1").Err())
	w.must(conn.Do(w.Context(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
	time.Sleep(1500 * time.Millisecond)
	w.must(conn.ConfigSet(w.Context(), "maxclients", "1000").Err())
}

// evicts has the server evict what has a time to live: locks, among others.
func evicts(w *world, _ *hosttest.RedisServer, _ *hosttest.Proxy) {
	w.config("maxmemory-policy", "volatile-lru")
	info := w.rdb.InfoMap(w.Context(), "memory").Val()["Memory"]["used_memory"]
	w.config("maxmemory", info)
	w.eventually("the server evicts keys", func() bool {
		evicted, _ := strconv.Atoi(w.rdb.InfoMap(w.Context(), "stats").Val()["Stats"]["evicted_keys"])
		return evicted > 20
	})
	w.config("maxmemory", "0")
}

// What a server forgets it forgets whole: what is left is judged.
func TestServerForgets(t *testing.T) {
	t.Parallel()
	t.Run("killed, with AOF everysec", func(t *testing.T) {
		w, srv, _ := besieged(t, "--appendonly", "yes", "--appendfsync", "everysec")
		s := w.besiege(func() { srv.Kill(); srv.Restart() }).end()
		s.tells(s.judge())
		s.judgeCounts()
	})
	t.Run("killed, without persistence", func(t *testing.T) {
		w, srv, _ := besieged(t)
		s := w.besiege(func() { srv.Kill(); srv.Restart() }).end()
		s.tells(s.judge())
		s.judgeCounts()
	})
	t.Run("FLUSHALL", func(t *testing.T) {
		w, _, _ := besieged(t)
		s := w.besiege(func() { w.must(w.rdb.FlushAll(w.Context()).Err()) }).end()
		s.tells(s.judge())
		s.judgeCounts()
	})
	t.Run("failover", failover)
}

// failover promotes a replica by hand: first it stops to follow, so that what the
// primary acknowledges from then on is lost, and then the primary dies.
func failover(t *testing.T) {
	w, primary, proxy := besieged(t, "--repl-diskless-sync-delay", "0")
	replica := hosttest.Redis(t)
	second := replica.Client()
	host, port, _ := strings.Cut(primary.Addr(), ":")
	w.must(second.ReplicaOf(t.Context(), host, port).Err())
	w.eventually("the replica follows", func() bool {
		return second.InfoMap(t.Context(), "replication").Val()["Replication"]["master_link_status"] == "up"
	})
	s := w.besiege(func() {
		w.must(second.ReplicaOf(t.Context(), "NO", "ONE").Err())
		time.Sleep(400 * time.Millisecond)
		primary.Kill()
		w.rdb = second
		proxy.Retarget(replica.Addr())
	}).end()
	s.tells(s.judge())
	if s.vanished == 0 {
		t.Error("the primary has acknowledged nothing that the replica does not have: this proves nothing")
	}
	s.judgeCounts()
}

// A group that is destroyed loses nothing. What is decided again was decided
// longer ago than done marks live, and above the floor.
func TestGroupDestroyed(t *testing.T) {
	t.Parallel()
	for name, doneTTL := range map[string]time.Duration{"with done marks": 10 * time.Minute, "with done marks of 500 ms": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			w, _, _ := besieged(t)
			var floors []string
			s := w.besiege(func() {
				for range 3 {
					floors = append(floors, w.rdb.Get(t.Context(), w.keys.Floor(sub().Stream, sub().Group)).Val())
					w.must(w.rdb.XGroupDestroy(t.Context(), w.keys.Stream(sub().Stream), sub().Group).Err())
					time.Sleep(time.Second)
				}
			}, func(o *options) { o.DoneTTL = doneTTL })
			s.end()
			v, err := s.history.Check(t.Context(), s.rdb, s.places())
			w.must(err)
			s.tells(v)
			if len(v.Lost) > 0 || !v.Quiet() || doneTTL > time.Minute && v.Err() != nil {
				t.Errorf("%v: %v", v, v.Err())
			}
			for _, id := range append(v.Duplicates, v.DeadTwice...) {
				if delivery.CompareIDs(id, floors[0]) < 0 {
					t.Errorf("%s was decided twice, and is below the floor %s", id, floors[0])
				}
			}
			if doneTTL > time.Minute {
				s.judge()
			}
		})
	}
}

// A stream that is deleted takes what was not decided with it; what hosts hold is
// decided, and what comes later, too.
func TestStreamDeleted(t *testing.T) {
	w, _, _ := besieged(t)
	s := w.besiege(func() { w.must(w.rdb.Del(w.Context(), w.keys.Stream(sub().Stream)).Err()) }).end()
	s.tells(s.judge())
	s.judgeCounts()
	if s.vanished == 0 {
		t.Error("nothing was deleted: this proves nothing")
	}
}

// Trimming by others takes what was not read; of what is handed out, that which
// somebody holds is decided, and the rest is reported.
func TestForeignTrim(t *testing.T) {
	w, _, _ := besieged(t)
	s := w.besiege(func() {
		for range 5 {
			w.must(w.rdb.XTrimMaxLen(w.Context(), w.keys.Stream(sub().Stream), 3).Err())
			time.Sleep(100 * time.Millisecond)
		}
	}).end()
	s.tells(s.judge())
	s.judgeCounts()
}

// What was handed out to a host that is dead, and then deleted, is lost: that is
// reported, each message once, and keeps nothing else from its outcome.
func TestDeletedWhilePending(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	for n, how := range []string{"read", "begin"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, srv.Client(), srv.URL(), fmt.Sprintf("d%d", n))
			w.publish(again(20, job{State: "a"})...)
			w.deadBefore(how)
			for i, e := range w.dump(sub().Stream) {
				if i%4 == 0 {
					w.must(w.rdb.XDel(t.Context(), w.keys.Stream(sub().Stream), e.ID).Err())
				}
			}
			hosts := []*worker{w.work(), w.work()}
			left, err := w.history.Surviving(t.Context(), w.rdb, w.keys.Stream(sub().Stream))
			w.must(err)
			w.history = left
			w.untilQuiet()
			for _, host := range hosts {
				w.must(host.stop(patience))
			}
			if v := w.judge(); v.Done != 15 {
				t.Errorf("%v, want 15 done", v)
			}
			if lost := hosts[0].seen.lost.Load() + hosts[1].seen.lost.Load(); lost != 5 {
				t.Errorf("%d are reported as lost, want 5", lost)
			}
		})
	}
}

// What is deleted while a host holds it is decided all the same.
func TestDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	w := newWorld(t, srv.Client(), srv.URL(), "r")
	w.publish(again(4, job{Slow: 3000, State: "a", Emit: true})...)
	host := w.work()
	w.eventually("all run", func() bool { return host.role.Held() == 4 })
	w.eventually("all have leases", func() bool { return w.leased() == 4 })
	w.must(w.rdb.Del(t.Context(), w.keys.Stream(sub().Stream)).Err())
	w.eventually("all are decided", func() bool { return w.decided() == 4 })
	if err := host.stop(patience); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if got := w.rdb.HGet(t.Context(), w.keys.State(role().Name, "a"), "n").Val(); got != "4" {
		t.Errorf("the counter is %q, want 4", got)
	}
	if lost := host.seen.lost.Load(); lost != 0 {
		t.Errorf("%d are reported as lost", lost)
	}
}

// leased is how many messages have a lock.
func (w *world) leased() (n int) {
	w.Helper()
	for it := w.rdb.Scan(w.Context(), 0, w.keys.LockPrefix(sub())+"*", 1000).Iterator(); it.Next(w.Context()); {
		n++
	}
	return n
}
