package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

func none(string) bool { return false }

// A read whose answer is lost leaves entries that only Reconcile finds.
func TestReconcileFindsALostRead(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	l := w.log(me, time.Minute)
	ids := w.publish(2)
	w.read(l, 2)
	// Handed to our name with no answer to us: what a cut connection leaves.
	lost := w.publish(3)
	w.do("XREADGROUP", "GROUP", sub.Group, me, "STREAMS", l.stream, ">")
	found, err := l.Reconcile(t.Context(), func(id string) bool { return slices.Contains(ids, id) })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range found {
		got = append(got, e.ID)
	}
	if !slices.Equal(got, lost) || len(found[0].Fields) != 4 {
		t.Errorf("found %v, want %v", found, lost)
	}
	w.begin(l, found)
}

func TestAConnectionKilledWhileReading(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	l := w.log(me, time.Minute)
	failed := make(chan error, 1)
	go func() {
		_, err := l.Read(t.Context(), 10)
		failed <- err
	}()
	w.eventually("the reader's connection is known", func() bool { return l.connID.Load() != 0 })
	w.eventually("it is killed", func() bool {
		return w.rdb.ClientKillByFilter(t.Context(), "ID", fmt.Sprint(l.connID.Load())).Val() == 1
	})
	if err := <-failed; !errors.Is(err, ErrUnavailable) {
		t.Fatalf("the read says %v, want ErrUnavailable", err)
	}
	ids := w.publish(2)
	found, err := l.Reconcile(t.Context(), none)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 { // the connection was cut before anything was handed out
		found = w.read(l, 2)
	}
	if len(found) != 2 || found[0].ID != ids[0] {
		t.Errorf("got %v, want %v", found, ids)
	}
}

func TestUnblockEndsARead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		l.block.Store(int64(maxBlock))
		if w.srv == nil {
			l.block.Store(int64(shortBlock))
		}
		for range 20 {
			ended := make(chan error, 1)
			start := time.Now()
			go func() {
				entries, err := l.Read(w.Context(), 10)
				if len(entries) > 0 {
					err = fmt.Errorf("read %v", entries)
				}
				ended <- err
			}()
			l.Unblock()
			if err := <-ended; err != nil {
				w.Fatal(err)
			}
			if took := time.Since(start); took > maxBlock-time.Second {
				w.Fatalf("the read ended after %s", took)
			}
		}
		w.publish(1)
		l.asked.Store(false)
		w.read(l, 1)
	})
}

func TestACancelledContextEndsARead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		ctx, cancel := context.WithCancel(w.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		start := time.Now()
		if _, err := l.Read(ctx, 10); err != nil && !errors.Is(err, context.Canceled) {
			w.Error(err)
		}
		if took := time.Since(start); took > maxBlock-time.Second {
			w.Errorf("it ended after %s", took)
		}
		if _, err := l.Read(ctx, 10); !errors.Is(err, context.Canceled) {
			w.Errorf("with a context that has ended: %v", err)
		}
	})
}

func TestAReadMakesALostGroupAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		w.do("XGROUP", "DESTROY", l.stream, sub.Group)
		if _, err := l.Read(w.Context(), 1); !errors.Is(err, ErrNoGroup) {
			w.Fatalf("read: %v, want ErrNoGroup", err)
		}
		w.publish(1)
		w.read(l, 1)
	})
}

func TestAServerThatIsAwayAndComesBack(t *testing.T) {
	t.Parallel()
	w := onReal(t, "--appendonly", "yes", "--appendfsync", "always")
	l := w.log(me, time.Hour)
	w.publish(2)
	held := w.begun(l, 2)
	w.srv.Kill()
	_, err := l.Commit(t.Context(), []delivery.Commit{done(held[0])})
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "rag:tasks") {
		t.Errorf("commit: %v, want ErrUnavailable that names the stream", err)
	}
	if _, err := l.Read(t.Context(), 1); !errors.Is(err, ErrUnavailable) {
		t.Errorf("read: %v, want ErrUnavailable", err)
	}
	if _, err := w.c.Publish(t.Context(), sub.Stream, []string{"a", "b"}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("publish: %v, want ErrUnavailable", err)
	}
	if !l.gentle() {
		t.Error("after a break others' leases have to be left for a lease")
	}
	w.srv.Restart()
	w.wantStatuses(w.commit(l, done(held[0]), done(held[1])), delivery.Committed, delivery.Committed)
}

