package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// An unsteady host works as a host does, but forgets what it holds at random
// points, as if it had been killed there, and comes back under another name; or
// it stalls for longer than a lease and goes on as if nothing had happened.
type unsteady struct {
	w     *world
	name  string
	lease time.Duration
	rnd   *rand.Rand
	ended func() bool
}

var errKilled = errors.New("killed here")

func (u *unsteady) run() error {
	for life := 0; !u.ended(); life++ {
		l := u.w.c.Log(u.w.subs, LogOptions{
			Owner: fmt.Sprintf("%s:%d", u.name, life), Lease: u.lease, DoneTTL: time.Minute, Block: 20 * time.Millisecond, ShortBlock: u.w.srv == nil,
		})
		for !u.ended() {
			if err := u.turn(l); errors.Is(err, errKilled) {
				break
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// turn reads or takes over some messages, and brings each to its next state.
func (u *unsteady) turn(l *Log) error {
	ctx := u.w.Context()
	entries, err := l.Read(ctx, 1+u.rnd.IntN(40))
	if err != nil {
		return err
	}
	if err := u.fate(); err != nil {
		return err
	}
	var held []delivery.Held
	if len(entries) > 0 {
		leases, err := l.Begin(ctx, entries)
		if err != nil {
			return err
		}
		for _, lease := range leases {
			if lease.Status == delivery.Granted {
				held = append(held, delivery.Held{ID: lease.ID, Grant: lease.Grant})
			}
		}
	}
	taken, lost, err := l.Reclaim(ctx, none, 40)
	if err != nil || len(lost) > 0 {
		return fmt.Errorf("lost %v, %w", lost, err)
	}
	for _, m := range taken {
		held = append(held, delivery.Held{ID: m.ID, Grant: m.Grant})
	}
	if err := u.fate(); err != nil {
		return err
	}
	return u.decide(ctx, l, held)
}

func (u *unsteady) decide(ctx context.Context, l *Log, held []delivery.Held) error {
	var commits []delivery.Commit
	var reruns []delivery.Rerun
	var back []delivery.Held
	for _, h := range held {
		switch u.rnd.IntN(20) {
		case 0:
			reruns = append(reruns, delivery.Rerun{Held: h, Attempt: h.Attempt + 1, Park: true, Delay: time.Duration(u.rnd.IntN(300)) * time.Millisecond})
		case 1:
			back = append(back, h)
		default:
			commits = append(commits, done(h))
		}
	}
	if _, err := l.Rerun(ctx, reruns); err != nil {
		return err
	}
	if err := l.HandBack(ctx, back); err != nil {
		return err
	}
	if err := u.fate(); err != nil {
		return err
	}
	if _, err := l.Commit(ctx, commits); err != nil {
		return err
	}
	if u.rnd.IntN(8) == 0 { // the answer was lost
		_, err := l.Commit(ctx, commits)
		return err
	}
	return nil
}

// fate strikes now and then.
func (u *unsteady) fate() error {
	switch u.rnd.IntN(20) {
	case 0:
		return errKilled
	case 1:
		time.Sleep(u.lease + u.lease/2)
	}
	return nil
}

// Whatever happens to hosts, each message gets one result.
func TestSoak(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		messages := int64(2000)
		if w.srv == nil {
			messages = 400 // the embedded one is slow
		}
		w.groups("0-0")
		ids := w.publish(int(messages))
		seed := rand.Uint64()
		w.Logf("seed %d", seed)
		results := w.c.keys.Stream(sub.Results)
		deadline := time.Now().Add(90 * time.Second)
		ended := func() bool {
			n, _ := w.rdb.XLen(w.Context(), results).Result()
			return n >= messages && w.pending() == 0 || time.Now().After(deadline) || w.Context().Err() != nil
		}
		var hosts sync.WaitGroup
		for i := range 2 {
			u := &unsteady{w: w, name: fmt.Sprintf("host-%d", i), lease: 200 * time.Millisecond, rnd: rand.New(rand.NewPCG(seed, uint64(i))), ended: ended}
			hosts.Go(func() {
				if err := u.run(); err != nil {
					w.Errorf("%s: %v", u.name, err)
				}
			})
		}
		hosts.Wait()
		count := map[string]int{}
		for _, e := range w.results() {
			count[field(e, "entryid")]++
		}
		for _, id := range ids {
			if count[id] != 1 {
				w.Errorf("%s has %d results, want 1; its lock is %q", id, count[id], w.lockValue(id))
			}
		}
		if n := w.pending(); n != 0 {
			w.Errorf("%d pending", n)
		}
	})
}
