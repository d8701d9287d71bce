package model

// Status is a script's answer.
type Status uint8

// Answers.
const (
	Granted Status = iota
	DecidedBefore
	Busy
	Stale
	Committed
	Lost
	Conflict
	Refused
	Given
	Left
	Taken
	Gone    // the entry was deleted
	NoGroup // an error; nothing was written
)

func (s Status) String() string {
	return [...]string{"granted", "decided", "busy", "stale", "committed", "lost", "conflict", "refused", "given", "left", "taken", "gone", "no group"}[s]
}

// An Answer is what a script says of one message.
type Answer struct {
	Status          Status
	Fence           uint8 // of a grant
	Attempt, Deaths uint8
	Times           uint8 // handed out; of a takeover
	Entry           Kept  // of a commit
}

// A Held is a grant that a host holds.
type Held struct{ Fence, Attempt, Deaths uint8 }

// A Protocol is the scripts, whole or with one fault.
type Protocol struct {
	Lease, Delay uint8 // ticks
	Mutant       Mutant
}

func granted(l Lock) Answer {
	return Answer{Status: Granted, Fence: l.Fence, Attempt: l.Attempt, Deaths: l.Deaths}
}

// hold writes an undecided lock.
func (p Protocol) hold(s *Store, i int, owner Owner, h Held, left uint8) Lock {
	m := &s.M[i]
	m.Lock = Lock{Kind: Undecided, Owner: owner, Fence: h.Fence, Attempt: h.Attempt, Deaths: h.Deaths, Left: left, Life: LifeDay}
	if p.Mutant == LockShorterThanLease {
		m.Lock.Life = LifeShort
	}
	if owner != Nobody {
		m.Newest = max(m.Newest, h.Fence)
	}
	return m.Lock
}

// nilIsOurs says whether a message without a lock is the caller's.
func (p Protocol) nilIsOurs(s *Store, i int, who Owner) bool {
	switch p.Mutant {
	case NilAccepted:
		return true
	case NilRefused:
		return false
	case PendingOfAnyone:
		return s.Group && s.M[i].Consumer != Nobody
	}
	return s.pending(i, who)
}

// Begin is begin.lua.
func (p Protocol) Begin(s *Store, who Owner, i int) Answer {
	m := &s.M[i]
	ours := s.pending(i, who) || p.Mutant == BeginWithoutPEL || p.Mutant == PendingOfAnyone && s.Group && m.Consumer != Nobody
	if m.Lock.Kind == NoLock {
		if !ours {
			return Answer{Status: Stale}
		}
		m.restart()
		return p.deliveries(s, i, granted(p.hold(s, i, who, Held{Fence: s.draw(), Attempt: 1}, p.Lease)))
	}
	if p.Mutant == AckOnLock {
		s.ack(i)
		return Answer{Status: DecidedBefore}
	}
	return p.meet(s, who, i, ours)
}

// meet answers for a message whose lock is there.
func (p Protocol) meet(s *Store, who Owner, i int, ours bool) Answer {
	m := &s.M[i]
	l := m.Lock
	h := Held{Fence: l.Fence, Attempt: l.Attempt, Deaths: l.Deaths}
	switch {
	case l.Kind == Decided:
		s.ack(i)
		return Answer{Status: DecidedBefore}
	case l.Kind != Undecided:
		return Answer{Status: Busy}
	case l.Owner == who && p.Mutant == BeginAgainBusy:
		return Answer{Status: Busy}
	case l.Owner == who:
		return p.deliveries(s, i, granted(p.hold(s, i, who, h, p.Lease)))
	case !ours && l.Left > 0:
		return Answer{Status: Busy}
	case !ours:
		return Answer{Status: Stale}
	case l.Left == 0:
		h.Fence = s.draw()
		return p.deliveries(s, i, granted(p.hold(s, i, who, h, p.Lease)))
	case l.Owner == Nobody:
		s.claim(i, Parked, 0)
		s.index(i, l.Left)
	}
	return Answer{Status: Busy}
}

// deliveries is the mutant that takes the group's count for the attempts.
func (p Protocol) deliveries(s *Store, i int, a Answer) Answer {
	if p.Mutant == AttemptsFromDeliveries {
		a.Attempt = s.M[i].Times
		s.M[i].Lock.Attempt = a.Attempt
	}
	return a
}

// ours says whether an undecided lock is the caller's, under its fence.
func (l Lock) ours(who Owner, h Held) bool {
	return l.Kind == Undecided && l.Owner == who && l.Fence == h.Fence
}

// decidedBy says whether it is the done mark of the caller's commit.
func (l Lock) decidedBy(who Owner, h Held) bool {
	return l.Kind == Decided && l.Owner == who && l.Fence == h.Fence
}

// Renew is renew.lua.
func (p Protocol) Renew(s *Store, who Owner, i int, h Held) Answer {
	m := &s.M[i]
	keep := m.Lock.ours(who, h)
	switch {
	case keep:
		h.Attempt, h.Deaths = m.Lock.Attempt, m.Lock.Deaths
	case m.Lock.Kind == NoLock:
		keep = p.nilIsOurs(s, i, who)
		m.remember(keep, h)
	case m.Lock.decidedBy(who, h):
		return Answer{Status: DecidedBefore}
	case p.Mutant == RenewWithoutToken:
		keep = m.Lock.Kind == Undecided
	}
	if !keep {
		return Answer{Status: Stale}
	}
	if !s.Group {
		return Answer{Status: NoGroup}
	}
	if p.Mutant != RenewWithoutForce || m.Consumer != Nobody {
		s.claim(i, who, 0)
	}
	p.hold(s, i, who, h, p.Lease)
	return Answer{Status: Granted}
}

