package dispatch

import "time"

// Limits of what a role holds.
const (
	MaxWindow      = 4096     // messages
	MaxWindowBytes = 32 << 20 // of their fields
)

// window is how many messages a role may hold. An adaptive one aims at holding
// between a quarter second's and a second's work: it doubles when it was worked
// off faster, and halves when slower, so that a slow function holds little that
// another host could run, and a fast one is never short of work.
type window struct {
	size  int
	least int // of an adaptive window; 0: the size is fixed
	done  int // since `since`
	since time.Time
}

func newWindow(fixed, concurrency int) window {
	if fixed > 0 {
		return window{size: fixed}
	}
	least := min(2*max(concurrency, 1), MaxWindow)
	return window{size: least, least: least}
}

// completed counts a message that was let go.
func (w *window) completed(now time.Time) {
	if w.least == 0 {
		return
	}
	if w.done == 0 {
		w.since = now
	}
	w.done++
	if w.done < w.size {
		return
	}
	switch took := now.Sub(w.since); {
	case took < 250*time.Millisecond:
		w.size = min(2*w.size, MaxWindow)
	case took > time.Second:
		w.size = max(w.size/2, w.least)
	}
	w.done = 0
}
