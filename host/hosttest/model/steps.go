package model

import "fmt"

// A Setup is what hosts run with, and what may go wrong.
type Setup struct {
	Name     string
	Messages uint8
	Attempts uint8 // before the dead letter
	Budget   Budget
	Lag      uint8 // writes, or periods of time, that a failover may lose; at most 7
	// Expiry lets done marks outlive their time, where the documented limit
	// allows it: below the floor, and acknowledged.
	Expiry bool
	Trims  bool
	Drains bool // hosts hand back what they hold
	Reruns bool // hosts run messages again at nobody's cost
}

// Start is the first state: a group, and messages that nobody has read.
func (c Setup) Start() State {
	return State{Store: Store{Group: true, Published: c.Messages, Fence: topFence}, Budget: c.Budget}
}

// A machine makes the steps of a setup under a protocol.
type machine struct {
	Setup
	Protocol
	visit func(to State, broken, what string)
	// says has the words for the steps made; else what is empty.
	says bool
}

// step gives a state to visit, with its place among the steps.
func (x *machine) step(to *State, broken string, format string, args ...any) {
	what := ""
	if x.says {
		what = fmt.Sprintf(format, args...)
	}
	to.reduce(x.Protocol)
	x.visit(*to, broken, what)
}

// steps visits every state that follows s, in an order that depends on s alone.
func (x *machine) steps(s *State) {
	for h := range Hosts {
		for i := range int(x.Messages) {
			x.hostSteps(s, h, i)
		}
		x.read(s, h)
		x.crash(s, h)
	}
	x.storeSteps(s)
	x.faults(s)
}

// hostSteps is what host h may do with message i.
func (x *machine) hostSteps(s *State, h, i int) {
	hold := s.Hosts[h][i]
	switch hold.Phase {
	case Free:
		x.take(s, h, i)
		if s.Store.pending(i, owner(h)) && !s.Store.M[i].Deleted { // reconciled
			t := *s
			t.Hosts[h][i] = Hold{Phase: Reserved}
			x.step(&t, "", "%c finds message %d handed to it", 'A'+h, i)
		}
	case Reserved:
		x.send(s, h, i, Begin)
	case Settling:
		x.send(s, h, i, hold.Asked)
		x.send(s, h, i, Renew)
	case Holding:
		x.send(s, h, i, Done)
		x.send(s, h, i, Fail)
		x.send(s, h, i, Renew)
		if x.Reruns {
			x.send(s, h, i, Rerun)
		}
		if x.Drains {
			x.send(s, h, i, HandBack)
		}
		if s.Budget.Parks > 0 {
			t := *s
			t.Budget.Parks--
			x.send(&t, h, i, Park)
		}
	}
}

// send makes a request: it is answered; or it is executed, and the answer is
// lost; or it is executed later, and the sender repeats it meanwhile.
func (x *machine) send(s *State, h, i int, kind Kind) {
	hold := s.Hosts[h][i]
	r := Request{Kind: kind, Owner: owner(h), Message: uint8(i), Fence: hold.Fence, Attempt: hold.Attempt}
	t := *s
	a, broken := x.execute(&t.Store, r)
	t.age(s)
	lost := t
	t.Hosts[h][i] = x.answered(hold, kind, a)
	x.step(&t, broken, "%c: %s of message %d: %s", 'A'+h, kind, i, a.Status)
	if s.Budget.Lost > 0 && lost.Store != s.Store {
		lost.Budget.Lost--
		lost.Hosts[h][i] = pinned(hold, kind)
		x.step(&lost, broken, "%c: %s of message %d: %s, but the answer is lost", 'A'+h, kind, i, a.Status)
	}
	if s.Budget.Delayed > 0 && s.Late.Kind == Nothing {
		t := *s
		t.Budget.Delayed--
		t.Late = r
		t.Hosts[h][i] = pinned(hold, kind)
		x.step(&t, "", "%c: %s of message %d is on its way, and given up", 'A'+h, kind, i)
	}
}

// pinned is what a host holds that does not know what became of its request.
func pinned(h Hold, kind Kind) Hold {
	if kind != Begin && kind != Renew {
		h.Phase, h.Asked = Settling, kind
	}
	return h
}

// answered is what a host holds after an answer.
func (x *machine) answered(h Hold, kind Kind, a Answer) Hold {
	switch {
	case a.Status == NoGroup:
		return h
	case kind == Renew && (h.Phase == Settling || a.Status == Granted):
		return h
	case kind == Done && a.Status == Committed && (x.Mutant == AckBeforeAdd || x.Mutant == AddRetried):
		return pinned(h, Second)
	case a.Status == Granted && kind != Park, a.Status == Taken:
		return Hold{Phase: Holding, Fence: a.Fence, Attempt: a.Attempt}
	}
	return Hold{}
}

// execute runs a request's script, and says which promise that broke.
func (x *machine) execute(s *Store, r Request) (Answer, string) {
	before := *s
	a := x.perform(s, r)
	if broken := x.judge(&before, s, r, a); broken != "" {
		return a, broken
	}
	return a, x.judgeRepeat(s, r, a)
}

