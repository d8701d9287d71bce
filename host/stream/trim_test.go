package stream

import (
	"fmt"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// small makes Redis remove entries almost one by one.
var small = []string{"--stream-node-max-entries", "2"}

// onTrimmed runs the test on both servers. trim is what the host does every few
// seconds; its janitor second has written the floor before.
func onTrimmed(t *testing.T, test func(w *world, l *Log, ids []string, trim func() int64)) {
	t.Helper()
	run := func(w *world) {
		l := w.log(me, time.Minute)
		ids := w.publish(20)
		trim := func() int64 {
			w.Helper()
			time.Sleep(2 * time.Millisecond) // older than a millisecond
			if len(w.rdb.XInfoGroups(w.Context(), l.stream).Val()) > 0 {
				w.reclaim(l, 0)
			}
			got, err := w.c.Trim(w.Context(), sub.Stream, []string{sub.Group}, time.Millisecond)
			if err != nil {
				w.Fatal(err)
			}
			return got.Removed
		}
		test(w, l, ids, trim)
	}
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		run(onReal(t, small...))
	})
	onEmbedded(t, run)
}

// wantFirst checks that the entry is still there, and that not many before it are.
func (w *world) wantFirst(ids []string, first int) {
	w.Helper()
	there, err := w.c.Range(w.Context(), sub.Stream, "-", "+", 1000)
	if err != nil {
		w.Fatal(err)
	}
	if want := len(ids) - first; len(there) < want || len(there) > want+2 {
		w.Errorf("%d entries are left, want those from number %d on: %d, or a few more", len(there), first, want)
	}
	if first < len(ids) && w.rdb.XRange(w.Context(), w.c.keys.Stream(sub.Stream), ids[first], ids[first]).Val() == nil {
		w.Errorf("entry %d is gone, which is still needed", first)
	}
}

func TestTrimKeepsWhatIsUndecided(t *testing.T) {
	t.Parallel()
	onTrimmed(t, func(w *world, l *Log, ids []string, trim func() int64) {
		if n := trim(); n != 0 {
			w.Errorf("%d removed before anything was read", n)
		}
		held := w.begun(l, 12)
		trim()
		w.wantFirst(ids, 0)
		for i, h := range held {
			if i != 5 {
				w.wantStatuses(w.commit(l, done(h)), delivery.Committed)
			}
		}
		trim()
		w.wantFirst(ids, 5)
		w.commit(l, done(held[5]))
		trim()
		w.wantFirst(ids, 12) // not yet handed out
		w.read(l, 8)
		if lost, err := l.Reconcile(w.Context(), none); err != nil || len(lost) != 8 {
			w.Errorf("of what was handed out %d can be found (%v), want all 8", len(lost), err)
		}
	})
}

func TestTrimKeepsWhatIsYoung(t *testing.T) {
	t.Parallel()
	onTrimmed(t, func(w *world, l *Log, ids []string, _ func() int64) {
		for _, h := range w.begun(l, 20) {
			w.commit(l, done(h))
		}
		if got, err := w.c.Trim(w.Context(), sub.Stream, []string{sub.Group}, time.Hour); err != nil || got.Removed != 0 {
			w.Errorf("removed %+v, %v; want none that is younger than an hour", got, err)
		}
		w.wantFirst(ids, 0)
	})
}

func TestTrimKeepsWhatAForeignGroupNeeds(t *testing.T) {
	t.Parallel()
	onTrimmed(t, func(w *world, l *Log, ids []string, trim func() int64) {
		for _, h := range w.begun(l, 20) {
			w.commit(l, done(h))
		}
		w.do("XGROUP", "CREATE", l.stream, "theirs", ids[7])
		trim()
		w.wantFirst(ids, 8)
		w.do("XREADGROUP", "GROUP", "theirs", "them", "COUNT", 12, "STREAMS", l.stream, ">")
		for _, id := range ids[8:] {
			if id != ids[14] {
				w.do("XACK", l.stream, "theirs", id)
			}
		}
		trim()
		w.wantFirst(ids, 14)
		w.do("XGROUP", "DESTROY", l.stream, "theirs")
		trim()
		w.wantFirst(ids, 20)
	})
}

