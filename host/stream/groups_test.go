package stream

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

func TestANewGroup(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.subs.Stream = "absent"
		if made := w.groups("$"); len(made) != 1 || made[0].Start != "0-0" || made[0].Lost {
			w.Errorf("on a stream that is not there: %+v, want one that starts at 0-0", made)
		}
		if made := w.groups("$"); len(made) != 0 {
			w.Errorf("made twice: %+v", made)
		}
		w.subs.Stream = "filled"
		ids := w.publish(3)
		made := w.groups("$")
		if len(made) != 1 || made[0].Skipped != 3 || made[0].Start != ids[2] || !strings.Contains(made[0].String(), "3 entries") {
			w.Errorf("on a stream with entries: %+v, want the 3 of them told as skipped", made)
		}
		if floor := w.rdb.Get(w.Context(), w.c.keys.Floor("filled", sub.Group)).Val(); floor != following(ids[2]) {
			w.Errorf("its floor is %s, want %s", floor, following(ids[2]))
		}
		w.subs.Stream = "replayed"
		w.publish(2)
		w.groups("0-0")
		l := w.c.Log(w.subs, LogOptions{Owner: me, Lease: time.Minute, DoneTTL: time.Minute, ShortBlock: w.srv == nil})
		w.read(l, 2)
	})
}

func TestAGroupOnAKeyOfAnotherTypeNamesTheKey(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.do("SET", w.c.keys.Stream("rag:tasks"), "x")
		made, err := w.c.EnsureGroups(w.Context(), []topology.Group{{Stream: "rag:tasks", Group: "g"}, {Stream: "other", Group: "g"}}, "$")
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "test:rag:tasks holds a string") {
			w.Errorf("error is %v", err)
		}
		if len(made) != 1 || made[0].Stream != "other" {
			w.Errorf("made %+v, want the other one", made)
		}
	})
}

func TestALostGroupIsMadeAgainBelowItsFloor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		told := l.observed()
		ids := w.publish(6)
		held := w.begun(l, 4)
		w.wantStatuses(w.commit(l, done(held[0]), done(held[3])), delivery.Committed, delivery.Committed)
		if _, err := l.Rerun(w.Context(), []delivery.Rerun{{Held: held[1], Attempt: 2, Park: true, Delay: time.Hour}}); err != nil {
			w.Fatal(err)
		}
		w.reclaim(l, 64) // writes the floor
		w.do("XGROUP", "DESTROY", l.stream, sub.Group)
		for range 2 {
			if _, _, err := l.Reclaim(w.Context(), func(string) bool { return false }, 10); err == nil {
				break
			} else if !errors.Is(err, ErrNoGroup) {
				w.Fatal(err)
			}
		}
		if len(told.created) != 1 || !told.created[0].Lost || told.created[0].Reach != ids[3] {
			w.Errorf("the loss was told as %+v, want once, with all that was handed out up to %s", told.created, ids[3])
		}
		if got := w.holder(l, ids[1]); got != parkedConsumer {
			w.Errorf("what waits is held for %q", got)
		}
		// Read again: what was ours is ours, what is done is done, the rest is new.
		entries := w.read(l, 4)
		leases, err := l.Begin(w.Context(), entries)
		if err != nil {
			w.Fatal(err)
		}
		want := map[string]delivery.GrantStatus{ids[2]: delivery.Granted, ids[3]: delivery.Decided, ids[4]: delivery.Granted, ids[5]: delivery.Granted}
		for _, lease := range leases {
			if status, ok := want[lease.ID]; !ok || status != lease.Status {
				w.Errorf("%s: %s", lease.ID, lease.Status)
			}
		}
	})
}

// What is decided and forgotten runs again after a loss of the group, and every
// host that runs some of it tells.
func TestWhatRunsAgainAfterALossIsTold(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, time.Minute), w.log(peer, time.Minute)
		toldA, toldB := a.observed(), b.observed()
		ids := w.publish(6)
		held := w.begun(a, 4)
		for _, h := range held[1:] {
			w.commit(a, done(h))
			w.do("DEL", a.lock(h.ID)) // as after OPS_IDEMP_TTL
		}
		w.reclaim(a, 0)
		w.do("XGROUP", "DESTROY", a.stream, sub.Group)
		for _, l := range []*Log{a, b} { // both notice, one makes it
			if _, _, err := l.Reclaim(w.Context(), none, 0); l == a && !errors.Is(err, ErrNoGroup) {
				w.Fatal(err)
			}
		}
		for _, l := range []*Log{b, a} {
			if _, err := l.Begin(w.Context(), w.read(l, 3)); err != nil {
				w.Fatal(err)
			}
		}
		if !slices.Equal(toldB.replayed, ids[1:3]) || !slices.Equal(toldA.replayed, ids[3:4]) {
			w.Errorf("told as running again are %v and %v, want %v and %v", toldB.replayed, toldA.replayed, ids[1:3], ids[3:4])
		}
		w.reclaim(a, 0)
		w.publish(1)
		if w.begun(a, 1); len(toldA.replayed) != 1 {
			w.Errorf("a new message is told as running again: %v", toldA.replayed)
		}
	})
}

