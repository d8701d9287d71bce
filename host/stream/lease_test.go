package stream

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

const short = 150 * time.Millisecond

func TestALeaseNobodyRenewsIsTakenOverWithItsAttempts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, short), w.log(peer, short)
		w.publish(2)
		held := w.begun(a, 2)
		leases, err := a.Rerun(w.Context(), []delivery.Rerun{{Held: held[0], Attempt: 2, Deaths: 1}})
		if err != nil {
			w.Fatal(err)
		}
		var taken []delivery.Reclaimed
		w.eventually("both are taken over", func() bool {
			more, lost := w.reclaim(b, 64)
			if len(lost) > 0 {
				w.Fatalf("lost %v", lost)
			}
			taken = append(taken, more...)
			return len(taken) >= 2
		})
		slices.SortFunc(taken, func(a, b delivery.Reclaimed) int { return delivery.CompareIDs(a.ID, b.ID) })
		first := taken[0]
		if first.ID != held[0].ID || first.Attempt != 2 || first.Deaths != 1 || first.Fence <= leases[0].Fence || first.Delivered < 2 {
			w.Errorf("taken over as %+v, after %+v", first, leases[0])
		}
		if !slices.Equal(first.Fields, []string{"type", "rag.query", "n", "0"}) {
			w.Errorf("its fields are %q", first.Fields)
		}
		// The old owner has lost it, whatever it does.
		old := delivery.Held{ID: held[0].ID, Grant: leases[0].Grant}
		w.wantStatuses(w.commit(a, done(old)), delivery.CommitLost)
		if renewed, _ := a.Renew(w.Context(), []delivery.Held{old}); renewed[0].Status != delivery.Stale {
			w.Errorf("the old owner's renewal answers %s", renewed[0].Status)
		}
		w.wantStatuses(w.commit(b, done(delivery.Held{ID: first.ID, Grant: first.Grant})), delivery.Committed)
	})
}

func TestARenewedLeaseIsNotTakenOver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, 2*time.Second), w.log(peer, 2*time.Second)
		w.publish(1)
		held := w.begun(a, 1)
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if leases, err := a.Renew(w.Context(), held); err != nil || leases[0].Status != delivery.Granted {
				w.Fatalf("renew: %v %v", leases, err)
			}
			if taken, _ := w.reclaim(b, 64); len(taken) > 0 {
				w.Fatal("taken over while it was renewed")
			}
		}
	})
}

func TestWhatIsHandedBackIsTakenAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, time.Hour), w.log(peer, time.Hour)
		b.since = time.Now() // even by a host that has just started
		w.publish(2)
		held := w.begun(a, 2)
		if _, err := a.Rerun(w.Context(), []delivery.Rerun{{Held: held[1], Attempt: 3, Deaths: 1}}); err != nil {
			w.Fatal(err)
		}
		leases, err := a.Renew(w.Context(), held[:1])
		if err != nil || leases[0].Status != delivery.Granted {
			w.Fatal(leases, err)
		}
		if taken, _ := w.reclaim(b, 64); len(taken) > 0 {
			w.Fatal("taken over before it was handed back")
		}
		again, err := a.Begin(w.Context(), []delivery.Entry{{ID: held[0].ID}, {ID: held[1].ID}})
		if err != nil {
			w.Fatal(err)
		}
		if err := a.HandBack(w.Context(), []delivery.Held{{ID: held[0].ID, Grant: again[0].Grant}, {ID: held[1].ID, Grant: again[1].Grant}}); err != nil {
			w.Fatal(err)
		}
		taken, _ := w.reclaim(b, 64)
		if len(taken) != 2 || taken[0].Attempt != 1 || taken[1].Attempt != 3 || taken[1].Deaths != 1 {
			w.Errorf("taken over %+v, want both, with their attempts", taken)
		}
	})
}

func TestAFreshHostLeavesLapsedLeasesForALease(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, time.Second), w.log(peer, time.Second)
		w.publish(1)
		held := w.begun(a, 1)
		w.do("SET", a.lock(held[0].ID), "P|"+me+"|5|1|0|1000")
		w.do("XCLAIM", a.stream, sub.Group, me, 0, held[0].ID, "IDLE", 5000, "JUSTID")
		b.since = time.Now()
		start := time.Now()
		w.eventually("it is taken over", func() bool { taken, _ := w.reclaim(b, 64); return len(taken) == 1 })
		if waited := time.Since(start); waited < time.Second {
			w.Errorf("taken over after %s, by a host that has not been there for a lease", waited)
		}
	})
}

func TestAParkedMessageComesBackWhenItIsDue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, time.Hour), w.log(peer, time.Hour)
		w.publish(2)
		held := w.begun(a, 2)
		park := delivery.Rerun{Held: held[0], Attempt: 2, Delay: 400 * time.Millisecond, Park: true}
		for range 2 { // the second is the repetition after a lost reply
			leases, err := a.Rerun(w.Context(), []delivery.Rerun{park})
			if err != nil || leases[0].Status != delivery.Granted {
				w.Fatal(leases, err)
			}
		}
		if got := w.holder(a, held[0].ID); got != parkedConsumer {
			w.Errorf("it is held for %q", got)
		}
		w.reclaim(b, 64)
		if floor := w.rdb.Get(w.Context(), a.floor).Val(); floor != held[1].ID {
			w.Errorf("the floor is %s, want %s: what waits does not hold it down", floor, held[1].ID)
		}
		start := time.Now()
		var taken []delivery.Reclaimed
		w.eventually("it is taken over", func() bool { taken, _ = w.reclaim(b, 64); return len(taken) > 0 })
		if early := time.Since(start) < 200*time.Millisecond; early || len(taken) != 1 || taken[0].ID != held[0].ID || taken[0].Attempt != 2 {
			w.Errorf("after %s taken over: %+v", time.Since(start), taken)
		}
		if n := w.rdb.ZCard(w.Context(), a.delayed).Val(); n != 1 {
			w.Errorf("the index has %d ids, want 1: it is not decided yet", n)
		}
		if more, _ := w.reclaim(a, 64); len(more) > 0 {
			w.Errorf("taken over twice: %+v", more)
		}
		w.wantStatuses(w.commit(b, done(delivery.Held{ID: taken[0].ID, Grant: taken[0].Grant})), delivery.Committed)
		if n := w.rdb.ZCard(w.Context(), a.delayed).Val(); n != 0 {
			w.Errorf("the index has %d ids after the commit", n)
		}
	})
}

func TestDeletedEntriesAreReportedLostOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, short), w.log(peer, short)
		ids := w.publish(2)
		w.begun(a, 2)
		w.do("XDEL", a.stream, ids[0])
		var taken []delivery.Reclaimed
		var lost []string
		w.eventually("one is lost and one taken over", func() bool {
			t, l := w.reclaim(b, 64)
			taken, lost = append(taken, t...), append(lost, l...)
			return len(taken) > 0 && len(lost) > 0
		})
		w.reclaim(b, 64)
		if !slices.Equal(lost, ids[:1]) || taken[0].ID != ids[1] || w.holder(a, ids[0]) != "" {
			w.Errorf("lost %v, taken %v, of %v", lost, taken, ids)
		}
	})
}

// Locks of an older worker at the head must not hide what lies behind them.
func TestReclaimGetsPastWhatItCannotTake(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, short), w.log(peer, short)
		ids := w.publish(3 * maxReclaim)
		entries := w.read(a, len(ids))
		for _, e := range entries[:len(entries)-1] {
			w.do("SET", a.lock(e.ID), "older-worker")
		}
		w.eventually("the last one is taken over", func() bool {
			taken, _ := w.reclaim(b, 8)
			return len(taken) == 1 && taken[0].ID == ids[len(ids)-1]
		})
	})
}

func TestReclaimSkipsWhatIsHeldAndKeepsToItsRoom(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, short), w.log(peer, short)
		ids := w.publish(6)
		w.begun(a, 6)
		got := map[string]bool{}
		w.eventually("five are taken over", func() bool {
			taken, _, err := b.Reclaim(w.Context(), func(id string) bool { return id == ids[2] || got[id] }, 2)
			if err != nil || len(taken) > 2 {
				w.Fatalf("%d taken with room for 2: %v", len(taken), err)
			}
			for _, m := range taken {
				got[m.ID] = true
			}
			return len(got) == 5
		})
		if got[ids[2]] {
			w.Error("took over what was to be skipped")
		}
	})
}

func TestRerunRepeatedAnswersTheSame(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(2)
		held := w.begun(l, 2)
		reruns := []delivery.Rerun{
			{Held: held[0], Attempt: 2, Audit: []delivery.Add{{Stream: "audit:events", Fields: []string{"type", "retried"}}}},
			{Held: held[1], Attempt: 1, Deaths: 1, Audit: []delivery.Add{{Stream: "audit:events", Fields: []string{"type", "retried"}}}},
		}
		first, err := l.Rerun(w.Context(), reruns)
		if err != nil {
			w.Fatal(err)
		}
		again, err := l.Rerun(w.Context(), reruns)
		if err != nil || !slices.Equal(first, again) {
			w.Errorf("first %+v, then %+v (%v)", first, again, err)
		}
		if first[0].Fence <= held[0].Fence || first[0].Attempt != 2 || first[1].Deaths != 1 || first[1].Attempt != 1 {
			w.Errorf("the new grants are %+v", first)
		}
		if n, _ := w.c.Len(w.Context(), "audit:events"); n != 2 {
			w.Errorf("%d audit events, want 2", n)
		}
		// One of the two was charged, and it counts once however often it is asked.
		stats := w.c.Commands().HGetAll(w.Context(), w.c.Keys().Stats(l.sub.Role, time.Now())).Val()
		last := w.c.Commands().HGetAll(w.Context(), w.c.Keys().Stats(l.sub.Role, time.Now().Add(-time.Minute))).Val()
		if stats["retried"]+last["retried"] != "1" {
			w.Errorf("the minute counts %v, and the one before %v; want 1 retried", stats, last)
		}
		// The old grant is void: a handler that was cancelled cannot commit any more.
		w.wantStatuses(w.commit(l, done(held[0])), delivery.CommitLost)
		// Nor can the new one be lost by the old one's renewal.
		if renewed, _ := l.Renew(w.Context(), held[:1]); renewed[0].Status != delivery.Stale {
			w.Errorf("the old grant is renewed: %s", renewed[0].Status)
		}
		if !strings.Contains(w.lockValue(held[0].ID), "|2|0|") {
			w.Errorf("the lock is %q", w.lockValue(held[0].ID))
		}
	})
}

func TestFencesRiseThoughTheirCounterIsLost(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(200)
		var last uint64
		for _, h := range w.begun(l, 100) {
			if h.Fence <= last {
				w.Fatalf("fence %d after %d", h.Fence, last)
			}
			last = h.Fence
		}
		time.Sleep(time.Millisecond) // one fence a microsecond is more than a server hands out
		w.do("DEL", l.fence)
		if h := w.begun(l, 100)[0]; h.Fence <= last {
			w.Fatalf("fence %d after %d", h.Fence, last)
		}
	})
}
