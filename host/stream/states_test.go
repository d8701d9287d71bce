package stream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// The grant that every script of the table is called with.
var heldGrant = delivery.Grant{Fence: 7, Attempt: 2, Deaths: 1}

const (
	ahead = "99999999999999" // ms: a lease that runs
	past  = "1000"           // ms: a lease that has ended
)

// lockStates are the states in which a script may find the lock.
var lockStates = []struct{ name, value string }{
	{"nil", ""},
	{"ours", "P|" + me + "|7|2|1|" + ahead},
	{"ours, lapsed", "P|" + me + "|7|2|1|" + past},
	{"ours, newer", "P|" + me + "|9|2|1|" + ahead},
	{"another's", "P|" + peer + "|9|3|0|" + ahead},
	{"another's, lapsed", "P|" + peer + "|9|3|0|" + past},
	{"given up", "P||9|3|0|" + past},
	{"waiting", "P||9|3|0|" + ahead},
	{"done by us", "D|" + me + ":7|ok|5-5"},
	{"done by us, another run", "D|" + me + ":6|ok|5-5"},
	{"done by another", "D|" + peer + ":7|ok|5-5"},
	{"foreign value", "worker-17"},
	{"foreign type", "<list>"},
}

// handedTo are the owners of the group's entry, in the columns' order.
var handedTo = []string{"", me, peer}

// table is what each script answers: for each lock state, with the entry handed
// to nobody, to us, to another.
var table = map[string]map[string]string{
	"begin": {
		"nil":  "stale granted stale",
		"ours": "granted granted granted", "ours, lapsed": "granted granted granted", "ours, newer": "granted granted granted",
		"another's": "busy busy busy", "another's, lapsed": "stale granted stale",
		"given up": "stale granted stale", "waiting": "busy busy busy",
		"done by us": "decided decided decided", "done by us, another run": "decided decided decided", "done by another": "decided decided decided",
		"foreign value": "busy busy busy", "foreign type": "busy busy busy",
	},
	"renew": {
		"nil":  "stale granted stale",
		"ours": "granted granted granted", "ours, lapsed": "granted granted granted", "ours, newer": "stale stale stale",
		"another's": "stale stale stale", "another's, lapsed": "stale stale stale",
		"given up": "stale stale stale", "waiting": "stale stale stale",
		"done by us": "decided decided decided", "done by us, another run": "stale stale stale", "done by another": "stale stale stale",
		"foreign value": "stale stale stale", "foreign type": "stale stale stale",
	},
	"rerun": {
		"nil":  "stale granted stale",
		"ours": "granted granted granted", "ours, lapsed": "granted granted granted", "ours, newer": "granted granted granted",
		"another's": "stale stale stale", "another's, lapsed": "stale stale stale",
		"given up": "stale stale stale", "waiting": "stale stale stale",
		"done by us": "decided decided decided", "done by us, another run": "stale stale stale", "done by another": "stale stale stale",
		"foreign value": "stale stale stale", "foreign type": "stale stale stale",
	},
	"handback": {
		"nil":  "left given left",
		"ours": "given given given", "ours, lapsed": "given given given", "ours, newer": "left left left",
		"another's": "left left left", "another's, lapsed": "left left left",
		"given up": "left left left", "waiting": "left left left",
		"done by us": "left left left", "done by us, another run": "left left left", "done by another": "left left left",
		"foreign value": "left left left", "foreign type": "left left left",
	},
	"commit": {
		"nil":  "lost committed lost",
		"ours": "committed committed committed", "ours, lapsed": "committed committed committed", "ours, newer": "lost lost lost",
		"another's": "lost lost lost", "another's, lapsed": "lost lost lost",
		"given up": "lost lost lost", "waiting": "lost lost lost",
		"done by us": "earlier earlier earlier", "done by us, another run": "lost lost lost", "done by another": "lost lost lost",
		"foreign value": "lost lost lost", "foreign type": "lost lost lost",
	},
	"takeover": {
		"nil":  "left taken taken",
		"ours": "left left left", "ours, lapsed": "taken taken taken", "ours, newer": "left left left",
		"another's": "left left left", "another's, lapsed": "taken taken taken",
		"given up": "taken taken taken", "waiting": "left left left",
		"done by us": "decided decided decided", "done by us, another run": "decided decided decided", "done by another": "decided decided decided",
		"foreign value": "left left left", "foreign type": "left left left",
	},
	"takeover, gentle": {
		"nil":  "left left left",
		"ours": "left left left", "ours, lapsed": "left left left", "ours, newer": "left left left",
		"another's": "left left left", "another's, lapsed": "left left left",
		"given up": "taken taken taken", "waiting": "left left left",
		"done by us": "decided decided decided", "done by us, another run": "decided decided decided", "done by another": "decided decided decided",
		"foreign value": "left left left", "foreign type": "left left left",
	},
}

func TestEveryScriptInEveryState(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		l := w.log(me, time.Minute)
		for script, rows := range table {
			for _, state := range lockStates {
				want := strings.Fields(rows[state.name])
				for i, owner := range handedTo {
					got := w.one(l, script, state.value, owner)
					if got != want[i] {
						w.Errorf("%s, lock %s, entry handed to %q: %s, want %s", script, state.name, owner, got, want[i])
					}
				}
			}
		}
	})
}

