// Package retry decides the fate of a message. It is pure.
package retry

import (
	"math/rand/v2"
	"time"

	goretry "github.com/sethvargo/go-retry"

	"github.com/fnhost/fnhost/host/delivery"
)

const (
	// MaxDeaths is how many plugin deaths a message may have started under before
	// it is run alone. Only a death while alone makes it a dead letter.
	MaxDeaths = 2
	// MaxHandouts is how often a message may be handed out before it is run alone:
	// once to begin with, and once for each host that was lost while it held the
	// message. Such a message pays one death before each run, and has it back with
	// the outcome: so what it has beyond MaxDeaths are hosts lost under it alone.
	MaxHandouts = 5
	// MaxLosses is how many hosts may be lost under a message that runs alone
	// before it is a dead letter.
	MaxLosses = 3
)

// Policy is what a role allows its messages.
type Policy struct {
	MaxRetries int           // attempts = 1 + MaxRetries
	Backoff    time.Duration // before the first retry; doubles; 0: at once
	BackoffMax time.Duration // its limit; 0: none
}

// Suspect says whether a message has to run alone. delivered is how often its
// group has handed it out.
func Suspect(g delivery.Grant, delivered int64) bool {
	return g.Deaths >= MaxDeaths || KillsHosts(delivered)
}

// KillsHosts says whether a message is suspected to be what ends its hosts.
func KillsHosts(delivered int64) bool { return delivered > MaxHandouts }

// KilledHosts says whether it has been found guilty of that.
func KilledHosts(g delivery.Grant) bool { return g.Deaths >= MaxDeaths+MaxLosses }

// Decide gives the outcome of a delivery from what its function said. alone says
// that nothing else has run in the process.
//
// Two budgets are kept apart: a handler's failure costs an attempt; a plugin's
// death costs nobody an attempt, and only a message that is alone when its
// plugin dies is found guilty.
func (p Policy) Decide(g delivery.Grant, r delivery.Reply, alone bool) delivery.Outcome {
	again := delivery.Outcome{Kind: delivery.KindRerun, Attempt: g.Attempt, Deaths: g.Deaths, Error: r.Error}
	switch r.Verdict {
	case delivery.Done:
		return delivery.Outcome{Kind: delivery.KindDone}
	case delivery.Drop:
		return delivery.Outcome{Kind: delivery.KindDrop, Reason: r.Error.Message}
	case delivery.Dead:
		return dead(reasonOf(r.Error), r.Error)
	case delivery.Retry:
		if g.Attempt > p.MaxRetries {
			return dead(delivery.ReasonExhausted, r.Error)
		}
		again.Attempt++
		again.Charged = true
		again.Delay = r.After
		if !r.HasAfter {
			again.Delay = p.backoff(g.Attempt)
		}
		return again
	case delivery.Snooze:
		again.Delay = r.After
		return again
	case delivery.Died:
		switch {
		case !r.Started:
		case alone && g.Deaths >= MaxDeaths:
			return dead(delivery.ReasonPoison, r.Error)
		case g.Deaths < MaxDeaths: // beyond, there are only hosts
			again.Deaths++
		}
		return again
	default: // NotStarted, Interrupted: nobody's fault
		return again
	}
}

func dead(reason string, err delivery.Error) delivery.Outcome {
	return delivery.Outcome{Kind: delivery.KindDead, Reason: reason, Error: err}
}

func reasonOf(err delivery.Error) string {
	if err.Type == delivery.ReasonOversize {
		return delivery.ReasonOversize
	}
	return delivery.ReasonPermanent
}

// backoff is the delay after the failed attempt: the base doubled for each
// earlier failure, capped, with full jitter over its upper half.
func (p Policy) backoff(attempt int) time.Duration {
	if p.Backoff <= 0 { // go-retry panics on a base of 0
		return 0
	}
	b := goretry.NewExponential(p.Backoff)
	if p.BackoffMax > 0 {
		b = goretry.WithCappedDuration(p.BackoffMax, b)
	}
	var delay time.Duration
	for range min(attempt, 62) { // 62 doublings overflow any base
		delay, _ = b.Next()
	}
	return delay/2 + time.Duration(rand.Int64N(int64(delay)/2+1))
}
