package stream

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// together is one commit of all the messages, with a result for each and a
// state write.
func together(held []delivery.Held) delivery.Commit {
	c := done(held[0])
	c.State = []delivery.StateWrite{{Key: "run", Set: []string{"n", fmt.Sprint(len(held))}}}
	for _, h := range held[1:] {
		one := done(h)
		c.Also = append(c.Also, delivery.Member{Held: h, Outcome: one.Outcome, Adds: one.Adds, Latency: one.Latency})
	}
	return c
}

// nothing checks that of the messages nothing was written.
func (w *world) nothing(l *Log, held []delivery.Held, what string) {
	w.Helper()
	if n := len(w.results()); n != 0 {
		w.Errorf("%s: %d results, want none", what, n)
	}
	if state := l.Load(w.Context(), delivery.Load{Key: "run"})[0]; state.Found {
		w.Errorf("%s: state %+v, want none", what, state)
	}
	for _, h := range held {
		if v := w.lockValue(h.ID); strings.HasPrefix(v, "D|"+me) {
			w.Errorf("%s: %s is decided: %s", what, h.ID, v)
		}
	}
}

func TestSeveralMessagesAreCommittedTogether(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(5)
		held := w.begun(l, 5)
		commits := []delivery.Commit{done(held[0]), together(held[1:4]), done(held[4])}
		commits[1].Also[1].Audit = []delivery.Add{{Stream: "audit:events", Fields: []string{"type", "succeeded"}}}
		first := w.commit(l, commits...)
		w.wantStatuses(first, delivery.Committed, delivery.Committed, delivery.Committed)
		var order []string
		for _, e := range w.results() {
			order = append(order, e.Fields[1])
		}
		if want := []string{held[0].ID, held[1].ID, held[2].ID, held[3].ID, held[4].ID}; !slices.Equal(order, want) {
			w.Errorf("results of %v, want %v", order, want)
		}
		if state := l.Load(w.Context(), delivery.Load{Key: "run"})[0]; !slices.Equal(state.Fields, []string{"n", "3"}) || state.Version != fmt.Sprint(held[1].Fence) {
			w.Errorf("state is %+v, want n=3 under the first's fence %d", state, held[1].Fence)
		}
		if again := w.commit(l, commits...); !reflect.DeepEqual(first, again) {
			w.Errorf("repeated: %+v, at first %+v", again, first)
		}
		stats := w.rdb.HGetAll(w.Context(), w.c.keys.Stats("rag", time.Now())).Val()
		if n, _ := w.c.Len(w.Context(), "audit:events"); w.pending() != 0 || len(w.results()) != 5 || stats["ok"] != "5" || n != 1 {
			w.Errorf("%d pending, %d results, counts %v, %d audit events", w.pending(), len(w.results()), stats, n)
		}
	})
}

func TestOfSeveralMessagesAllOrNoneAreCommitted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l, other := w.log(me, time.Minute), w.log(peer, time.Minute)
		w.publish(3)
		held := w.begun(l, 3)
		w.do("SET", w.c.keys.Stream("a-string"), "x")

		refused := together(held)
		refused.Also[1].Adds = append(refused.Also[1].Adds, delivery.Add{Stream: "a-string", Fields: []string{"a", "b"}})
		r := w.commit(l, refused)
		w.wantStatuses(r, delivery.Refused)
		w.nothing(l, held, "a target that is no stream")
		if !strings.Contains(r[0].Reason, "a-string holds a string") {
			w.Errorf("the reason is %q", r[0].Reason)
		}
		if w.srv != nil {
			w.do("XADD", w.c.keys.Stream("full"), "18446744073709551615-18446744073709551615", "a", "b")
			refused.Also[1].Adds[1] = delivery.Add{Stream: "full", Fields: []string{"a", "b"}}
			w.wantStatuses(w.commit(l, refused), delivery.Refused)
			w.nothing(l, held, "a target that is full")
		}
		conflict := together(held)
		conflict.State[0].Version = "7"
		w.wantStatuses(w.commit(l, conflict), delivery.Conflict)
		w.nothing(l, held, "a conflict")

		// The last one goes to another host: whose are the others, the answer says.
		if err := l.HandBack(w.Context(), held[2:]); err != nil {
			w.Fatal(err)
		}
		if taken, _ := w.reclaim(other, 1); len(taken) != 1 || taken[0].ID != held[2].ID {
			w.Fatalf("taken %+v, want %s", taken, held[2].ID)
		}
		r = w.commit(l, together(held))
		w.wantStatuses(r, delivery.CommitLost)
		if !slices.Equal(r[0].Lost, []string{held[2].ID}) {
			w.Errorf("lost are %v, want %s", r[0].Lost, held[2].ID)
		}
		w.nothing(l, held, "a member of another host's")
		w.wantStatuses(w.commit(l, together(held[:2])), delivery.Committed)
		if n := len(w.results()); n != 2 || w.pending() != 1 {
			w.Errorf("%d results and %d pending, want 2 and the other host's", n, w.pending())
		}
	})
}

func TestWhatIsCommittedTogetherStaysInOneScript(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(400)
		held := w.begun(l, 400)
		var commits []delivery.Commit
		for part := range slices.Chunk(held, 100) {
			commits = append(commits, together(part))
			commits[len(commits)-1].State = nil
		}
		commits[3].Also[98].Adds[0].Stream = "a-string" // one refused whole, the others not
		w.do("SET", w.c.keys.Stream("a-string"), "x")
		w.wantStatuses(w.commit(l, commits...), delivery.Committed, delivery.Committed, delivery.Committed, delivery.Refused)
		if n := len(w.results()); n != 300 || w.pending() != 100 {
			w.Errorf("%d results, %d pending", n, w.pending())
		}
	})
}

func TestAStateKeyWithoutFieldsIsGone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(4)
		held := w.begun(l, 4)
		write := func(i int, s delivery.StateWrite) delivery.Loaded {
			c := done(held[i])
			s.Key = "k"
			c.State = []delivery.StateWrite{s}
			w.wantStatuses(w.commit(l, c), delivery.Committed)
			return l.Load(w.Context(), delivery.Load{Key: "k"})[0]
		}
		was := write(0, delivery.StateWrite{Set: []string{"a", "1", "b", "2"}})
		was = write(1, delivery.StateWrite{Version: was.Version, Delete: true, Set: []string{"c", "3"}})
		if !slices.Equal(was.Fields, []string{"c", "3"}) || was.Version != fmt.Sprint(held[1].Fence) {
			w.Errorf("after its removal and a new field the key is %+v", was)
		}
		if was = write(2, delivery.StateWrite{Version: was.Version, Remove: []string{"c", "absent"}}); was.Found || was.Version != "" {
			w.Errorf("after the removal of its last field the key is %+v", was)
		}
		if was = write(3, delivery.StateWrite{Set: []string{"a", "1"}}); !was.Found {
			w.Error("a key that is gone cannot be made again")
		}
	})
}
