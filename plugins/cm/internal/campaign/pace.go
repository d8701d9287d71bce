package campaign

import (
	"math"
	"time"
)

// The rate is that of the last windowSpan, or of fewer, the last windowSamples
// that were told.
const (
	windowSpan    = int64(15 * time.Second / time.Millisecond)
	windowSamples = 32
)

// window is the last samples: a time in Unix milliseconds, and how many tasks
// had ended then.
type window [][2]int64

func (w *window) add(at int64, ended int) {
	s := append(*w, [2]int64{at, int64(ended)})
	for len(s) > 2 && (s[1][0] < at-windowSpan || len(s) > windowSamples) {
		s = s[1:]
	}
	*w = s
}

// pace gives the tasks a second that end, and the seconds until all have, as of
// a time; eta is nil when nobody can say. For a campaign that has ended it is
// the rate of the whole.
func (c *Campaign) pace(now int64) (rate float64, eta *float64) {
	if c.EndedAt != 0 {
		return perSecond(c.Counts.Ended(), c.EndedAt-c.StartedAt), nil
	}
	if len(c.Window) == 0 {
		return 0, nil
	}
	first, last := c.Window[0], c.Window[len(c.Window)-1]
	rate = perSecond(int(last[1]-first[1]), max(now, last[0])-first[0])
	if rate <= 0 {
		return 0, nil
	}
	seconds := hundredths(float64(c.Counts.Total-c.Counts.Ended()) / rate)
	return rate, &seconds
}

func perSecond(n int, ms int64) float64 {
	if n <= 0 || ms <= 0 {
		return 0
	}
	return hundredths(float64(n) * 1000 / float64(ms))
}

func hundredths(x float64) float64 { return math.Floor(x*100) / 100 }
