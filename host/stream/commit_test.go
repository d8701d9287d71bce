package stream

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

func TestCommitWritesEverythingAtOnce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(1)
		h := w.begun(l, 1)[0]
		c := done(h)
		c.Adds = append(c.Adds, delivery.Add{Stream: "persist:tasks", Fields: []string{"type", "persist.write", "data", "\xff\x00\xfe"}})
		c.State = []delivery.StateWrite{{Key: "count", Set: []string{"n", "1"}}}
		c.Cache = []delivery.CacheWrite{{Key: "chunks:d1", Set: []string{"a", "b"}, TTL: time.Hour}}
		c.Audit = []delivery.Add{{Stream: "audit:events", Fields: []string{"type", "succeeded"}, MaxLen: 1000}}
		r := w.commit(l, c)[0]
		if r.Status != delivery.Committed || r.Entry == "" || r.Entry != w.results()[0].ID {
			t := w.results()
			w.Fatalf("answered %+v; results are %+v", r, t)
		}
		emitted, err := w.c.Range(w.Context(), "persist:tasks", "-", "+", 10)
		if err != nil || len(emitted) != 1 || !slices.Equal(emitted[0].Fields, c.Adds[1].Fields) {
			w.Errorf("emitted %v (%v), want %q", emitted, err, c.Adds[1].Fields)
		}
		if state := l.Load(w.Context(), delivery.Load{Key: "count"})[0]; state.Err != nil || state.Version != fmt.Sprint(h.Fence) || !slices.Equal(state.Fields, []string{"n", "1"}) {
			w.Errorf("state is %+v, want n=1 in version %d", state, h.Fence)
		}
		if cache := l.Load(w.Context(), delivery.Load{Key: "chunks:d1", Cache: true})[0]; !slices.Equal(cache.Fields, []string{"a", "b"}) {
			w.Errorf("cache is %+v", cache)
		}
		if ttl := w.rdb.PTTL(w.Context(), w.c.keys.Cache("rag", "chunks:d1")).Val(); ttl <= 0 || ttl > time.Hour {
			w.Errorf("the cache lives for %s, want an hour", ttl)
		}
		if n, _ := w.c.Len(w.Context(), "audit:events"); n != 1 {
			w.Errorf("%d audit events, want 1", n)
		}
		if w.pending() != 0 {
			w.Error("not acknowledged")
		}
		stats := w.rdb.HGetAll(w.Context(), w.c.keys.Stats("rag", time.Now())).Val()
		if stats["ok"] != "1" || stats["latency_count"] != "1" || stats["latency_us_sum"] != "3000" || stats["le_5"] != "1" {
			w.Errorf("the minute's counts are %v", stats)
		}
	})
}

func TestCommitRepeatedAfterALostReplyAnswersTheSame(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(3)
		var commits []delivery.Commit
		for _, h := range w.begun(l, 3) {
			commits = append(commits, done(h))
		}
		first := w.commit(l, commits...)
		again := w.commit(l, commits...)
		if !reflect.DeepEqual(first, again) {
			w.Errorf("first %+v, then %+v", first, again)
		}
		if n := len(w.results()); n != 3 {
			w.Errorf("%d results, want 3", n)
		}
		if n := w.rdb.HGet(w.Context(), w.c.keys.Stats("rag", time.Now()), "ok").Val(); n != "3" {
			w.Errorf("counted %s, want 3", n)
		}
	})
}

func TestAMessageTwiceInOneCommitHasOneResult(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(2)
		held := w.begun(l, 2)
		results := w.commit(l, done(held[0]), done(held[1]), done(held[0]))
		w.wantStatuses(results, delivery.Committed, delivery.Committed, delivery.Committed)
		if n := len(w.results()); n != 2 || !reflect.DeepEqual(results[0], results[2]) {
			w.Errorf("%d results, want 2; answers %+v", n, results)
		}
	})
}

