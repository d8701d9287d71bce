package model

import "slices"

// A Result is what an exploration has found.
type Result struct {
	States int
	Depth  int // steps to the farthest state
	// Broken is the invariant that does not hold, empty if all do; Trace has the
	// fewest steps that lead there.
	Broken string
	Trace  []string
}

// Explore visits every state that can be reached, the nearest first, and ends
// with the first that breaks an invariant. It needs some 100 bytes a state.
func Explore(c Setup, mutant Mutant) Result {
	e := explorer{machine: machine{Setup: c, Protocol: Protocol{Lease: 1, Delay: 1, Mutant: mutant}}, seen: map[Key]int32{}}
	e.machine.visit = e.visit
	e.add(c.Start(), -1, 0)
	depth := 0
	for ; len(e.next) > 0 && e.broken == ""; depth++ {
		e.level()
	}
	if e.broken == "" {
		e.leaveInPeace()
	}
	r := Result{States: len(e.seen), Depth: depth, Broken: e.broken}
	if e.broken != "" {
		r.Trace = append(e.trace(e.at), e.last...)
	}
	return r
}

// An explorer has the states seen, each with the one it was reached from and by
// which of its steps, so that the way there can be walked again.
type explorer struct {
	machine
	seen     map[Key]int32
	parents  []int32
	ordinals []uint8
	next     []Key // the last level

	at      int32 // the state whose steps are made
	ordinal int
	broken  string
	last    []string // steps from at to what is broken
}

func (e *explorer) add(s State, from int32, ordinal int) {
	s.reduce(e.Protocol)
	k := s.Key()
	if _, ok := e.seen[k]; ok {
		return
	}
	e.seen[k] = int32(len(e.parents))
	e.parents, e.ordinals = append(e.parents, from), append(e.ordinals, uint8(ordinal))
	e.next = append(e.next, k)
}

func (e *explorer) level() {
	now := e.next
	e.next = nil
	for _, k := range now {
		s := e.State(k)
		e.at, e.ordinal = e.seen[k], 0
		if e.steps(&s); e.broken != "" {
			return
		}
	}
}

func (e *explorer) visit(to State, broken, _ string) {
	if e.broken != "" {
		return
	}
	if b := e.machine.broken(&to.Store); b != "" {
		broken = b
	}
	if broken != "" {
		e.broken = broken
		e.last = []string{e.words(e.at, e.ordinal)}
		return
	}
	e.add(to, e.at, e.ordinal)
	e.ordinal++
}

// trace walks from the start to a state again.
func (e *explorer) trace(at int32) (all []string) {
	for ; e.parents[at] >= 0; at = e.parents[at] {
		all = append(all, e.words(e.parents[at], int(e.ordinals[at])))
	}
	slices.Reverse(all)
	return all
}

// words says what the step of that ordinal from a state is.
func (e *explorer) words(at int32, ordinal int) (words string) {
	for k, i := range e.seen {
		if i != at {
			continue
		}
		s, n := e.State(k), 0
		m := machine{Setup: e.Setup, Protocol: e.Protocol, says: true, visit: func(_ State, _, what string) {
			if n == ordinal {
				words = what
			}
			n++
		}}
		m.steps(&s)
	}
	return words
}

// maxPeace is more steps than hosts need for all messages.
const maxPeace = 100

// leaveInPeace checks that from every state all is decided if nothing goes wrong
// any more.
func (e *explorer) leaveInPeace() {
	good := make([]bool, len(e.parents))
	for k, at := range e.seen {
		if e.peaceFrom(e.State(k), good); e.broken != "" {
			e.at = at
			return
		}
	}
}

func (e *explorer) peaceFrom(s State, good []bool) {
	var path []int32
	for n := 0; ; n++ {
		at, known := e.seen[s.Key()]
		if known && good[at] {
			break
		}
		if known {
			path = append(path, at)
		}
		next, what := e.peace(&s)
		if left := e.unfinished(&s.Store); what == "" && left != "" || n > maxPeace {
			e.broken, e.last = I7, append(e.last, left)
			return
		}
		if what == "" {
			break
		}
		e.last = append(e.last, what)
		s = next
	}
	e.last = nil
	for _, at := range path {
		good[at] = true
	}
}