func TestAWrongPasswordIsConfigurationAndNotShown(t *testing.T) {
	t.Parallel()
	w := onReal(t, "--requirepass", "right-one")
	c, err := Open(Options{URL: "redis://:hunter2@" + w.srv.Addr(), Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()); !errors.Is(err, ErrConfig) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("ping: %v", err)
	}
	if strings.Contains(c.String(), "hunter2") {
		t.Errorf("shown as %s", c)
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	w := onReal(t, "--maxmemory-policy", "volatile-lru")
	info, err := w.c.Info(t.Context())
	if err != nil || info.Version == "" || info.MaxMemoryPolicy != "volatile-lru" || info.Cluster || len(info.Warnings) != 1 {
		t.Errorf("info is %+v, %v", info, err)
	}
	onBoth(t, func(w *world) {
		if info, err := w.c.Info(w.Context()); err != nil || len(info.Warnings) != 0 {
			w.Errorf("info is %+v, %v", info, err)
		}
	})
}

func TestAnAnswerIsAwaited(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		watch, err := w.c.WatchAnswers(w.Context(), sub, "rag:dlq")
		if err != nil {
			w.Fatal(err)
		}
		ids := w.publish(2)
		held := w.begun(l, 2)
		dead := done(held[1])
		dead.Adds = append(dead.Adds, delivery.Add{Stream: "rag:dlq", Fields: []string{"dlqid", "from the message", "dlqstream", sub.Stream, "dlqid", ids[1]}})
		w.commit(l, done(held[0]), dead)
		answer, err := watch.Await(w.Context(), sub, "rag:dlq", ids[0])
		if err != nil || answer.Dead || field(answer.Entry, "entryid") != ids[0] {
			w.Errorf("answer is %+v, %v", answer, err)
		}
		again, err := w.c.WatchAnswers(w.Context(), topology.Subscription{Stream: sub.Stream, Results: sub.Results}, "rag:dlq")
		if err != nil {
			w.Fatal(err)
		}
		again.last = []string{"0-0", "0-0"}
		if answer, err = again.Await(w.Context(), sub, "rag:dlq", ids[1]); err != nil || !answer.Dead {
			w.Errorf("answer is %+v, %v; want the dead letter", answer, err)
		}
		ctx, cancel := context.WithTimeout(w.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := watch.Await(ctx, sub, "rag:dlq", "9-9"); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("with nothing to come: %v", err)
		}
	})
}

func TestTail(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		ids := w.publish(250)
		var got []string
		collect := func(e delivery.Entry) error { got = append(got, e.ID); return nil }
		if err := w.c.Tail(w.Context(), sub.Stream, "0", false, collect); err != nil || !slices.Equal(got, ids) {
			w.Errorf("%d entries (%v), want %d", len(got), err, len(ids))
		}
		ctx, cancel := context.WithCancel(w.Context())
		got = nil
		late := make(chan string, 1)
		err := w.c.Tail(ctx, sub.Stream, ids[248], true, func(e delivery.Entry) error {
			if got = append(got, e.ID); len(got) == 1 {
				late <- w.publish(1)[0]
			} else {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || !slices.Equal(got, []string{ids[249], <-late}) {
			w.Errorf("followed %v, %v", got, err)
		}
	})
}

func TestGroupStatus(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		if s, err := w.c.GroupStatus(w.Context(), sub.Stream, sub.Group); err != nil || s.Exists {
			w.Errorf("of a stream that is not there: %+v, %v", s, err)
		}
		l := w.log(me, time.Minute)
		w.publish(5)
		held := w.begun(l, 3)
		if _, err := l.Rerun(w.Context(), []delivery.Rerun{{Held: held[0], Park: true, Delay: time.Hour, Attempt: 1}}); err != nil {
			w.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
		s, err := w.c.GroupStatus(w.Context(), sub.Stream, sub.Group)
		if err != nil || !s.Exists || s.Pending != 2 || s.Parked != 1 || s.OldestPendingAge <= 0 || s.OldestUndeliveredAge <= 0 {
			w.Errorf("%+v, %v", s, err)
		}
		if w.srv != nil && (s.Lag == nil || *s.Lag != 2) {
			w.Errorf("lag is %v, want 2", s.Lag)
		}
		w.read(l, 2)
		if s, _ = w.c.GroupStatus(w.Context(), sub.Stream, sub.Group); s.Lag == nil || *s.Lag != 0 || s.OldestUndeliveredAge != 0 {
			w.Errorf("with all handed out: %+v", s)
		}
	})
}
