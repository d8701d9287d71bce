package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A fault is one kind of trouble. It returns when its effects are over, with
// how long work took to go on: several figures, or none if that was not to be
// seen. Only if it is alone are they worth anything.
type fault struct {
	name   string
	weight int
	limit  time.Duration // of the recovery; 0: none is promised
	strike func(r *rig, rnd *rand.Rand) ([]time.Duration, error)
}

// What is promised: how long until work goes on.
const (
	pluginLimit = time.Second
	redisLimit  = 2 * time.Second
)

func hostLimit() time.Duration { return *lease + 2*time.Second }

// errMissed says that there was nothing to strike.
var errMissed = errors.New("there was no such target")

func faults() []fault {
	return []fault{
		{"plugin kill -9", 6, pluginLimit, killPlugin(false)},
		{"plugin kill -9, again within a minute", 3, 0, killPlugin(true)},
		{"host kill -9", 5, hostLimit(), killHost},
		{"host SIGTERM", 4, 0, stopHost},
		{"host stalls for 1.5 leases", 2, 0, stallHost},
		{"redis kill -9, AOF always", 4, redisLimit, killRedis},
		{"redis stalls for up to 1.5 leases", 3, redisLimit, stallRedis},
		{"redis cuts all connections", 2, redisLimit, cutConnections},
		{"redis forgets all scripts", 1, redisLimit, flushScripts},
	}
}

func draw(rnd *rand.Rand, all []fault) fault {
	total := 0
	for _, f := range all {
		total += f.weight
	}
	at := rnd.IntN(total)
	for _, f := range all {
		if at -= f.weight; at < 0 {
			return f
		}
	}
	panic("unreachable: at is below the total of the weights")
}

// chaos strikes until the context has ended and each fault has come: one after
// another, each measured, and now and then two at once, which are not.
func (r *rig) chaos(ctx context.Context, rnd *rand.Rand) {
	all := faults()
	for n := 0; (ctx.Err() == nil || n < len(all)) && r.t.Context().Err() == nil; n++ {
		first := draw(rnd, all)
		if n < len(all) {
			first = all[n]
		}
		if rnd.IntN(5) == 0 && n >= len(all) {
			r.pile(rnd, first, draw(rnd, all))
		} else {
			took, err := first.strike(r, rnd)
			r.report.struck(first, took, err)
		}
		select {
		case <-time.After(time.Duration(rnd.Int64N(int64(*lease)))):
		case <-ctx.Done():
		}
	}
}

func (r *rig) pile(rnd *rand.Rand, faults ...fault) {
	var all sync.WaitGroup
	for _, f := range faults {
		own := rand.New(rand.NewPCG(rnd.Uint64(), 0))
		all.Go(func() {
			_, err := f.strike(r, own)
			r.report.struck(f, nil, err)
		})
	}
	all.Wait()
}

// mortal chooses a host that may be ended: any but the first.
func (r *rig) mortal(rnd *rand.Rand) (place int, h *host) {
	place = 1 + rnd.IntN(*hosts-1)
	return place, r.host(place)
}

// killPlugin ends the probe of one host; again says that it crashed before, so
// that the host will pause before it starts the next one.
func killPlugin(again bool) func(*rig, *rand.Rand) ([]time.Duration, error) {
	return func(r *rig, rnd *rand.Rand) ([]time.Duration, error) {
		all := slices.DeleteFunc(r.every(), func(h *host) bool { return h.plugin("probe") == 0 || h.pausing() != again })
		if len(all) == 0 {
			return nil, errMissed
		}
		h := all[rnd.IntN(len(all))]
		baits := r.bait(h)
		pid, at := h.plugin("probe"), time.Now()
		victims := r.running(baits, pid, at)
		if pid == 0 || syscall.Kill(pid, syscall.SIGKILL) != nil {
			return nil, errMissed // it has just ended
		}
		r.killed.Store(pid, true)
		return r.runAgain("plugin of "+h.name+" killed", pluginLimit, victims, at)
	}
}

// killHost ends one host, and starts another in its place.
func killHost(r *rig, rnd *rand.Rand) ([]time.Duration, error) {
	r.endings.Lock()
	defer r.endings.Unlock()
	place, h := r.mortal(rnd)
	r.calm()
	baits := r.bait(h)
	at := time.Now()
	victims := r.running(baits, h.plugin("probe"), at)
	h.kill()
	for pid := range h.probes() {
		r.killed.Store(pid, true)
	}
	took, err := r.runAgain(h.name+" killed", hostLimit(), victims, at)
	return took, errors.Join(err, r.replace(place, rnd))
}

// calm waits until other hosts would judge the leases of one that is killed: for
// a lease after their start, or after trouble with Redis, they do not.
func (r *rig) calm() {
	last := r.report.redisBack()
	for _, h := range r.every() {
		if h.born.After(last) {
			last = h.born
		}
	}
	select {
	case <-time.After(time.Until(last.Add(*lease + time.Second))):
	case <-r.t.Context().Done():
	}
}

// stopHost ends one host as an operator does, and starts another in its place.
func stopHost(r *rig, rnd *rand.Rand) ([]time.Duration, error) {
	r.endings.Lock()
	defer r.endings.Unlock()
	place, h := r.mortal(rnd)
	return nil, errors.Join(r.stop(h), r.replace(place, rnd))
}

// stop ends a host cleanly.
func (r *rig) stop(h *host) error {
	h.signal(syscall.SIGTERM)
	if err := h.wait(patience); err != nil {
		h.kill()
		return err
	}
	if code := h.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("host %s ended with %v after SIGTERM, want exit code 0", h.name, h.cmd.ProcessState)
	}
	return nil
}

