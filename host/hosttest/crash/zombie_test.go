package crash

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host/hosttest"
)

// A zombie is a host that stands still for longer than its lease, and then goes
// on as if nothing had happened.
type zombie struct {
	name   string
	jobs   []job
	before string // what another host did before: read or begin; it is dead
	point  point
}

func zombies() (all []zombie) {
	fresh := again(4, whole)
	for _, p := range []point{
		{Op: "read", After: true}, {Op: "begin"}, {Op: "begin", After: true}, {Op: "deliver"}, {Op: "reply"}, {Op: "commit"}, {Op: "commit", After: true},
	} {
		all = append(all, zombie{name: "first delivery", jobs: fresh, point: p})
	}
	all = append(all, zombie{name: "redelivery", jobs: fresh, before: "begin", point: point{Op: "reclaim", After: true}})
	failing := again(4, job{Fails: 1, State: "a", Emit: true})
	all = append(all,
		zombie{name: "retry", jobs: failing, point: point{Op: "rerun"}},
		zombie{name: "retry", jobs: failing, point: point{Op: "rerun", After: true}},
		zombie{name: "retry", jobs: failing, point: point{Op: "commit", Attempt: 2}},
		zombie{name: "delayed retry", jobs: again(4, job{Fails: 1, After: 300, State: "a"}), point: point{Op: "rerun", After: true}},
		zombie{name: "last retry", jobs: again(4, job{Fails: maxRetries + 1}), point: point{Op: "commit", Attempt: 3}},
		zombie{name: "slow", jobs: again(4, job{Slow: 1600, State: "a"}), point: point{Op: "renew"}},
		zombie{name: "slow", jobs: again(4, job{Slow: 1600, State: "a"}), point: point{Op: "renew", After: true}},
		zombie{name: "for later", jobs: fresh, point: point{Op: "promote"}},
	)
	for i := range all {
		all[i].point.Do = stop
	}
	return all
}

func (z zombie) String() string { return z.name + "/" + z.point.String() }

// TestZombie stops a host at each point. A peer decides everything meanwhile, or
// holds everything when the zombie goes on.
func TestZombie(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	for n, z := range zombies() {
		t.Run(z.String()+"/decided", func(t *testing.T) {
			t.Parallel()
			w, c := z.standing(t, srv, fmt.Sprintf("z%d", n))
			peer := w.work()
			w.untilQuiet()
			c.resume()
			w.finish(c, peer)
		})
		if z.point.Op == "promote" || z.point.Op == "commit" && z.point.After {
			continue // nothing is left that a peer could be at
		}
		t.Run(z.String()+"/running", func(t *testing.T) {
			t.Parallel()
			w, c := z.standing(t, srv, fmt.Sprintf("z%dr", n))
			peer := w.work(func(o *options) { o.Idle = true })
			release := peer.fn.hold()
			peer.fn.serve(true)
			w.eventually("the peer has all", func() bool { return peer.role.Held() == len(z.jobs) })
			granted := w.fences()
			c.resume()
			c.drained()
			for id, fence := range w.fences() {
				if fence < granted[id] {
					t.Errorf("%s was decided under the fence %d, when %d had been granted", id, fence, granted[id])
				}
			}
			release()
			w.finish(c, peer)
		})
	}
}

// standing gives a world with a host that has stopped at the point.
func (z zombie) standing(t *testing.T, srv *hosttest.RedisServer, namespace string) (*world, *child) {
	t.Helper()
	w := newWorld(t, srv.Client(), srv.URL(), namespace)
	w.publish(z.jobs...)
	w.deadBefore(z.before)
	c := w.spawn(z.point)
	c.stopped()
	return w, c
}

// finish ends both, and judges.
func (w *world) finish(c *child, peer *worker) {
	w.Helper()
	c.drained()
	w.untilQuiet() // what the zombie has handed back
	if err := peer.stop(patience); err != nil {
		w.Error(err)
	}
	w.judge()
	w.judgeCounts()
}

// fences are those of all messages that have a lock, granted or decided.
func (w *world) fences() map[string]uint64 {
	w.Helper()
	fences, prefix := map[string]uint64{}, w.keys.LockPrefix(sub())
	for it := w.rdb.Scan(w.Context(), 0, prefix+"*", 1000).Iterator(); it.Next(w.Context()); {
		parts := strings.Split(w.rdb.Get(w.Context(), it.Val()).Val(), "|")
		fence := parts[1][strings.LastIndex(parts[1], ":")+1:] // D|owner:fence|...
		if parts[0] == "P" {
			fence = parts[2] // P|owner|fence|...
		}
		n, err := strconv.ParseUint(fence, 10, 64)
		if err != nil {
			w.Fatal(err)
		}
		fences[strings.TrimPrefix(it.Val(), prefix)] = n
	}
	return fences
}

// decided is how many results there are.
func (w *world) decided() int64 {
	w.Helper()
	return w.rdb.XLen(w.Context(), w.keys.Stream(sub().Results)).Val()
}

// A zombie whose lock is gone, evicted or deleted, may still commit as long as
// nobody has taken its message over; if somebody has, it may not.
func TestZombieWithoutItsLock(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	for name, point := range map[string]point{
		"commit": {Op: "commit", Do: stop}, "rerun": {Op: "rerun", Do: stop}, "renew": {Op: "renew", Do: stop},
	} {
		z := zombie{jobs: again(3, job{Fails: 1, Slow: 1000, State: "a", Emit: true}), point: point}
		t.Run(name+"/and nobody took over", func(t *testing.T) {
			t.Parallel()
			w, c := z.standing(t, srv, "l"+name)
			w.dropLocks()
			c.resume()
			w.untilQuiet()
			c.drained()
			w.judge()
			w.judgeCounts()
		})
		t.Run(name+"/and a peer took over", func(t *testing.T) {
			t.Parallel()
			w, c := z.standing(t, srv, "l"+name+"p")
			w.dropLocks()
			peer := w.work()
			w.eventually("the peer decides", func() bool { return w.decided() > 0 })
			c.resume()
			w.untilQuiet()
			w.finish(c, peer)
		})
	}
}

func (w *world) dropLocks() {
	w.Helper()
	for it := w.rdb.Scan(w.Context(), 0, w.keys.LockPrefix(sub())+"*", 1000).Iterator(); it.Next(w.Context()); {
		if err := w.rdb.Del(w.Context(), it.Val()).Err(); err != nil {
			w.Fatal(err)
		}
	}
}
