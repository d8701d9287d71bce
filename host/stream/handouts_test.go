package stream

import (
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// Handed out once more counts only what an owner has let lapse: it may have died
// of the message.
func TestOnlyALostOwnerCountsAsHandedOutAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		w.publish(1)
		a := w.log(me, short)
		grant := w.begun(a, 1)[0]
		take := func(by *Log, what string) (taken delivery.Reclaimed) {
			w.eventually(what+" is taken over", func() bool {
				all, _ := w.reclaim(by, 64)
				if len(all) > 0 {
					taken = all[0]
				}
				return len(all) > 0
			})
			return taken
		}
		rerun := func(l *Log, held delivery.Held) {
			if _, err := l.Rerun(w.Context(), []delivery.Rerun{{Held: held, Attempt: 1, Delay: time.Millisecond, Park: true}}); err != nil {
				w.Fatal(err)
			}
		}
		for range 4 {
			rerun(a, grant)
			taken := take(a, "what was parked")
			if taken.Delivered != 1 {
				w.Fatalf("parked and taken: handed out %d times, want 1", taken.Delivered)
			}
			grant = delivery.Held{ID: taken.ID, Grant: taken.Grant}
			if err := a.HandBack(w.Context(), []delivery.Held{grant}); err != nil {
				w.Fatal(err)
			}
			taken = take(a, "what was handed back")
			if taken.Delivered != 1 {
				w.Fatalf("handed back and taken: handed out %d times, want 1", taken.Delivered)
			}
			grant = delivery.Held{ID: taken.ID, Grant: taken.Grant}
		}
		for n := int64(2); n < 6; n++ {
			taken := take(w.log(peer, short), "what nobody renewed")
			if taken.Delivered != n {
				w.Fatalf("handed out %d times after %d owners were lost", taken.Delivered, n-1)
			}
			grant = delivery.Held{ID: taken.ID, Grant: taken.Grant}
		}
		rerun(w.log(peer, short), grant)
		if taken := take(a, "what was parked again"); taken.Delivered != 1 {
			w.Errorf("its owner has let it go, but it has been handed out %d times", taken.Delivered)
		}
	})
}
