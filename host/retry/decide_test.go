package retry

import (
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	failed := delivery.Error{Type: "*fs.PathError", Message: "no such file"}
	policy := Policy{MaxRetries: 2}
	for name, c := range map[string]struct {
		grant delivery.Grant
		reply delivery.Reply
		alone bool
		want  delivery.Outcome
	}{
		"done ends the message": {
			grant: delivery.Grant{Attempt: 1}, reply: delivery.Reply{Verdict: delivery.Done},
			want: delivery.Outcome{Kind: delivery.KindDone},
		},
		"a drop keeps the handler's reason": {
			grant: delivery.Grant{Attempt: 1}, reply: delivery.Reply{Verdict: delivery.Drop, Error: delivery.Error{Message: "old news"}},
			want: delivery.Outcome{Kind: delivery.KindDrop, Reason: "old news"},
		},
		"a permanent failure is dead on the first attempt": {
			grant: delivery.Grant{Attempt: 1}, reply: delivery.Reply{Verdict: delivery.Dead, Error: failed},
			want: delivery.Outcome{Kind: delivery.KindDead, Reason: delivery.ReasonPermanent, Error: failed},
		},
		"a result that is too large has a reason of its own": {
			grant: delivery.Grant{Attempt: 1}, reply: delivery.Reply{Verdict: delivery.Dead, Error: delivery.Error{Type: "oversize"}},
			want: delivery.Outcome{Kind: delivery.KindDead, Reason: delivery.ReasonOversize, Error: delivery.Error{Type: "oversize"}},
		},
		"a failure is charged and runs again": {
			grant: delivery.Grant{Attempt: 2, Deaths: 1}, reply: delivery.Reply{Verdict: delivery.Retry, Error: failed},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 3, Deaths: 1, Charged: true, Error: failed},
		},
		"a failure of the last attempt is dead": {
			grant: delivery.Grant{Attempt: 3}, reply: delivery.Reply{Verdict: delivery.Retry, Error: failed},
			want: delivery.Outcome{Kind: delivery.KindDead, Reason: delivery.ReasonExhausted, Error: failed},
		},
		"retry-after sets the delay": {
			grant: delivery.Grant{Attempt: 1}, reply: delivery.Reply{Verdict: delivery.Retry, HasAfter: true, After: time.Minute},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 2, Charged: true, Delay: time.Minute},
		},
		"a snooze is not charged, whatever the attempt": {
			grant: delivery.Grant{Attempt: 3}, reply: delivery.Reply{Verdict: delivery.Snooze, After: time.Hour},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 3, Delay: time.Hour},
		},
		"a cancelled message that had not started is not charged": {
			grant: delivery.Grant{Attempt: 3}, reply: delivery.Reply{Verdict: delivery.NotStarted},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 3},
		},
		"an interrupted message is not charged": {
			grant: delivery.Grant{Attempt: 3}, reply: delivery.Reply{Verdict: delivery.Interrupted, Started: true},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 3},
		},
		"a plugin's death costs no attempt but is remembered": {
			grant: delivery.Grant{Attempt: 3}, reply: delivery.Reply{Verdict: delivery.Died, Started: true},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 3, Deaths: 1},
		},
		"a message that had not started is not a suspect": {
			grant: delivery.Grant{Attempt: 1, Deaths: 1}, reply: delivery.Reply{Verdict: delivery.Died},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 1, Deaths: 1},
		},
		"alone by chance is no proof": {
			grant: delivery.Grant{Attempt: 1}, alone: true, reply: delivery.Reply{Verdict: delivery.Died, Started: true},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 1, Deaths: 1},
		},
		"deaths beyond the limit are not the plugin's": {
			grant: delivery.Grant{Attempt: 1, Deaths: 2}, reply: delivery.Reply{Verdict: delivery.Died, Started: true},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 1, Deaths: 2},
		},
		"a suspect that did not get to start is no poison": {
			grant: delivery.Grant{Attempt: 1, Deaths: 2}, alone: true, reply: delivery.Reply{Verdict: delivery.Died},
			want: delivery.Outcome{Kind: delivery.KindRerun, Attempt: 1, Deaths: 2},
		},
		"a suspect that dies alone is poison": {
			grant: delivery.Grant{Attempt: 1, Deaths: 2}, alone: true, reply: delivery.Reply{Verdict: delivery.Died, Started: true, Error: failed},
			want: delivery.Outcome{Kind: delivery.KindDead, Reason: delivery.ReasonPoison, Error: failed},
		},
	} {
		if got := policy.Decide(c.grant, c.reply, c.alone); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, c.want)
		}
	}
}

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	t.Parallel()
	policy := Policy{MaxRetries: 1 << 20, Backoff: 100 * time.Millisecond, BackoffMax: time.Second}
	for attempt, full := range map[int]time.Duration{1: 100, 2: 200, 3: 400, 4: 800, 5: 1000, 100000: 1000} {
		full *= time.Millisecond
		for range 50 {
			got := policy.Decide(delivery.Grant{Attempt: attempt}, delivery.Reply{Verdict: delivery.Retry}, false).Delay
			if got < full/2 || got > full {
				t.Fatalf("attempt %d: delay %v, want between %v and %v", attempt, got, full/2, full)
			}
		}
	}
	if got := (Policy{}).backoff(3); got != 0 {
		t.Fatalf("no backoff: delay %v, want 0", got)
	}
}

func TestSuspects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		deaths    int
		delivered int64
		suspect   bool
		guilty    bool
	}{
		{deaths: 0, delivered: 0}, // a store that does not count
		{deaths: 1, delivered: MaxHandouts},
		{deaths: 0, delivered: MaxHandouts + 1, suspect: true},
		{deaths: 0, delivered: 1000, suspect: true}, // however often others have handed it out
		{deaths: MaxDeaths, delivered: 1, suspect: true},
		{deaths: MaxDeaths + MaxLosses - 1, delivered: 1000, suspect: true},
		{deaths: MaxDeaths + MaxLosses, delivered: 9, suspect: true, guilty: true},
	} {
		g := delivery.Grant{Attempt: 1, Deaths: c.deaths}
		if Suspect(g, c.delivered) != c.suspect || KilledHosts(g) != c.guilty {
			t.Errorf("%+v: suspect %v, guilty %v", c, Suspect(g, c.delivered), KilledHosts(g))
		}
	}
}
