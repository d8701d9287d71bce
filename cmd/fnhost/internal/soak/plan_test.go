package soak

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// A plan is one message and what must come of it, whatever happens meanwhile.
type plan struct {
	kind   string
	key    string // partitionkey
	fields []string
	data   map[string]any

	status  string // of its result
	attempt int    // of its result; 0: any
	reason  string // of its dead letter; empty: it must have none
	runs    int    // executions it needs if nothing goes wrong; -1: cannot be said
	emits   int    // entries of echo:tasks that it makes
	counter string // key of keyed state that it adds to
	add     int64
}

const maxRetries = 2 // the default of REDIS_MAX_RETRIES

// kinds are the messages by weight, those that a clean stop is tested with
// first: their number of executions is known.
var kinds = []struct {
	weight int
	make   func(p *plan, r *rand.Rand)
}{
	{30, plain}, {20, slow}, {8, retried}, {4, exhausted}, {5, rejected}, {2, dropped}, {1, panicking}, {1, expired}, {6, emitting}, {3, replying},
	{1, retriedLate}, {3, snoozed}, {3, emittingLater}, {12, counting},
}

const clean = 10 // how many of kinds a clean stop is tested with

// drawn chooses the n-th message; which is how many of kinds are in question.
func drawn(r *rand.Rand, which int) plan {
	total := 0
	for _, k := range kinds[:which] {
		total += k.weight
	}
	at := r.IntN(total)
	for _, k := range kinds[:which] {
		if at -= k.weight; at < 0 {
			p := plan{status: "ok", attempt: 1, runs: 1, data: map[string]any{}}
			if r.IntN(4) == 0 {
				p.key = "key-" + strconv.Itoa(r.IntN(40))
			}
			k.make(&p, r)
			return p
		}
	}
	panic("unreachable: at is below the total of the weights")
}

func millis(r *rand.Rand, from, to int) int { return from + r.IntN(to-from) }

func plain(p *plan, _ *rand.Rand) { p.kind = "plain" }

func slow(p *plan, r *rand.Rand) {
	p.kind, p.data["sleep_ms"] = "slow", millis(r, 5, 400)
}

func retried(p *plan, r *rand.Rand) {
	failures := 1 + r.IntN(maxRetries)
	p.kind, p.attempt, p.runs = "retried", 1+failures, 1+failures
	p.data["fail"], p.data["fail_attempts"] = "retry", failures
	if r.IntN(2) == 0 {
		p.data["after_ms"] = millis(r, 0, 1500)
	}
}

// retriedLate has no key: it would be in the way of the others.
func retriedLate(p *plan, r *rand.Rand) {
	p.kind, p.key, p.attempt, p.runs = "retried late", "", 2, 2
	p.data["fail"], p.data["fail_attempts"], p.data["after_ms"] = "retry", 1, millis(r, 5500, 9000)
}

func snoozed(p *plan, r *rand.Rand) {
	p.kind, p.key, p.runs = "snoozed", "", -1
	p.data["not_before"] = time.Now().Add(time.Duration(millis(r, 100, 9000)) * time.Millisecond)
}

func dead(p *plan, kind, reason string, runs int) {
	p.kind, p.status, p.attempt, p.reason, p.runs = kind, "error", 0, reason, runs
}

func exhausted(p *plan, _ *rand.Rand) {
	dead(p, "exhausted", "exhausted", 1+maxRetries)
	p.data["fail"] = "retry"
}

func rejected(p *plan, _ *rand.Rand) {
	dead(p, "rejected", "permanent", 1)
	p.data["fail"] = "permanent"
}

func expired(p *plan, _ *rand.Rand) {
	dead(p, "expired", "expired", 0)
	p.fields = []string{"expirytime", time.Now().Add(-time.Second).Format(time.RFC3339)}
}

// poisonous messages take their process with them, time and again; so there are
// few of them, and they are not drawn.
func poisonous(p *plan) {
	dead(p, "poison", "poison", -1)
	p.data["fail"] = "exit"
}

func dropped(p *plan, _ *rand.Rand) {
	p.kind, p.status = "dropped", "dropped"
	p.data["fail"] = "drop"
}

func panicking(p *plan, _ *rand.Rand) {
	p.kind, p.attempt, p.runs = "panicking", 2, 2
	p.data["fail"], p.data["fail_attempts"] = "panic", 1
}

func emitting(p *plan, r *rand.Rand) {
	p.kind, p.emits = "emitting", 1+r.IntN(2)
	emissions := make([]map[string]any, p.emits)
	for i := range emissions {
		emissions[i] = map[string]any{"stream": "echo:tasks", "data": i}
	}
	p.data["emit"] = emissions
}

func emittingLater(p *plan, r *rand.Rand) {
	p.kind, p.emits = "emitting later", 1
	p.data["emit"] = []map[string]any{{"stream": "echo:tasks", "data": 0, "delay_ms": millis(r, 100, 8000)}}
}

func replying(p *plan, _ *rand.Rand) {
	p.kind, p.emits = "replying", 1
	p.fields = []string{"replyto", "echo:tasks"}
}

// counting has conflicts with its like, and runs again for them.
func counting(p *plan, r *rand.Rand) {
	p.kind, p.runs = "counting", -1
	p.counter, p.add = fmt.Sprintf("counter-%d", r.IntN(12)), 1+r.Int64N(9)
	if r.IntN(3) > 0 {
		p.key = p.counter
	}
	p.data["state"] = map[string]any{"key": p.counter, "add": p.add}
}

// bait is what is running when something is killed.
func bait() plan {
	return plan{kind: "bait", status: "ok", attempt: 1, runs: 1, data: map[string]any{"sleep_ms": 900}}
}

// canary is there to be run at once.
func canary() plan {
	return plan{kind: "canary", status: "ok", attempt: 1, runs: 1, data: map[string]any{}}
}

// entry gives the fields of a plan's stream entry.
func (p plan) entry(id string) []string {
	data, err := json.Marshal(p.data)
	if err != nil {
		panic(err) // made of texts and numbers
	}
	fields := append([]string{"id", id, "type", "soak." + strings.ReplaceAll(p.kind, " ", "-")}, p.fields...)
	if p.key != "" {
		fields = append(fields, "partitionkey", p.key)
	}
	return append(fields, "data", string(data))
}
