package stream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// quiet looks as the lookout does.
func (w *world) quiet(l *Log) bool {
	w.Helper()
	states, err := w.c.look(w.Context(), []*Log{l})
	if err != nil {
		w.Fatal(err)
	}
	return l.quiet(states[0])
}

// calmed scans until the group is quiet.
func (w *world) calmed(l *Log) {
	w.Helper()
	for range 3 {
		if w.quiet(l) {
			return
		}
		w.reclaim(l, 0)
	}
	w.Fatal("the group is not quiet after three scans, though nothing changes")
}

// wantStirred has whatever happened be a reason to look closer.
func (w *world) wantStirred(l *Log, after string) {
	w.Helper()
	if w.quiet(l) {
		w.Errorf("quiet after %s", after)
	}
}

func TestWhatGivesAReasonToLookCloser(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		a, b := w.log(me, time.Hour), w.log(peer, time.Hour)
		w.wantStirred(b, "the start")
		w.calmed(b)
		w.publish(2)
		if !w.quiet(b) {
			w.Error("a new message is for the reader, not for who takes over")
		}
		held := w.begun(a, 2)
		w.reclaim(b, 64)
		w.wantStirred(b, "a message was handed to another host, which may die")
		w.commit(a, done(held[0]))
		park := delivery.Rerun{Held: held[1], Attempt: 2, Delay: 2 * time.Second, Park: true}
		if _, err := a.Rerun(w.Context(), []delivery.Rerun{park}); err != nil {
			w.Fatal(err)
		}
		w.wantStirred(b, "the floor has risen")
		w.calmed(b)
		w.eventually("what is due stirs", func() bool { return !w.quiet(b) })
		w.reclaim(b, 0)
		w.wantStirred(b, "a scan without room for what is due")
		taken, _ := w.reclaim(b, 64)
		if len(taken) != 1 {
			w.Fatalf("taken over %+v, want what is due", taken)
		}
		w.commit(b, done(delivery.Held{ID: taken[0].ID, Grant: taken[0].Grant}))
		w.calmed(b)
		w.do("DEL", b.floor)
		w.wantStirred(b, "the loss of the floor")
		w.calmed(b)
		w.do("XGROUP", "DESTROY", b.stream, sub.Group)
		w.wantStirred(b, "the loss of the group")
	})
}

func TestAMessageThatIsParkedForLongStirsNobody(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Hour)
		w.publish(1)
		held := w.begun(l, 1)
		if _, err := l.Rerun(w.Context(), []delivery.Rerun{{Held: held[0], Attempt: 2, Delay: time.Hour, Park: true}}); err != nil {
			w.Fatal(err)
		}
		w.calmed(l)
	})
}

// A scan that could not write the floor, as when Redis was out of memory, is not
// the last one.
func TestALogIsNotTrustedForEver(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Hour)
		w.calmed(l)
		l.scannedAt = time.Now().Add(-trustFor)
		w.wantStirred(l, trustFor.String())
	})
}

// After an outage each log is told of it, and then that Redis answers again,
// though nothing has changed in its group.
func TestWhoAwaitsIsToldOfAnOutageAndOfItsEnd(t *testing.T) {
	t.Parallel()
	w := onReal(t, "--appendonly", "yes", "--appendfsync", "always")
	logs := []*Log{w.log(me, time.Hour), w.log(peer, time.Hour)}
	await := func(l *Log) error {
		ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
		defer cancel()
		return l.AwaitReclaim(ctx)
	}
	for _, l := range logs {
		if err := await(l); err != nil {
			t.Fatal(err)
		}
		w.calmed(l)
	}
	w.srv.Kill()
	for _, l := range logs {
		if err := await(l); !errors.Is(err, ErrUnavailable) {
			t.Errorf("without Redis: %v", err)
		}
	}
	w.srv.Restart()
	for _, l := range logs {
		w.eventually("it is told to look again", func() bool { return await(l) == nil })
		w.calmed(l)
	}
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Millisecond)
	defer cancel()
	if err := logs[0].AwaitReclaim(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that was cut short: %v", err)
	}
}