// replace starts a host in a place, after a while, and waits until it serves.
func (r *rig) replace(place int, rnd *rand.Rand) error {
	if rnd != nil {
		time.Sleep(time.Duration(rnd.Int64N(int64(time.Second))))
	}
	h, err := r.start(place)
	if err != nil {
		return err
	}
	return r.serving(h)
}

func (r *rig) serving(h *host) error {
	return r.until(patience, func() string { return "host " + h.name + " is not ready" }, func() bool { return !h.alive() || h.ready() })
}

// stallHost stops one host for longer than a lease: it goes on as if nothing had
// happened, and others have its messages.
func stallHost(r *rig, rnd *rand.Rand) ([]time.Duration, error) {
	r.endings.Lock()
	defer r.endings.Unlock()
	_, h := r.mortal(rnd)
	r.bait(h)
	h.signal(syscall.SIGSTOP)
	time.Sleep(*lease * 3 / 2)
	at := time.Now()
	h.signal(syscall.SIGCONT)
	_, err := r.working([]*host{h}, at)
	return nil, err
}

func killRedis(r *rig, rnd *rand.Rand) ([]time.Duration, error) {
	return r.redisFault(func() {
		r.server.Kill()
		time.Sleep(time.Duration(rnd.Int64N(int64(*lease))))
		r.server.Restart()
	})
}

func stallRedis(r *rig, rnd *rand.Rand) ([]time.Duration, error) {
	return r.redisFault(func() {
		r.server.Pause()
		time.Sleep(time.Duration(rnd.Int64N(int64(*lease * 3 / 2))))
		r.server.Resume()
	})
}

func cutConnections(r *rig, _ *rand.Rand) ([]time.Duration, error) {
	return r.redisFault(func() { r.rdb.ClientKillByFilter(r.t.Context(), "TYPE", "normal") })
}

func flushScripts(r *rig, _ *rand.Rand) ([]time.Duration, error) {
	return r.redisFault(func() { r.rdb.ScriptFlush(r.t.Context()) })
}

// redisFault does something to Redis, and sees how long each host takes to work
// on what is published after it.
func (r *rig) redisFault(do func()) ([]time.Duration, error) {
	r.servers.Lock()
	before := r.every()
	do()
	at := time.Now()
	r.report.redisIsBack(at)
	r.servers.Unlock()
	return r.working(before, at)
}

// bait publishes messages that run for a while, until some of them run on the
// host; those that do not by then are of no use.
func (r *rig) bait(h *host) []string {
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Second)
	defer cancel()
	var ids []string
	for ctx.Err() == nil && h.alive() {
		ids = append(ids, r.publish(ctx, []plan{bait(), bait(), bait(), bait()})...)
		err := r.until(100*time.Millisecond, func() string { return "" }, func() bool {
			r.read()
			return len(r.running(ids, h.plugin("probe"), time.Now())) > 0
		})
		if err == nil {
			return ids
		}
	}
	return ids
}

func (r *rig) read() { r.report.fault(r.journal.read()) }

// running gives those that run in the process, and will for a while.
func (r *rig) running(ids []string, pid int, at time.Time) (running []string) {
	for _, id := range ids {
		runs := r.journal.of(id)
		if len(runs) == 1 && runs[0].pid == pid && runs[0].end == 0 && at.UnixNano()-runs[0].begin < int64(500*time.Millisecond) {
			running = append(running, id)
		}
	}
	return running
}

// runAgain waits until all that ran runs again, and gives the time from then to
// the last one. It tells of one that took longer than a limit.
func (r *rig) runAgain(what string, limit time.Duration, ids []string, since time.Time) ([]time.Duration, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	last, slowest := int64(0), ""
	err := r.until(patience, func() string { return fmt.Sprintf("of %v some do not run again", ids) }, func() bool {
		r.read()
		last = 0
		for _, id := range ids {
			runs := r.journal.of(id)
			if len(runs) < 2 {
				return false
			}
			if runs[1].begin > last {
				last, slowest = runs[1].begin, id
			}
		}
		return true
	})
	took := time.Duration(last - since.UnixNano())
	if took > limit {
		r.report.say("%s, at %s: the last to run again after %s was %s; its runs: %s", what, since.Format(time.StampMilli), took, slowest, r.story(slowest))
	}
	return []time.Duration{took}, err
}

// working publishes messages until each of the hosts has begun one of them, and
// gives the time from then to the last host's first. A host that ends meanwhile,
// or whose plugin does, is left out.
func (r *rig) working(hosts []*host, since time.Time) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	at := map[*host]int{}
	for _, h := range hosts {
		at[h] = h.plugin("probe")
	}
	var ids []string
	for ctx.Err() == nil {
		ids = append(ids, r.publish(ctx, []plan{canary()})...)
		r.read()
		if last, all := r.begunBy(at, ids); all {
			if last == 0 {
				return nil, nil
			}
			return []time.Duration{time.Duration(last - since.UnixNano())}, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil, fmt.Errorf("a host is deaf: after %s not all of %d hosts work again", patience, len(hosts))
}

// begunBy gives when the last of the hosts first began one of the messages; all
// says that each of them has, but those whose process is another one now.
func (r *rig) begunBy(at map[*host]int, ids []string) (last int64, all bool) {
	for h, pid := range at {
		if pid == 0 || !h.alive() || h.plugin("probe") != pid {
			continue
		}
		first := r.journal.begunIn(ids, pid)
		if first == 0 {
			return 0, false
		}
		last = max(last, first)
	}
	return last, true
}
