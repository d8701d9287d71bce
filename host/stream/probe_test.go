package stream

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

func testTopology(t *testing.T) *topology.Topology {
	t.Helper()
	topo, err := topology.New([]topology.Role{topology.Default("rag")}, "web:answers")
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

// as gives a client of a user with these rules.
func (w *world) as(rules ...any) *Client {
	w.Helper()
	w.do(append([]any{"ACL", "SETUSER", "bob", "reset", "on", ">secret"}, rules...)...)
	c, err := Open(Options{URL: "redis://bob:secret@" + w.srv.Addr(), Namespace: "test"})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = c.Close() })
	return c
}

func TestProbeNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	topo := testTopology(t)
	for _, test := range []struct {
		rules    []any
		commands []string
		keys     []string
	}{
		{rules: []any{"~test:*", "&*", "+@all"}},
		{rules: []any{"~test:*", "+@all", "-@admin", "-@dangerous", "+info", "-acl"}},
		{rules: []any{"~test:*", "+@all", "-xadd", "-acl"}, commands: []string{"XADD"}},
		{rules: []any{"~test:*", "+@all", "-xgroup|create", "-zrem", "-multi"}, commands: []string{"MULTI", "EXEC", "PING", "XGROUP CREATE", "ZREM"}},
		{rules: []any{"~test:*", "+@all", "-eval", "-evalsha"}, commands: []string{"EVALSHA", "EVAL"}},
		{rules: []any{"~test:ops:*", "~test:rag:*", "~test:audit:*", "~test:web:*", "~test:cache:*", "+@all"}, keys: []string{"test:state:rag:*"}},
		{rules: []any{"~test:ops:*", "~test:rag:*", "~test:audit:*", "~test:web:*", "~test:state:*", "%R~test:cache:*", "+@all"}, keys: []string{"test:cache:rag:*"}},
	} {
		err := w.as(test.rules...).Probe(t.Context(), topo)
		missing := &PermissionError{}
		if len(test.commands)+len(test.keys) == 0 {
			if err != nil {
				t.Errorf("%v: %v", test.rules, err)
			}
			continue
		}
		if !errors.As(err, &missing) || !errors.Is(err, ErrConfig) {
			t.Errorf("%v: %v, want a PermissionError", test.rules, err)
			continue
		}
		if !slices.Equal(missing.Commands, test.commands) || !slices.Equal(missing.Keys, test.keys) {
			t.Errorf("%v: missing are %v and %v, want %v and %v", test.rules, missing.Commands, missing.Keys, test.commands, test.keys)
		}
		for _, part := range append(append([]string{`"bob"`}, test.commands...), test.keys...) {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%v: %q is not in: %v", test.rules, part, err)
			}
		}
	}
}

