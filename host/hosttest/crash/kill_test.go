package crash

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/retry"
	"github.com/fnhost/fnhost/host/stream"
)

// A death is a host that dies at a point of some work, which another finishes.
type death struct {
	name   string
	jobs   []job
	before string  // what another host did before: read or begin; it is dead
	points []point // the last one kills
	full   bool    // only when every case is wanted
}

// again is n times the same.
func again(n int, j job) (jobs []job) {
	for range n {
		jobs = append(jobs, j)
	}
	return jobs
}

// around is a death before an operation, and one after it. The later fields of
// the points are as of p.
func around(name string, jobs []job, p point, ops ...string) (all []death) {
	for _, op := range ops {
		for _, after := range []bool{false, true} {
			q := p
			q.Op, q.After, q.Do = op, after, kill
			all = append(all, death{name: name, jobs: jobs, points: []point{q}})
		}
	}
	return all
}

// with changes all deaths.
func with(deaths []death, change func(*death)) []death {
	for i := range deaths {
		change(&deaths[i])
	}
	return deaths
}

// whole is a job with everything that a commit can have.
var whole = job{State: "a", Emit: true, Later: 300}

// deaths are the rows of the crash matrix, and those of what it does not speak
// of: keyed state, emissions, entries for later, long delays, deaths of plugins.
func deaths() (all []death) {
	fresh := again(5, whole)
	all = append(all, around("first delivery", fresh, point{}, "read", "begin", "deliver", "reply", "commit")...)
	// Looks that find nothing come before the one that takes over.
	taken := around("redelivery", fresh, point{}, "deliver", "reply", "commit")
	taken = append(taken, death{name: "redelivery", jobs: fresh, points: []point{{Op: "reclaim", After: true, Do: kill}}})
	taken = append(taken, death{name: "redelivery", jobs: fresh, points: []point{{Op: "reclaim", N: 2, Do: kill}}})
	all = append(all, with(taken, func(d *death) { d.before = "begin" })...)
	all = append(all, with(around("redelivery of what had no lease", fresh, point{}, "commit"), func(d *death) { d.before = "read" })...)

	failing := again(4, job{Fails: 1, State: "a", Emit: true})
	all = append(all, around("retry", failing, point{}, "rerun")...)
	all = append(all, around("retry", failing, point{Attempt: 2}, "deliver", "reply", "commit")...)
	delayed := again(4, job{Fails: 1, After: 1000, State: "a"})
	all = append(all, around("delayed retry", delayed, point{}, "rerun")...)
	all = append(all, around("delayed retry", delayed, point{Attempt: 2}, "renew", "deliver", "commit")...)
	exhausted := again(4, job{Fails: maxRetries + 1, State: "a"})
	all = append(all, around("last retry", exhausted, point{Attempt: 2}, "rerun")...)
	all = append(all, around("last retry", exhausted, point{Attempt: 3}, "deliver", "reply", "commit")...)

	slow := again(4, job{Slow: 1600, State: "a"})
	all = append(all, around("slow", slow, point{}, "renew")...)
	all = append(all, around("rejected", again(3, job{End: "dead"}), point{}, "commit")...)
	all = append(all, around("dropped", again(3, job{End: "drop"}), point{}, "commit")...)
	all = append(all, around("for later", fresh, point{}, "promote")...)
	all = append(all, plugins()...)
	all = append(all, lostAnswers()...)
	all = append(all, drains()...)
	return append(all, parked()...)
}

// onlyBefore spares the second one of a pair.
func onlyBefore(d *death) { d.full = d.points[0].After }

// plugins are deaths of a host whose plugins die.
func plugins() (all []death) {
	dying := append(again(2, job{Deaths: 1, State: "a"}), job{State: "a"})
	all = append(all, around("plugin died", dying, point{}, "rerun")...)
	poison := append(again(2, job{State: "a"}), job{Deaths: 99})
	all = append(all, around("poison", poison, point{N: 3}, "deliver", "reply")...)
	return append(all, around("poison", poison, point{N: 2}, "commit")...)
}

// lostAnswers are deaths while an answer that was lost is made good.
func lostAnswers() (all []death) {
	jobs := again(4, job{State: "a", Emit: true, Fails: 0})
	lost := func(op string, then string, after bool) death {
		n := 1
		if op == then {
			n = 2
		}
		return death{name: "answer lost", jobs: jobs, points: []point{{Op: op, After: true, Do: lose}, {Op: then, After: after, N: n, Do: kill}}}
	}
	for _, after := range []bool{false, true} {
		all = append(all, lost("read", "reconcile", after), lost("read", "begin", after), lost("begin", "begin", after), lost("commit", "commit", after))
		retry := lost("rerun", "rerun", after)
		retry.jobs = again(4, job{Fails: 1, State: "a"})
		all = append(all, retry)
	}
	return all
}

