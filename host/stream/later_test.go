package stream

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
)

// promoted looks once at the streams.
func (w *world) promoted(streams ...string) Promoted {
	w.Helper()
	p, err := w.c.Promote(w.Context(), streams)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

// entriesOf gives what the entries of a stream hold, in order.
func (w *world) entriesOf(stream string) (all [][]string) {
	w.Helper()
	entries, err := w.c.Range(w.Context(), stream, "-", "+", 1<<20)
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Fields)
	}
	return all
}

// emitting is a commit with entries for later, due at these times.
func emitting(h delivery.Held, stream string, due ...time.Time) delivery.Commit {
	c := done(h)
	for i, at := range due {
		c.Adds = append(c.Adds, delivery.Add{Stream: stream, Fields: []string{"n", fmt.Sprint(i), "data", "\xff\n\x00"}, NotBefore: at})
	}
	return c
}

func TestAnEntryForLaterAppearsWhenItIsDue(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(1)
		now := time.Now()
		soon := now.Add(1500 * time.Millisecond)
		c := emitting(w.begun(l, 1)[0], "next:tasks", soon, now.Add(time.Hour), now.Add(-time.Hour), time.Time{})
		first := w.commit(l, c)
		w.wantStatuses(first, delivery.Committed)
		if again := w.commit(l, c); again[0].Entry != first[0].Entry || again[0].Status != delivery.Committed {
			w.Errorf("repeated: %+v, at first %+v", again, first)
		}
		if got := w.entriesOf("next:tasks"); len(got) != 2 || got[0][1] != "2" || got[1][1] != "3" {
			w.Errorf("at once there are %q, want those of the past and of no time", got)
		}
		if p := w.promoted("next:tasks"); p.Added != 0 || len(p.Stuck) != 0 {
			w.Errorf("before it is due: %+v", p)
		}
		w.eventually("the entry is added", func() bool { return w.promoted("other:tasks", "next:tasks").Added == 1 })
		if time.Now().Before(soon) {
			w.Error("added before it was due")
		}
		got := w.entriesOf("next:tasks")
		if want := []string{"n", "0", "data", "\xff\n\x00"}; len(got) != 3 || !slices.Equal(got[2], want) {
			w.Errorf("entries %q, want %q added", got, want)
		}
		if n := w.rdb.ZCard(w.Context(), w.c.keys.Later("next:tasks")).Val(); n != 1 {
			w.Errorf("%d are kept, want the one of the next hour", n)
		}
	})
}

func TestADueTimeIsRoundedUp(t *testing.T) {
	whole := time.UnixMilli(1_700_000_000_000)
	for late, want := range map[time.Duration]int64{0: 0, 1: 1, time.Millisecond - 1: 1, time.Millisecond: 1} {
		if got := dueMillis(whole.Add(late)) - whole.UnixMilli(); got != want {
			t.Errorf("%v after a millisecond: %d, want %d", late, got, want)
		}
	}
}

func TestEntriesForLaterAreAddedInTheOrderOfTheirTimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		now := time.Now()
		for i := range 600 { // more than one look takes
			at := now.Add(-time.Duration((i*7)%600) * time.Second)
			if err := w.c.PublishAt(w.Context(), "a:tasks", []string{"at", fmt.Sprintf("%013d", at.UnixMilli()), "empty", ""}, at); err != nil {
				w.Fatal(err)
			}
		}
		looks := 1
		for ; w.promoted("a:tasks").More; looks++ {
		}
		var order []string
		for _, e := range w.entriesOf("a:tasks") {
			order = append(order, e[1])
		}
		if len(order) != 600 || !slices.IsSorted(order) || looks < 3 {
			w.Errorf("%d entries in %d looks, sorted: %v", len(order), looks, slices.IsSorted(order))
		}
	})
}

func TestManyHostsAddAnEntryForLaterOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		const n = 2000
		for i := range n {
			if err := w.c.PublishAt(w.Context(), fmt.Sprintf("s%d:tasks", i%3), []string{"n", fmt.Sprint(i)}, time.Now()); err != nil {
				w.Fatal(err)
			}
		}
		var added atomic.Int64
		var hosts sync.WaitGroup
		for range 4 {
			hosts.Go(func() {
				for deadline := time.Now().Add(20 * time.Second); added.Load() < n && time.Now().Before(deadline); {
					p, err := w.c.Promote(w.Context(), []string{"s0:tasks", "s1:tasks", "s2:tasks"})
					if err != nil {
						w.Error(err)
						return
					}
					added.Add(int64(p.Added))
				}
			})
		}
		hosts.Wait()
		seen := map[string]bool{}
		total := 0
		for i := range 3 {
			for _, e := range w.entriesOf(fmt.Sprintf("s%d:tasks", i)) {
				seen[e[1]], total = true, total+1
			}
		}
		if added.Load() != n || total != n || len(seen) != n {
			w.Errorf("%d added, %d entries, %d distinct; want %d", added.Load(), total, len(seen), n)
		}
	})
}