// A Next is what a rerun asks for.
type Next struct {
	Attempt, Deaths uint8
	Park            bool
}

// Rerun is rerun.lua.
func (p Protocol) Rerun(s *Store, who Owner, i int, h Held, next Next) Answer {
	l := s.M[i].Lock
	switch {
	case l.Kind == NoLock && p.nilIsOurs(s, i, who):
		s.M[i].remember(s.Group, h)
		return p.charged(s, i, next.Attempt > h.Attempt, p.again(s, who, i, h, next))
	case l.decidedBy(who, h):
		return Answer{Status: DecidedBefore}
	case l.ours(who, h):
		a := p.charged(s, i, next.Attempt > l.Attempt, p.again(s, who, i, h, next))
		if a.Status == Granted && next.Attempt > l.Attempt {
			s.Counts.Retried++
		}
		return a
	case l.Kind == Undecided && l.Fence > h.Fence && (l.Owner == who || next.Park && l.Owner == Nobody):
		return granted(l)
	}
	return Answer{Status: Stale}
}

// charged notes a failure that was written down.
func (p Protocol) charged(s *Store, i int, failure bool, a Answer) Answer {
	if failure && a.Status == Granted {
		s.M[i].Failures++
	}
	return a
}

// again writes the next grant, or the delay.
func (p Protocol) again(s *Store, who Owner, i int, h Held, next Next) Answer {
	if !s.Group {
		return Answer{Status: NoGroup}
	}
	to := Held{Fence: h.Fence, Attempt: next.Attempt, Deaths: next.Deaths}
	if p.Mutant != RerunKeepsFence {
		to.Fence = s.draw()
	}
	if !next.Park {
		s.claim(i, who, 0)
		return granted(p.hold(s, i, who, to, p.Lease))
	}
	s.claim(i, Parked, 0)
	a := granted(p.hold(s, i, Nobody, to, p.Delay))
	s.M[i].Lock.Life = LifeDayAndDelay
	if p.Mutant != ParkWithoutIndex {
		s.index(i, p.Delay)
	}
	return a
}

// HandBack is handback.lua.
func (p Protocol) HandBack(s *Store, who Owner, i int, h Held) Answer {
	m := &s.M[i]
	switch {
	case m.Lock.ours(who, h):
		h.Attempt, h.Deaths = m.Lock.Attempt, m.Lock.Deaths
	case m.Lock.Kind == NoLock && p.nilIsOurs(s, i, who):
		m.remember(s.Group, h)
	default:
		return Answer{Status: Left}
	}
	if !s.Group {
		return Answer{Status: NoGroup}
	}
	s.claim(i, who, p.Lease)
	p.hold(s, i, Nobody, h, 0)
	if p.Mutant == HandBackDeletes {
		m.Lock = Lock{}
	}
	return Answer{Status: Given}
}

// TakeOver is takeover.lua. gentle leaves leases that lapsed.
func (p Protocol) TakeOver(s *Store, who Owner, i int, gentle bool) Answer {
	m := &s.M[i]
	l := m.Lock
	switch l.Kind {
	case NoLock:
		return p.takeUnlocked(s, who, i, gentle)
	case Decided:
		s.ack(i)
		s.unindex(i)
		return Answer{Status: DecidedBefore}
	case Undecided:
		if l.Left > 0 && p.Mutant != TakeOverRunning {
			return s.postpone(i, l.Left)
		}
		if gentle && l.Owner != Nobody {
			return Answer{Status: Left}
		}
		return p.take(s, who, i, Held{Attempt: l.Attempt, Deaths: l.Deaths}, l.Owner == Nobody)
	}
	return s.postpone(i, p.Lease)
}

// postpone leaves a message alone, and looks again when it may be due.
func (s *Store) postpone(i int, due uint8) Answer {
	if s.M[i].Indexed {
		s.index(i, due)
	}
	return Answer{Status: Left}
}

func (p Protocol) takeUnlocked(s *Store, who Owner, i int, gentle bool) Answer {
	m := &s.M[i]
	switch {
	case gentle:
		return Answer{Status: Left}
	case !s.Group:
		return Answer{Status: NoGroup}
	case m.Consumer != Nobody && (m.Idle >= p.Lease || p.Mutant == TakeOverFresh):
		m.restart()
		return p.take(s, who, i, Held{Attempt: 1}, false)
	case m.Consumer == Nobody:
		s.unindex(i)
	}
	return Answer{Status: Left}
}

// take makes the message the caller's. How often it was handed out counts anew
// if its owner let it go.
func (p Protocol) take(s *Store, who Owner, i int, h Held, letGo bool) Answer {
	m := &s.M[i]
	if m.Deleted {
		s.ack(i)
		s.unindex(i)
		m.Lock = Lock{}
		return Answer{Status: Gone}
	}
	if !s.Group {
		return Answer{Status: NoGroup}
	}
	if p.Mutant != TakeOverWithoutForce || m.Consumer != Nobody {
		s.claim(i, who, 0)
		m.Times++
		if letGo {
			m.Times = 1
		}
	}
	h.Fence = s.draw()
	a := p.deliveries(s, i, granted(p.hold(s, i, who, h, p.Lease)))
	a.Status, a.Times = Taken, m.Times
	s.postpone(i, p.Lease)
	return a
}