func TestTheFloorsAge(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		told := l.observed()
		w.publish(2)
		time.Sleep(5 * time.Millisecond)
		if w.reclaim(l, 0); told.age != 0 {
			w.Errorf("%s with nothing handed out", told.age)
		}
		held := w.begun(l, 2)
		w.commit(l, done(held[1]))
		if w.reclaim(l, 0); told.age < 5*time.Millisecond || told.age > time.Minute {
			w.Errorf("%s with the first undecided", told.age)
		}
		w.commit(l, done(held[0]))
		if w.reclaim(l, 0); told.age != 0 {
			w.Errorf("%s with all decided", told.age)
		}
	})
}

// The commit of a message whose group was destroyed meanwhile stands.
func TestACommitOutlivesItsGroup(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(1)
		held := w.begun(l, 1)
		w.do("XGROUP", "DESTROY", l.stream, sub.Group)
		w.wantStatuses(w.commit(l, done(held[0])), delivery.Committed)
		w.groups("$")
		if leases, err := l.Begin(w.Context(), w.read(l, 1)); err != nil || leases[0].Status != delivery.Decided {
			w.Errorf("read again it is %v (%v), want decided", leases, err)
		}
	})
}

// A renewal after the group was destroyed brings the entry back under our name.
func TestARenewalOutlivesItsGroup(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(1)
		held := w.begun(l, 1)
		w.do("XGROUP", "DESTROY", l.stream, sub.Group)
		if _, err := l.Renew(w.Context(), held); !errors.Is(err, ErrNoGroup) {
			w.Errorf("renew: %v, want ErrNoGroup", err)
		}
		leases, err := l.Renew(w.Context(), held)
		if err != nil || leases[0].Status != delivery.Granted || w.holder(l, held[0].ID) != me {
			w.Errorf("renew again: %v, %v", leases, err)
		}
		w.do("XGROUP", "DELCONSUMER", l.stream, sub.Group, me)
		if leases, err = l.Renew(w.Context(), held); err != nil || leases[0].Status != delivery.Granted || w.holder(l, held[0].ID) != me {
			w.Errorf("after a stranger deleted the consumer: %v, %v", leases, err)
		}
	})
}

func TestALostStreamBeginsAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(3)
		held := w.begun(l, 3)
		w.commit(l, done(held[0]), done(held[1]), done(held[2]))
		w.reclaim(l, 10)
		w.do("DEL", l.stream)
		w.do("XADD", l.stream, "5-1", "a", "b") // a new stream, whose ids lie below the floor
		made := w.groups("$")
		if len(made) != 1 || made[0].Start != "0-0" {
			w.Errorf("made %+v, want a start at 0-0", made)
		}
		w.read(l, 1)
	})
}

func TestTheFloor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		floor := func() string { w.reclaim(l, 0); return w.rdb.Get(w.Context(), l.floor).Val() }
		ids := w.publish(3)
		if got := floor(); got != "0-1" {
			w.Errorf("with nothing read it is %s", got)
		}
		held := w.begun(l, 2)
		if got := floor(); got != ids[0] {
			w.Errorf("with two pending it is %s, want %s", got, ids[0])
		}
		w.commit(l, done(held[0]))
		if got := floor(); got != ids[1] {
			w.Errorf("with the second pending it is %s, want %s", got, ids[1])
		}
		w.commit(l, done(held[1]))
		if got := floor(); got != following(ids[1]) {
			w.Errorf("with two decided it is %s, want %s", got, following(ids[1]))
		}
	})
}

func TestHostsThatDisagreeAboutAStreamsOwnGroup(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		further := topology.Subscription{Role: "audit", Stream: sub.Stream, Group: "audit-workers"}
		if err := w.c.EnsureOwner(w.Context(), sub, further); err != nil {
			w.Fatal(err)
		}
		for _, bad := range []topology.Subscription{
			{Role: "audit", Stream: sub.Stream, Group: "audit-workers", Own: true},
			{Role: "rag", Stream: sub.Stream, Group: sub.Group},
		} {
			if err := w.c.EnsureOwner(w.Context(), bad); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), sub.Group) {
				w.Errorf("%+v: %v", bad, err)
			}
		}
	})
}

// A group that begins just below an entry with the lowest number of its
// millisecond begins at the highest one of the millisecond before.
func TestAGroupBeginsBelowTheFirstEntryOfAMillisecond(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		ids := w.publish(3)
		w.begun(l, 2)
		w.do("SET", l.floor, "500-0")
		for want := range 2 {
			w.do("XGROUP", "DESTROY", l.stream, sub.Group)
			if made := w.groups("$"); len(made) != 1 || made[0].Start != "499-18446744073709551615" {
				w.Errorf("made number %d is %+v", want, made)
			}
			w.reclaim(l, 0)
			if floor := w.rdb.Get(w.Context(), l.floor).Val(); floor != "500-0" {
				w.Errorf("its floor is %s", floor)
			}
		}
		if got := w.read(l, 3); got[0].ID != ids[0] {
			w.Errorf("read %s first", got[0].ID)
		}
	})
}