func TestTrimKeepsWhatWaitsUntilItIsDue(t *testing.T) {
	t.Parallel()
	onTrimmed(t, func(w *world, l *Log, ids []string, trim func() int64) {
		held := w.begun(l, 20)
		if _, err := l.Rerun(w.Context(), []delivery.Rerun{{Held: held[4], Attempt: 1, Park: true, Delay: time.Hour}}); err != nil {
			w.Fatal(err)
		}
		for i, h := range held {
			if i != 4 {
				w.commit(l, done(h))
			}
		}
		trim() // the floor passes what waits
		w.wantFirst(ids, 4)
		// Only the index knows it once a stranger has deleted the consumer that holds it.
		w.do("XGROUP", "DELCONSUMER", l.stream, sub.Group, parkedConsumer)
		trim()
		w.wantFirst(ids, 4)
	})
}

func TestNothingIsTrimmedWhileAGroupIsGone(t *testing.T) {
	t.Parallel()
	onTrimmed(t, func(w *world, l *Log, ids []string, trim func() int64) {
		held := w.begun(l, 20)
		for _, h := range held[:10] {
			w.commit(l, done(h))
		}
		w.reclaim(l, 0)
		w.do("XGROUP", "DESTROY", l.stream, sub.Group)
		if n := trim(); n != 0 {
			w.Errorf("%d removed while the group is gone", n)
		}
		w.groups("$")
		trim()
		w.wantFirst(ids, 10)
		w.do("DEL", l.stream)
		if n := trim(); n != 0 {
			w.Errorf("%d removed of a stream that is gone", n)
		}
	})
}

func TestOneTrimIsBounded(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	l := w.log(me, time.Minute)
	pipe := w.rdb.Pipeline()
	const all = maxTrim + 2000
	for i := range all {
		pipe.Do(t.Context(), "XADD", l.stream, fmt.Sprintf("%d-1", i+1), "a", "b")
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.do("XGROUP", "SETID", l.stream, sub.Group, "$")
	w.reclaim(l, 0)
	var removed int64
	for calls := 0; ; calls++ {
		got, err := w.c.Trim(t.Context(), sub.Stream, []string{sub.Group}, time.Millisecond)
		if err != nil || got.Removed > maxTrim {
			t.Fatalf("%+v, %v", got, err)
		}
		removed += got.Removed
		if !got.More {
			if calls == 0 {
				t.Errorf("all in one call")
			}
			break
		}
	}
	if removed < all-200 {
		t.Errorf("%d of %d removed", removed, all)
	}
}

func TestReapRemovesOnlyDeadAndEmptyConsumers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		const own, dead, alive, busy = "a:000000000001", "b:000000000002", "c:000000000003", "d:000000000004"
		l := w.log(own, time.Minute)
		w.publish(1)
		for _, name := range []string{busy, own, dead, alive, "worker-1", parkedConsumer} {
			w.do("XGROUP", "CREATECONSUMER", l.stream, sub.Group, name)
			w.do("XREADGROUP", "GROUP", sub.Group, name, "COUNT", 1, "STREAMS", l.stream, ">")
		}
		w.do("SET", w.c.keys.Heartbeat(sub.Role, alive), "1")
		reap := func(idle time.Duration) int64 {
			n, err := w.c.Reap(w.Context(), sub, own, idle)
			if err != nil {
				w.Fatal(err)
			}
			return n
		}
		if n := reap(time.Hour); n != 0 {
			w.Errorf("%d removed that were not idle for long", n)
		}
		time.Sleep(20 * time.Millisecond)
		if n := reap(10 * time.Millisecond); n != 1 && w.srv != nil { // the embedded server does not tell who is idle
			w.Errorf("%d removed, want the dead one", n)
		}
		left := map[string]bool{}
		for _, c := range w.rdb.XInfoConsumers(w.Context(), l.stream, sub.Group).Val() {
			left[c.Name] = true
		}
		for _, name := range []string{own, alive, busy, "worker-1", parkedConsumer} {
			if !left[name] {
				w.Errorf("%s is gone", name)
			}
		}
		if left[dead] && w.srv != nil || w.pending() != 1 {
			w.Errorf("left are %v, with %d pending", left, w.pending())
		}
	})
}