// one sets up an entry and its lock, runs the script on it, checks what every
// answer promises, and gives the answer.
func (w *world) one(l *Log, script, lock, owner string) string {
	w.Helper()
	id := w.publish(1)[0]
	key := l.lock(id)
	switch lock {
	case "":
	case "<list>":
		w.do("RPUSH", key, "x")
	default:
		w.do("SET", key, lock)
	}
	if owner != "" {
		w.do("XCLAIM", l.stream, l.sub.Group, owner, 0, id, "IDLE", 3600_000, "FORCE", "JUSTID")
	}
	h := delivery.Held{ID: id, Grant: heldGrant}
	before := len(w.results())
	answer, fence := w.ask(l, script, h)
	w.check(l, script, answer, lock, owner, h, fence)
	want := before
	if answer == "committed" {
		want++
	}
	if got := len(w.results()); got != want {
		w.Errorf("%s, lock %q, handed to %q: %s, and %d results were added, want %d", script, lock, owner, answer, got-before, want-before)
	}
	return answer
}

func (w *world) ask(l *Log, script string, h delivery.Held) (answer string, fence uint64) {
	w.Helper()
	must := func(err error) {
		w.Helper()
		if err != nil {
			w.Fatalf("%s: %v", script, err)
		}
	}
	switch script {
	case "begin":
		leases, err := l.Begin(w.Context(), []delivery.Entry{{ID: h.ID}})
		must(err)
		return leases[0].Status.String(), leases[0].Fence
	case "renew":
		leases, err := l.Renew(w.Context(), []delivery.Held{h})
		must(err)
		return leases[0].Status.String(), leases[0].Fence
	case "rerun":
		leases, err := l.Rerun(w.Context(), []delivery.Rerun{{Held: h, Attempt: 3, Deaths: 2}})
		must(err)
		return leases[0].Status.String(), leases[0].Fence
	case "handback":
		before := w.lockValue(h.ID)
		must(l.HandBack(w.Context(), []delivery.Held{h}))
		if w.lockValue(h.ID) == before {
			return "left", 0
		}
		return "given", 0
	case "commit":
		r := w.commit(l, done(h))[0]
		if r.Entry == "5-5" {
			return "earlier", 0
		}
		return r.Status.String(), 0
	default:
		return w.askTakeover(l, script, h)
	}
}

func (w *world) askTakeover(l *Log, script string, h delivery.Held) (answer string, fence uint64) {
	w.Helper()
	l.since = time.Now().Add(-time.Hour)
	if script == "takeover, gentle" {
		l.since = time.Now()
	}
	_, taken, lost, err := l.takeOver(w.Context(), []string{h.ID}, 1)
	switch {
	case err != nil:
		w.Fatal(err)
	case len(lost) > 0:
		return "lost", 0
	case len(taken) > 0:
		return "taken", taken[0].Fence
	case strings.HasPrefix(w.lockValue(h.ID), "D|"):
		return "decided", 0
	}
	return "left", 0
}

// check is what every answer promises about the lock and the group's entry.
func (w *world) check(l *Log, script, answer, lock, owner string, h delivery.Held, fence uint64) {
	w.Helper()
	at := fmt.Sprintf("%s, lock %q, handed to %q, answer %s", script, lock, owner, answer)
	now := w.lockValue(h.ID)
	holder := w.holder(l, h.ID)
	switch answer {
	case "granted", "taken":
		if prefix := fmt.Sprintf("P|%s|%d|", me, fence); !strings.HasPrefix(now, prefix) {
			w.Errorf("%s: the lock is %q, want %s...", at, now, prefix)
		}
		if holder != me && script != "begin" && lock != "P|"+me+"|9|2|1|"+ahead {
			w.Errorf("%s: the group holds the entry for %q", at, holder)
		}
		if ttl := w.rdb.PTTL(w.Context(), l.lock(h.ID)).Val(); ttl <= 23*time.Hour && script != "rerun" {
			w.Errorf("%s: the lock lives for %s more, want a day", at, ttl)
		}
		if strings.Contains(lock, "|3|0|") && !strings.Contains(now, "|3|0|") {
			w.Errorf("%s: attempts are lost: %q", at, now)
		}
	case "given":
		if prefix := "P||7|2|1|"; !strings.HasPrefix(now, prefix) {
			w.Errorf("%s: the lock is %q, want %s...", at, now, prefix)
		}
	case "committed", "decided", "earlier":
		if holder != "" && !(answer == "decided" && (script == "renew" || script == "rerun")) {
			w.Errorf("%s: not acknowledged", at)
		}
	default: // busy, stale, lost, left
		if lock != "<list>" && now != lock {
			w.Errorf("%s: the lock was changed to %q", at, now)
		}
		want := owner
		if script == "begin" && owner == me && lock == "P||9|3|0|"+ahead {
			want = parkedConsumer // back to where it waits
		}
		if holder != want {
			w.Errorf("%s: the group's entry is held for %q, want %q", at, holder, want)
		}
	}
}

// holder is the consumer that the group has handed the entry to; none: empty.
func (w *world) holder(l *Log, id string) string {
	w.Helper()
	rows, _ := w.do("XPENDING", l.stream, l.sub.Group, id, id, 1).([]any)
	if len(rows) == 0 {
		return ""
	}
	return text(rows[0].([]any)[1])
}