// A message that cannot be written is refused with nothing of it applied, and
// the others of the batch go on.
func TestCommitRefusesOneMessageAlone(t *testing.T) {
	t.Parallel()
	bad := map[string]func(*delivery.Commit){
		"an emission to a key that is no stream": func(c *delivery.Commit) {
			c.Adds = append(c.Adds, delivery.Add{Stream: "a-string", Fields: []string{"a", "b"}})
		},
		"state in a key that is no hash": func(c *delivery.Commit) {
			c.State = []delivery.StateWrite{{Key: "a-string", Set: []string{"a", "b"}}}
		},
		"cache in a key that is no hash": func(c *delivery.Commit) {
			c.Cache = []delivery.CacheWrite{{Key: "a-string", Set: []string{"a", "b"}}}
		},
		"an entry of too many fields": func(c *delivery.Commit) {
			c.Adds = append(c.Adds, delivery.Add{Stream: "out", Fields: make([]string, maxFields+2)})
		},
		"an entry without fields":     func(c *delivery.Commit) { c.Adds = append(c.Adds, delivery.Add{Stream: "out"}) },
		"a field without a value":     func(c *delivery.Commit) { c.Adds[0].Fields = append(c.Adds[0].Fields, "x") },
		"the version written by hand": func(c *delivery.Commit) { c.State = []delivery.StateWrite{{Key: "k", Set: []string{"_v", "1"}}} },
		"a stream whose ids have run out": func(c *delivery.Commit) {
			c.Adds = append(c.Adds, delivery.Add{Stream: "full", Fields: []string{"a", "b"}})
		},
	}
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		for _, key := range []string{w.c.keys.Stream("a-string"), w.c.keys.State("rag", "a-string"), w.c.keys.Cache("rag", "a-string")} {
			w.do("SET", key, "x")
		}
		w.do("XADD", w.c.keys.Stream("full"), "18446744073709551615-18446744073709551615", "a", "b")
		want := 0
		for name, spoil := range bad {
			if w.srv == nil && strings.Contains(name, "run out") {
				continue // the embedded one goes on counting
			}
			w.publish(3)
			held := w.begun(l, 3)
			middle := done(held[1])
			middle.Audit = []delivery.Add{{Stream: "audit:events", Fields: []string{"type", "x"}}}
			spoil(&middle)
			results := w.commit(l, done(held[0]), middle, done(held[2]))
			w.wantStatuses(results, delivery.Committed, delivery.Refused, delivery.Committed)
			if reason := results[1].Reason; reason == "" || strings.Contains(name, "that is no") && !strings.Contains(reason, "a-string holds a string") {
				w.Errorf("%s: the reason is %q", name, reason)
			}
			if want += 2; len(w.results()) != want {
				w.Errorf("%s: %d results, want %d", name, len(w.results()), want)
			}
			if !strings.HasPrefix(w.lockValue(held[1].ID), "P|"+me) {
				w.Errorf("%s: the lock is %q, want it undecided", name, w.lockValue(held[1].ID))
			}
			if n := w.pending(); n != 1 {
				w.Errorf("%s: %d pending, want the refused one", name, n)
			}
			w.wantStatuses(w.commit(l, delivery.Commit{Held: held[1], Outcome: "error"}), delivery.Committed)
		}
		if n, _ := w.c.Len(w.Context(), "audit:events"); n != 0 {
			w.Errorf("%d audit events of what was refused", n)
		}
	})
}

func TestStateConflictInsideABatch(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(4)
		held := w.begun(l, 4)
		add := func(h delivery.Held, version, n string) delivery.Commit {
			c := done(h)
			c.State = []delivery.StateWrite{{Key: "k", Version: version, Set: []string{"n", n}}}
			return c
		}
		results := w.commit(l,
			add(held[0], "", "1"),
			add(held[1], "", "1"), // it read before the first was written
			add(held[2], fmt.Sprint(held[0].Fence), "2"))
		w.wantStatuses(results, delivery.Committed, delivery.Conflict, delivery.Committed)
		if n := len(w.results()); n != 2 {
			w.Errorf("%d results, want 2: a conflict writes nothing", n)
		}
		state := l.Load(w.Context(), delivery.Load{Key: "k", Fields: []string{"n", "absent"}})[0]
		if !slices.Equal(state.Fields, []string{"n", "2"}) || state.Version != fmt.Sprint(held[2].Fence) {
			w.Errorf("state is %+v", state)
		}
		remove := done(held[3])
		remove.State = []delivery.StateWrite{{Key: "k", Version: state.Version, Delete: true}}
		w.wantStatuses(w.commit(l, remove), delivery.Committed)
		if state = l.Load(w.Context(), delivery.Load{Key: "k"})[0]; state.Found || state.Version != "" {
			w.Errorf("after its removal the state is %+v", state)
		}
		w.wantStatuses(w.commit(l, add(held[1], "", "1")), delivery.Committed)
	})
}