func (x *machine) perform(s *Store, r Request) Answer {
	i, held := int(r.Message), Held{Fence: r.Fence, Attempt: r.Attempt}
	switch r.Kind {
	case Begin:
		return x.Begin(s, r.Owner, i)
	case Done:
		return x.commit(s, r, held)
	case Second:
		return x.secondHalf(s, r, held)
	case Fail:
		if r.Attempt >= x.Attempts {
			return x.Commit(s, r.Owner, i, held, Commit{Dead: true})
		}
		return x.Rerun(s, r.Owner, i, held, Next{Attempt: r.Attempt + 1})
	case Rerun:
		return x.Rerun(s, r.Owner, i, held, Next{Attempt: r.Attempt})
	case Park:
		return x.Rerun(s, r.Owner, i, held, Next{Attempt: r.Attempt, Park: true})
	case Renew:
		return x.Renew(s, r.Owner, i, held)
	default:
		return x.HandBack(s, r.Owner, i, held)
	}
}

// commit is a commit with a result, or the first half of one that is not atomic.
func (x *machine) commit(s *Store, r Request, held Held) Answer {
	i := int(r.Message)
	switch {
	case x.Mutant == AddRetried:
		x.add(s, i, Commit{})
	case x.Mutant == AckBeforeAdd && x.mayCommit(s, r.Owner, i, held):
		x.settle(s, r.Owner, i, held, Commit{})
	case x.Mutant == AckBeforeAdd:
		return Answer{Status: Lost}
	default:
		return x.Commit(s, r.Owner, i, held, Commit{})
	}
	return Answer{Status: Committed}
}

func (x *machine) secondHalf(s *Store, r Request, held Held) Answer {
	i := int(r.Message)
	if x.Mutant == AckBeforeAdd {
		x.add(s, i, Commit{})
	} else if x.mayCommit(s, r.Owner, i, held) {
		x.settle(s, r.Owner, i, held, Commit{})
	}
	return Answer{Status: Committed}
}

// read hands the next message to host h. What it holds already stays as it is.
func (x *machine) read(s *State, h int) {
	if !s.Store.Group {
		return
	}
	i := int(s.Store.Delivered)
	for i < int(x.Messages) && s.Store.M[i].Deleted {
		i++
	}
	if i >= int(x.Messages) {
		return
	}
	t := *s
	t.Store.Delivered = uint8(i + 1)
	t.Store.claim(i, owner(h), 0)
	t.age(s)
	if s.Budget.Lost > 0 {
		lost := t
		lost.Budget.Lost--
		x.step(&lost, "", "%c reads message %d, but the answer is lost", 'A'+h, i)
	}
	if t.Hosts[h][i].Phase == Free {
		t.Hosts[h][i] = Hold{Phase: Reserved}
	}
	x.step(&t, "", "%c reads message %d", 'A'+h, i)
}

// look is Scan but for the reach, by which no host decides anything.
func (x *machine) look(s *Store) Found {
	reach := s.Reach
	found := x.Scan(s)
	s.Reach = reach
	return found
}

// take lets host h take over message i, if a look at the group finds it.
func (x *machine) take(s *State, h, i int) {
	t := *s
	found := x.look(&t.Store)
	if found.NoGroup || !found.Idle[i] && !found.Due[i] {
		return
	}
	before := t.Store
	a := x.TakeOver(&t.Store, owner(h), i, false)
	broken := x.judge(&before, &t.Store, Request{Owner: owner(h), Message: uint8(i)}, a)
	t.age(s)
	if s.Budget.Lost > 0 && t.Store != before {
		lost := t
		lost.Budget.Lost--
		x.step(&lost, broken, "%c takes over message %d: %s, but the answer is lost", 'A'+h, i, a.Status)
	}
	if a.Status == Taken {
		t.Hosts[h][i] = Hold{Phase: Holding, Fence: a.Fence, Attempt: a.Attempt}
	}
	if t == *s {
		return
	}
	x.step(&t, broken, "%c takes over message %d: %s", 'A'+h, i, a.Status)
}

// storeSteps is what happens to Redis without a fault.
func (x *machine) storeSteps(s *State) {
	t := *s
	t.Store.Tick(x.Protocol)
	if s.Lag > 0 {
		t.Replica.Tick(x.Protocol)
	}
	x.changed(s, t, "time passes")
	t = *s
	x.look(&t.Store)
	x.changed(s, t, "the floor is written")
	t = *s
	x.Ensure(&t.Store, false)
	x.changed(s, t, "the group is made again")
	t = *s
	x.Reap(&t.Store, Dead)
	x.changed(s, t, "the dead host's consumer is removed")
	if x.Trims {
		t = *s
		x.Trim(&t.Store)
		x.changed(s, t, "the stream is trimmed")
	}
	if s.Late.Kind != Nothing {
		t = *s
		a, broken := x.execute(&t.Store, s.Late)
		t.Late = Request{}
		t.rename(Ghost, Dead)
		t.age(s)
		x.step(&t, broken, "the late %s of message %d is executed: %s", s.Late.Kind, s.Late.Message, a.Status)
	}
}

// changed visits a state in which Redis has changed.
func (x *machine) changed(from *State, to State, what string) {
	if to.Store == from.Store && to.Replica == from.Replica {
		return
	}
	to.age(from)
	x.step(&to, "", "%s", what)
}

// age counts what the replica misses. Once it would miss too much it has caught
// up: what a failover then loses was lost by one from a later copy.
func (s *State) age(from *State) {
	if s.Lag == 0 || s.Store == from.Store {
		return
	}
	s.Lag--
	if s.Lag == 0 {
		s.Replica = Store{}
	}
}