// What a commit has kept, and an entry that has been added, outlive a Redis that
// dies right after.
func TestEntriesForLaterOutliveRedis(t *testing.T) {
	t.Parallel()
	w := onReal(t, hosttest.AppendOnly...)
	l := w.log(me, time.Minute)
	w.publish(1)
	due := time.Now().Add(2 * time.Second)
	w.wantStatuses(w.commit(l, emitting(w.begun(l, 1)[0], "next:tasks", due, due.Add(time.Millisecond))), delivery.Committed)
	restart := func() {
		w.srv.Kill()
		w.srv.Restart()
	}
	restart()
	added := 0
	w.eventually("both are added", func() bool {
		p, err := w.c.Promote(w.Context(), []string{"next:tasks"})
		if err == nil {
			added += p.Added
		}
		return added == 2
	})
	restart()
	w.eventually("another look works", func() bool {
		p, err := w.c.Promote(w.Context(), []string{"next:tasks"})
		return err == nil && p.Added == 0
	})
	if got := w.entriesOf("next:tasks"); len(got) != 2 || got[0][1] != "0" {
		w.Errorf("entries %q, want two, in order", got)
	}
}

func TestAStreamThatCannotTakeItsEntriesKeepsThem(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		for _, s := range []string{"a:tasks", "broken", "b:tasks"} {
			if err := w.c.PublishAt(w.Context(), s, []string{"a", "b"}, time.Now().Add(-time.Second)); err != nil {
				w.Fatal(err)
			}
		}
		w.do("SET", w.c.keys.Stream("broken"), "x")
		p := w.promoted("a:tasks", "broken", "b:tasks")
		if p.Added != 2 || len(p.Stuck) != 1 || !strings.Contains(p.Stuck["broken"], "WRONGTYPE") {
			w.Errorf("%+v, want broken to be stuck and two added", p)
		}
		w.do("DEL", w.c.keys.Stream("broken"))
		if p := w.promoted("a:tasks", "broken", "b:tasks"); p.Added != 1 || len(p.Stuck) != 0 {
			w.Errorf("after it was mended: %+v", p)
		}
		// A commit that could never be added later is refused now.
		l := w.log(me, time.Minute)
		w.publish(2)
		held := w.begun(l, 2)
		w.do("SET", w.c.keys.Stream("broken"), "x")
		w.do("SET", w.c.keys.Later("c:tasks"), "x")
		later := time.Now().Add(time.Hour)
		w.wantStatuses(w.commit(l, emitting(held[0], "broken", later), emitting(held[1], "c:tasks", later)), delivery.Refused, delivery.Refused)
		if n := len(w.results()); n != 0 {
			w.Errorf("%d results of what was refused", n)
		}
	})
}

// What is kept for later is taken back with the rest when a commit is refused
// half-way.
func TestARefusedCommitKeepsNothingForLater(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	l := w.log(me, time.Minute)
	w.publish(2)
	held := w.begun(l, 2)
	w.do("XADD", w.c.keys.Stream("full"), "18446744073709551615-18446744073709551615", "a", "b")
	c := emitting(held[0], "next:tasks", time.Now().Add(time.Hour))
	c.Adds = append(c.Adds, delivery.Add{Stream: "full", Fields: []string{"a", "b"}})
	both := c
	both.Also = []delivery.Member{{Held: held[1], Outcome: "ok", Adds: c.Adds}}
	w.wantStatuses(w.commit(l, c), delivery.Refused)
	w.wantStatuses(w.commit(l, both), delivery.Refused)
	if n := w.rdb.Exists(w.Context(), w.c.keys.Later("next:tasks")).Val(); n != 0 || len(w.results()) != 0 {
		w.Errorf("%d results, kept for later: %d", len(w.results()), n)
	}
}

func TestPromoteLeavesAloneWhatWeMayNotWrite(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	for _, s := range []string{"mine", "theirs"} {
		if err := w.c.PublishAt(w.Context(), s, []string{"a", "b"}, time.Now()); err != nil {
			w.Fatal(err)
		}
	}
	w.do("ACL", "SETUSER", "limited", "on", ">secret", "+@all", "~test:mine", "~test:ops:later:mine")
	c, err := Open(Options{URL: strings.Replace(w.srv.URL(), "redis://", "redis://limited:secret@", 1), Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	p, err := c.Promote(t.Context(), []string{"mine", "theirs"})
	if err != nil || p.Added != 1 || len(p.Stuck) != 1 || !strings.Contains(p.Stuck["theirs"], "NOPERM") {
		t.Errorf("%+v, %v; want one added, and the other's stream named", p, err)
	}
}