func TestSeveralKeysAreLoadedTogether(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(1)
		c := done(w.begun(l, 1)[0])
		c.State = []delivery.StateWrite{{Key: "k", Set: []string{"a", "1", "b", "2"}}}
		w.wantStatuses(w.commit(l, c), delivery.Committed)
		w.rdb.Set(w.Context(), w.c.keys.State("rag", "text"), "no hash", 0)
		got := l.Load(w.Context(),
			delivery.Load{Request: 1, Key: "absent", Fields: []string{"a"}},
			delivery.Load{Request: 2, Key: "text", Fields: []string{"a"}},
			delivery.Load{Request: 3, Key: "k", Fields: []string{"b"}},
			delivery.Load{Request: 4, Key: "text"},
			delivery.Load{Request: 5, Key: "k"},
			delivery.Load{Request: 6, Key: "k", Cache: true})
		for i, want := range []string{"1 false []", "2 error", "3 true [b 2]", "4 error", "5 true [a 1 b 2]", "6 false []"} {
			said := fmt.Sprint(got[i].Request, got[i].Found, got[i].Fields)
			if got[i].Err != nil {
				said = fmt.Sprint(got[i].Request, " error")
			}
			if said != want {
				t.Errorf("load %d: %s (%v), want %s", i, said, got[i].Err, want)
			}
		}
	})
}

func TestStateFieldsAreRemovedAndLargeOnesWritten(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(2)
		held := w.begun(l, 2)
		var set, remove []string
		for i := range 3000 {
			set = append(set, fmt.Sprint("f", i), "v")
			if i > 0 {
				remove = append(remove, fmt.Sprint("f", i))
			}
		}
		first, second := done(held[0]), done(held[1])
		first.State = []delivery.StateWrite{{Key: "k", Set: set}}
		second.State = []delivery.StateWrite{{Key: "k", Version: fmt.Sprint(held[0].Fence), Remove: remove}}
		w.wantStatuses(w.commit(l, first), delivery.Committed)
		if n := len(l.Load(w.Context(), delivery.Load{Key: "k"})[0].Fields); n != 6000 {
			w.Errorf("%d names and values, want 6000", n)
		}
		w.wantStatuses(w.commit(l, second), delivery.Committed)
		if got := l.Load(w.Context(), delivery.Load{Key: "k"})[0].Fields; !slices.Equal(got, []string{"f0", "v"}) {
			w.Errorf("left are %q", got)
		}
	})
}

func TestLargeAndManyCommitsGoInBatches(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.publish(300)
		var commits []delivery.Commit
		for i, h := range w.begun(l, 300) {
			c := done(h)
			if i%10 == 0 {
				c.Adds[0].Fields = append(c.Adds[0].Fields, "data", strings.Repeat("x", 300<<10))
			}
			commits = append(commits, c)
		}
		for i, r := range w.commit(l, commits...) {
			if r.Status != delivery.Committed || r.ID != commits[i].ID {
				w.Fatalf("commit %d: %+v", i, r)
			}
		}
		if n := len(w.results()); n != 300 || w.pending() != 0 {
			w.Errorf("%d results, %d pending", n, w.pending())
		}
	})
}

func TestFieldsGoThroughByteForByte(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		fields := []string{"b", "\xff\xfe|\r\n\x00", "a", "", "b", "again", "", "no name", "data", strings.Repeat("\x80", 20<<20)}
		id, err := w.c.Publish(w.Context(), sub.Stream, fields)
		if err != nil {
			w.Fatal(err)
		}
		entry := w.read(l, 1)[0]
		if entry.ID != id || !slices.Equal(entry.Fields, fields) {
			w.Fatal("the entry read is not the one published")
		}
		c := done(w.begin(l, []delivery.Entry{entry})[0])
		c.Adds[0].Fields = entry.Fields
		w.wantStatuses(w.commit(l, c), delivery.Committed)
		if !slices.Equal(w.results()[0].Fields, fields) {
			w.Error("the result is not the one committed")
		}
	})
}

