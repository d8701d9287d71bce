package model

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// full explores the long setups too: some minutes, and some hundred megabytes.
func full() bool { return os.Getenv("FNHOST_MODEL") == "full" }

func TestTheProtocolHoldsInEveryState(t *testing.T) {
	t.Parallel()
	var states atomic.Int64
	t.Run("setups", func(t *testing.T) {
		for _, c := range Setups(full()) {
			t.Run(c.Name, func(t *testing.T) {
				if !full() { // one after another they need no more memory than the largest
					t.Parallel()
				}
				r := Explore(c, None)
				states.Add(int64(r.States))
				t.Logf("%d states, up to %d steps from the start", r.States, r.Depth)
				if r.Broken != "" {
					t.Errorf("%s\n%s", r.Broken, strings.Join(r.Trace, "\n"))
				}
			})
		}
	})
	t.Logf("%d states in all; every invariant holds in each", states.Load())
}

// found says in which setup a mutant is found, and which invariant it breaks
// first. One that only the table of host/stream can tell is not here.
var found = map[Mutant]struct{ setup, invariant string }{
	AckOnLock:              {"crashes", H3},
	AckBeforeAdd:           {"crashes", I4},
	NoTokenCompare:         {"crashes", I6},
	NilAccepted:            {"failover", I6},
	NilRefused:             {"failover", H2},
	PendingOfAnyone:        {"failover", I6},
	LockShorterThanLease:   {"crashes", I5},
	RenewWithoutToken:      {"crashes", I9},
	ReapUnguarded:          {"crashes", I1},
	GroupAtEnd:             {"lost group", I1},
	TrimByLength:           {"lost group", IA},
	AttemptsFromDeliveries: {"crashes", I5},
	BeginAgainBusy:         {"crashes", H3},
	AddRetried:             {"crashes", H3},
	BeginWithoutPEL:        {"lost group", H4},
	RenewWithoutForce:      {"lost group", H1},
	FloorCountsDelayed:     {"lost group", H4},
	HandBackDeletes:        {"lost answers", I5},
	TakeOverRunning:        {"crashes", I9},
	TakeOverWithoutForce:   {"strangers", H1},
	RerunKeepsFence:        {"crashes", I6},
	ParkWithoutIndex:       {"lost answers", I1},
}

func TestEveryMutantBreaksAnInvariant(t *testing.T) {
	t.Parallel()
	for mutant := None + 1; mutant < mutants; mutant++ {
		want, ok := found[mutant]
		if !ok {
			if mutant != TakeOverFresh { // what is taken over is looked up by its idle time before
				t.Errorf("%s: no setup is said to find it", mutant)
			}
			continue
		}
		t.Run(mutant.String(), func(t *testing.T) {
			t.Parallel()
			r := Explore(setup(t, want.setup), mutant)
			if r.Broken != want.invariant {
				t.Errorf("broken: %q after %d states, want %q\n%s", r.Broken, r.States, want.invariant, strings.Join(r.Trace, "\n"))
			}
			t.Logf("%d states; %s\n%s", r.States, r.Broken, strings.Join(r.Trace, "\n"))
		})
	}
}

func setup(t *testing.T, name string) Setup {
	t.Helper()
	for _, c := range Setups(true) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no setup is called %q", name)
	return Setup{}
}

func TestAKeyGivesItsStateBack(t *testing.T) {
	t.Parallel()
	c := setup(t, "failover")
	s := c.Start()
	m := machine{Setup: c, Protocol: Protocol{Lease: 1, Delay: 1}}
	checked := 0
	m.visit = func(to State, _, _ string) {
		checked++
		if back := c.State(to.pack()); back != to {
			t.Fatalf("%+v\nis unpacked as\n%+v", to, back)
		}
		swapped := to.swapped()
		if swapped.Key() != to.Key() {
			t.Fatalf("%+v has another key than with the hosts' names exchanged", to)
		}
		s = to
	}
	for range 200 {
		from := s
		m.steps(&from)
	}
	if checked < 200 {
		t.Errorf("only %d states were checked", checked)
	}
}