// drains are deaths of a host that hands back what it has not started.
func drains() (all []death) {
	jobs := again(8, job{Slow: 300, State: "a"})
	drained := point{Op: "deliver", After: true, Do: drain}
	for _, after := range []bool{false, true} {
		all = append(all, death{name: "drain", jobs: jobs, points: []point{drained, {Op: "hand_back", After: after, Do: kill}}})
		all = append(all, death{name: "drain", jobs: jobs, points: []point{drained, {Op: "commit", After: after, Do: kill}}})
	}
	failing := again(4, job{Slow: 200, Fails: 1, After: 300, State: "a"})
	for _, after := range []bool{false, true} {
		all = append(all, death{name: "drain of a retry", jobs: failing, points: []point{drained, {Op: "rerun", After: after, Do: kill}}})
	}
	return all
}

// parked are deaths around a delay that is too long to wait for in memory.
func parked() (all []death) {
	retry := again(3, job{Fails: 1, After: 5300, State: "a"})
	all = append(all, around("parked retry", retry, point{}, "rerun")...)
	all = append(all, around("parked retry", retry, point{Attempt: 2}, "commit")...)
	all = append(all, death{name: "parked retry", jobs: retry, points: []point{{Op: "reclaim", After: true, Do: kill}}})
	snooze := again(3, job{Snooze: 5600, State: "a"})
	return append(all, with(around("parked snooze", snooze, point{}, "rerun", "commit"), onlyBefore)...)
}

// TestKilled has a host die at each point. Then one that is started anew, or a
// peer that was there all the time, finishes its work.
func TestKilled(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	for n, d := range deaths() {
		if d.full && !full {
			continue
		}
		for i, survivor := range []string{"restart", "peer"} {
			raced := d.points[0].Op == "promote"                                  // a peer might add the entries first
			if raced && survivor == "peer" || !raced && !full && (n+n/2)%2 != i { // in turns, for before and after alike
				continue
			}
			name := fmt.Sprintf("%s/%s/%s", d.name, d, survivor)
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				rdb := srv.Client()
				w := newWorld(t, rdb, srv.URL(), fmt.Sprintf("k%d%s", n, survivor))
				w.die(d, survivor == "peer")
			})
		}
	}
}

// A message that kills every host that runs it is a dead letter in the end, and
// does not take others with it.
func TestKillerOfHosts(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t)
	w := newWorld(t, srv.Client(), srv.URL(), "killer")
	w.publish(append(again(4, job{Slow: 50, State: "a", Emit: true}), job{Crash: true}, job{State: "a"})...)
	deaths := 0
	for ; w.busy(); deaths++ {
		if deaths > retry.MaxHandouts+retry.MaxLosses+3 {
			t.Fatalf("%d hosts are dead, and it goes on\n%s", deaths, w.leftovers())
		}
		o := w.options()
		o.Lease = time.Second
		c := w.start(o)
		for w.busy() && c.alive() {
			time.Sleep(50 * time.Millisecond)
		}
		if !w.busy() {
			c.drained()
		}
	}
	if v := w.judge(); v.Done != 5 || v.Dead != 1 {
		t.Errorf("%v, want 5 done and 1 dead", v)
	}
	t.Logf("after %d hosts", deaths)
}

func (d death) String() string {
	var all []string
	for _, p := range d.points {
		all = append(all, p.String())
	}
	return strings.Join(all, ", then ")
}

func (w *world) die(d death, peer bool) {
	w.Helper()
	w.publish(d.jobs...)
	w.deadBefore(d.before)
	var other *worker
	if peer {
		other = w.work(func(o *options) { o.Idle = true })
	}
	w.spawn(d.points...).killed()
	if peer {
		other.fn.serve(true)
	} else {
		other = w.work()
	}
	w.untilQuiet()
	if err := other.stop(patience); err != nil {
		w.Error(err)
	}
	w.judge()
	w.judgeCounts()
}

// deadBefore has a host read all messages, and perhaps take their leases, and be
// seen no more.
func (w *world) deadBefore(how string) {
	w.Helper()
	if how == "" {
		return
	}
	log := w.pub.Log(sub(), stream.LogOptions{Owner: "dead:0", Lease: lease})
	entries, err := log.Read(w.Context(), w.history.Len())
	if err != nil || len(entries) != w.history.Len() {
		w.Fatalf("read %d of %d, %v", len(entries), w.history.Len(), err)
	}
	if how != "begin" {
		return
	}
	leases, err := log.Begin(w.Context(), entries)
	if err != nil || leases[0].Status != delivery.Granted {
		w.Fatalf("took leases %v, %v", leases, err)
	}
}