// What a probe asks for is enough: a user with no more than the error asks for
// can do all that a log does.
func TestProbeAsksForEnough(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	topo := testTopology(t)
	rules := []any{"-@all"}
	for round := 0; ; round++ {
		err := w.as(rules...).Probe(t.Context(), topo)
		if err == nil {
			break
		}
		if missing := (&PermissionError{}); !errors.As(err, &missing) || round > 20 {
			t.Fatalf("round %d: %v", round, err)
		}
		_, grant, _ := strings.Cut(err.Error(), "ACL SETUSER ")
		for _, rule := range strings.Fields(grant)[1:] {
			rules = append(rules, rule)
		}
	}
	w.c = w.as(rules...)
	l := w.log(me, short)
	w.publish(4)
	held := w.begun(l, 3)
	full := done(held[0])
	full.Adds = append(full.Adds, delivery.Add{Stream: "rag:dlq", MaxLen: 5, Fields: []string{"a", "b"}},
		delivery.Add{Stream: "web:answers", Fields: []string{"a", "b"}, NotBefore: time.Now().Add(time.Millisecond)})
	full.State = []delivery.StateWrite{{Key: "k", Set: []string{"a", "b"}}}
	full.Cache = []delivery.CacheWrite{{Key: "k", Set: []string{"a", "b"}, TTL: time.Minute}}
	full.Audit = []delivery.Add{{Stream: "audit:events", MaxLen: 5, Fields: []string{"a", "b"}}}
	w.wantStatuses(w.commit(l, full), delivery.Committed)
	if n, _ := w.c.Len(t.Context(), "audit:events"); n != 1 {
		t.Error("the audit entry is missing")
	}
	if got := l.Load(t.Context(), delivery.Load{Key: "k"}, delivery.Load{Key: "k", Fields: []string{"a"}}); got[0].Err != nil || got[1].Err != nil {
		t.Error(got)
	}
	if _, err := l.Rerun(t.Context(), []delivery.Rerun{{Held: held[1], Attempt: 2, Park: true, Delay: time.Millisecond}}); err != nil {
		t.Error(err)
	}
	if err := l.HandBack(t.Context(), held[2:]); err != nil {
		t.Error(err)
	}
	w.eventually("all is taken over", func() bool { taken, _ := w.reclaim(l, 8); return len(taken) > 0 })
	if _, err := w.c.Trim(t.Context(), sub.Stream, []string{sub.Group}, time.Hour); err != nil {
		t.Error(err)
	}
	if _, err := w.c.Reap(t.Context(), sub, me, time.Hour); err != nil {
		t.Error(err)
	}
	if p, err := w.c.Promote(t.Context(), topo.Targets()); err != nil || len(p.Stuck) > 0 {
		t.Error(p, err)
	}
	if err := w.c.EnsureOwner(t.Context(), sub); err != nil {
		t.Error(err)
	}
}

// Probing changes nothing, be the keys there or not.
func TestProbeChangesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		topo := testTopology(w.T)
		look := func() (all []string) {
			for _, key := range w.rdb.Keys(w.Context(), "*").Val() {
				v := fmt.Sprint(w.rdb.TTL(w.Context(), key).Val() > 0)
				switch kind := w.rdb.Type(w.Context(), key).Val(); kind {
				case "string":
					v += w.rdb.Get(w.Context(), key).Val()
				case "zset":
					v += fmt.Sprint(w.rdb.ZRangeWithScores(w.Context(), key, 0, -1).Val())
				case "hash":
					v += fmt.Sprint(w.rdb.HGetAll(w.Context(), key).Val())
				case "stream":
					groups := w.rdb.XInfoGroups(w.Context(), key).Val()
					for i := range groups {
						groups[i].Lag, groups[i].EntriesRead = 0, 0
					}
					v += fmt.Sprint(w.rdb.XRange(w.Context(), key, "-", "+").Val(), groups)
				}
				all = append(all, key+"="+v)
			}
			slices.Sort(all)
			return all
		}
		probe := func(what string) {
			before := look()
			if err := w.c.Probe(w.Context(), topo); err != nil {
				w.Error(err)
			}
			if after := look(); !slices.Equal(before, after) {
				w.Errorf("%s: before\n%v\nafter\n%v", what, before, after)
			}
		}
		probe("an empty server")
		l := w.log(me, time.Hour)
		w.publish(4)
		held := w.begun(l, 3)
		c := done(held[0])
		c.Adds = append(c.Adds, delivery.Add{Stream: "rag:dlq", Fields: []string{"a", "b"}},
			delivery.Add{Stream: "rag:tasks", Fields: []string{"a", "b"}, NotBefore: time.Now().Add(time.Hour)})
		c.State = []delivery.StateWrite{{Key: "k", Set: []string{"a", "b"}}}
		w.commit(l, c)
		if _, err := l.Rerun(w.Context(), []delivery.Rerun{{Held: held[1], Park: true, Delay: time.Hour}}); err != nil {
			w.Fatal(err)
		}
		w.reclaim(l, 0)
		if err := w.c.EnsureOwner(w.Context(), sub); err != nil {
			w.Fatal(err)
		}
		probe("a server at work")
	})
}