func TestOutOfMemoryIsRefusedBeforeTheFirstWrite(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	l := w.log(me, time.Minute)
	w.publish(3)
	held := w.begun(l, 2)
	w.do("CONFIG", "SET", "maxmemory", "1")
	commits := []delivery.Commit{done(held[0]), done(held[1])}
	if _, err := l.Commit(t.Context(), commits); !errors.Is(err, ErrOutOfMemory) {
		t.Fatalf("commit: %v, want ErrOutOfMemory", err)
	}
	commits[0].Adds = nil
	if _, err := l.Commit(t.Context(), commits); !errors.Is(err, ErrOutOfMemory) {
		t.Fatalf("commit without a result: %v, want ErrOutOfMemory", err)
	}
	if _, err := l.Begin(t.Context(), w.read(l, 1)); !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("begin: %v, want ErrOutOfMemory", err)
	}
	if leases, err := l.Renew(t.Context(), held); err != nil || leases[0].Status != delivery.Granted {
		t.Errorf("renew has to work when memory is out: %v %v", leases, err)
	}
	if n := len(w.results()); n != 0 {
		t.Errorf("%d results, want none", n)
	}
	w.do("CONFIG", "SET", "maxmemory", "0")
	w.wantStatuses(w.commit(l, commits...), delivery.Committed, delivery.Committed)
}

func TestAServerThatForgotTheScriptsIsGivenThem(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	l := w.log(me, time.Minute)
	w.publish(300)
	var commits []delivery.Commit
	for _, h := range w.begun(l, 300) {
		commits = append(commits, done(h))
	}
	w.do("SCRIPT", "FLUSH")
	for _, r := range w.commit(l, commits...) {
		if r.Status != delivery.Committed {
			t.Fatalf("%+v", r)
		}
	}
	w.do("SCRIPT", "FLUSH")
	if _, _, err := l.Reclaim(t.Context(), func(string) bool { return false }, 10); err != nil {
		t.Error(err)
	}
}

func TestOneForbiddenKeyRefusesOneMessage(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	w.do("ACL", "SETUSER", "host", "on", ">secret", "+@all", "%RW~test:rag:*", "%RW~test:ops:*", "%RW~test:audit:*")
	c, err := Open(Options{URL: "redis://host:secret@" + w.srv.Addr(), Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.c = c
	l := w.log(me, time.Minute)
	w.publish(3)
	held := w.begun(l, 3)
	middle := done(held[1])
	middle.Adds = append(middle.Adds, delivery.Add{Stream: "secret", Fields: []string{"a", "b"}})
	results := w.commit(l, done(held[0]), middle, done(held[2]))
	w.wantStatuses(results, delivery.Committed, delivery.Refused, delivery.Committed)
	if !strings.Contains(results[1].Reason, "NOPERM") {
		t.Errorf("the reason is %q", results[1].Reason)
	}
	if n := len(w.results()); n != 2 {
		t.Errorf("%d results, want 2", n)
	}
}

func TestDeadLettersThatTrimmingDropsAreCounted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		if w.srv != nil {
			w.do("CONFIG", "SET", "stream-node-max-entries", "4")
		}
		l := w.log(me, time.Minute)
		l.o.DLQ = "rag:dlq"
		told := l.observed()
		w.publish(40)
		var commits []delivery.Commit
		for _, h := range w.begun(l, 40) {
			c := done(h)
			c.Outcome = "error"
			c.Adds[0].MaxLen = 3 // what falls off the results is nobody's loss
			c.Adds = append(c.Adds, delivery.Add{Stream: "rag:dlq", MaxLen: 10, Fields: []string{"dlqid", h.ID}})
			commits = append(commits, c)
		}
		w.commit(l, commits[:25]...)
		w.commit(l, commits[25:]...)
		w.commit(l, commits...) // repeated, it drops nothing more
		left, err := w.c.Range(w.Context(), "rag:dlq", "-", "+", 1000)
		if err != nil {
			w.Fatal(err)
		}
		if want := int64(40 - len(left)); want == 0 || told.trimmed != want || told.oldest != left[0].ID {
			w.Errorf("told that %d are gone and %s is the oldest, want %d and %s", told.trimmed, told.oldest, want, left[0].ID)
		}
		now, before := w.c.keys.Stats("rag", time.Now()), w.c.keys.Stats("rag", time.Now().Add(-time.Minute))
		counted, _ := w.rdb.HGet(w.Context(), now, "trimmed").Int64()
		earlier, _ := w.rdb.HGet(w.Context(), before, "trimmed").Int64()
		if counted+earlier != told.trimmed {
			w.Errorf("the minute counts %d, want %d", counted+earlier, told.trimmed)
		}
	})
}
