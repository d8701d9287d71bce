package crash

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/stream"
)

// mixed is the so many-th of jobs of all kinds.
func mixed(i int) job {
	j := job{State: fmt.Sprint("s", i%4), Emit: i%5 == 0}
	switch {
	case i%29 == 0:
		j.Deaths = 1
	case i%19 == 0:
		j.Fails = maxRetries + 1
	case i%13 == 0:
		j.End = "dead"
	case i%17 == 0:
		j.End = "drop"
	case i%11 == 0:
		j.Fails, j.After = 1, 200
	case i%7 == 0:
		j.Fails = 1
	case i%10 == 0:
		j.Later = 150
	case i%3 == 0:
		j.Slow = 30
	}
	return j
}

const (
	// before and after are how many messages are decided before the fault, and
	// published after it.
	before = 40
	after  = 40
	// publishEvery is between two messages of the load.
	publishEvery = 20 * time.Millisecond
)

// A siege is two hosts under load, to which something happens.
type siege struct {
	*world
	hosts    []*worker
	resumed  time.Duration // from the fault's end until a message that came later was decided
	vanished int           // acknowledged messages that the server does not have any more
}

// besiege works under load, has the fault happen, and goes on until all is
// decided. fault returns when it is over.
func (w *world) besiege(fault func(), change ...func(*options)) *siege {
	w.Helper()
	s := &siege{world: w}
	for range 2 {
		s.hosts = append(s.hosts, w.work(change...))
	}
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	var load sync.WaitGroup
	load.Go(func() { w.publishUntil(ctx, mixed) })
	w.eventually("the hosts work", func() bool { return w.decided() >= before })
	fault()
	ended := time.Now()
	w.publishSoon(whole)
	s.resumed = time.Since(ended)
	published := w.history.Len()
	w.eventually("more messages come", func() bool { return w.history.Len() > published+after })
	cancel()
	load.Wait()
	return s
}

// end waits until all that has survived is decided, and stops the hosts.
func (s *siege) end() *siege {
	s.Helper()
	left, err := s.history.Surviving(s.Context(), s.rdb, s.keys.Stream(sub().Stream))
	if err != nil {
		s.Fatal(err)
	}
	s.vanished = s.history.Len() - left.Len()
	s.history = left
	s.untilQuiet()
	for _, host := range s.hosts {
		if err := host.stop(patience); err != nil {
			s.Error(err)
		}
	}
	return s
}

// tells logs what became of everything.
func (s *siege) tells(v hosttest.Verdict) {
	s.Helper()
	var lost, stale, troubles int64
	for _, host := range s.hosts {
		lost, stale, troubles = lost+host.seen.lost.Load(), stale+host.seen.stale.Load(), troubles+host.seen.storeErrors.Load()
	}
	s.Logf("%v; vanished with the server %d; resumed within %s; reported lost %d, stale %d, store errors %d",
		v, s.vanished, s.resumed.Round(time.Millisecond), lost, stale, troubles)
}

// publishUntil is the load.
func (w *world) publishUntil(ctx context.Context, jobs func(i int) job) {
	tick := time.NewTicker(publishEvery)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = w.tryPublish(jobs(i)) // what is not acknowledged does not count
		}
	}
}

// publishSoon publishes a message, repeatedly until it is acknowledged, and waits
// for its outcome.
func (w *world) publishSoon(j job) {
	w.Helper()
	var id string
	w.eventually("a message can be published", func() bool {
		var err error
		id, err = w.add(j)
		return err == nil
	})
	w.untilDecided(id)
}

// publishBy has the messages go another way than straight to the server.
func (w *world) publishBy(url string) {
	w.Helper()
	pub, err := stream.Open(stream.Options{URL: url, Namespace: w.keys.Namespace})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = pub.Close() })
	w.pub = pub
}

// sieges bounds how many there are at once: they are not for waiting, but for work.
var sieges = make(chan struct{}, 4)

// besieged is a siege of a server of its own, by way of a proxy.
func besieged(t *testing.T, args ...string) (*world, *hosttest.RedisServer, *hosttest.Proxy) {
	t.Helper()
	t.Parallel()
	sieges <- struct{}{}
	t.Cleanup(func() { <-sieges })
	srv := hosttest.Redis(t, args...)
	proxy := hosttest.NewProxy(t, srv.Addr())
	w := newWorld(t, srv.Client(), proxy.URL(), "s")
	w.publishBy(proxy.URL())
	return w, srv, proxy
}
