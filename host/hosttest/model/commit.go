package model

// A Commit is an outcome to be made true.
type Commit struct {
	Dead  bool // an error, and a dead letter
	Emits uint8
	Later uint8 // emissions for later
	// Version is the one that the key of state must have, if State is set.
	State   bool
	Version uint8
	Misfit  bool // a target holds something else
}

// Commit is commit.lua.
func (p Protocol) Commit(s *Store, who Owner, i int, h Held, c Commit) Answer {
	m := &s.M[i]
	if m.Lock.decidedBy(who, h) {
		entry := m.Lock.Entry
		m.Lock.Life = LifeDone
		s.ack(i)
		s.unindex(i)
		return Answer{Status: Committed, Entry: entry}
	}
	if !p.mayCommit(s, who, i, h) {
		return Answer{Status: Lost}
	}
	if c.Misfit {
		return Answer{Status: Refused}
	}
	if c.State && c.Version != s.State {
		return Answer{Status: Conflict}
	}
	m.remember(m.Lock.Kind == NoLock, h)
	p.add(s, i, c)
	if c.State {
		s.State = h.Fence
	}
	p.settle(s, who, i, h, c)
	return Answer{Status: Committed, Entry: Fresh}
}

func (p Protocol) mayCommit(s *Store, who Owner, i int, h Held) bool {
	l := s.M[i].Lock
	if l.Kind == NoLock {
		return p.nilIsOurs(s, i, who)
	}
	return l.ours(who, h) || p.Mutant == NoTokenCompare && l.Kind == Undecided
}

// add writes the entries of a commit, and counts them.
func (p Protocol) add(s *Store, i int, c Commit) {
	m := &s.M[i]
	if c.Dead {
		m.Errors++
		m.Letters++
		s.Counts.Error++
	} else {
		m.OKs++
		s.Counts.OK++
	}
	m.Emitted += c.Emits
	m.Later += c.Later
}

// settle writes the rest of it.
func (p Protocol) settle(s *Store, who Owner, i int, h Held, c Commit) {
	m := &s.M[i]
	m.Lock = Lock{Kind: Decided, Owner: who, Fence: h.Fence, Life: LifeDone, Outcome: OK, Entry: Fresh}
	if c.Dead {
		m.Lock.Outcome = Failed
		m.Failures++
	}
	s.unindex(i)
	s.ack(i)
}
