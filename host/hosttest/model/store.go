package model

// Messages is how many messages a store has room for. They are numbered in the
// order of their ids.
const Messages = 2

// An Owner is who a lock, or the group's entry, names.
type Owner uint8

// Owners. Nobody has given a lock up, or holds no entry of the group.
const (
	Nobody Owner = iota
	A
	B
	Dead   // a host that has crashed
	Ghost  // one that has crashed with a request still on its way
	Parked // the consumer of what waits until it is due
)

// LockKind is what a lock's key holds.
type LockKind uint8

// Kinds of locks.
const (
	NoLock     LockKind = iota
	Undecided           // P|...
	Decided             // D|...
	Strange             // another string
	StrangeKey          // a key of another type
)

// Life is how long a lock's key lives.
type Life uint8

// Lives of a lock's key.
const (
	LifeUnset Life = iota // no end
	LifeDay
	LifeDayAndDelay
	LifeDone
	LifeShort // of a mutant: it ends before the lease
)

// Outcome is what a done mark says.
type Outcome uint8

// Outcomes.
const (
	NoOutcome Outcome = iota
	OK
	Failed
)

// Kept is the entry that a done mark names.
type Kept uint8

// Entries that a done mark names.
const (
	NoEntry Kept = iota
	Earlier      // added by a commit before
	Fresh        // added by the last one
)

// A Lock is a message's lock or done mark.
type Lock struct {
	Kind            LockKind
	Owner           Owner
	Fence           uint8
	Attempt, Deaths uint8
	Left            uint8 // ticks until the lease ends, or the message is due
	Life            Life
	Outcome         Outcome
	Entry           Kept
}

// A Message is one entry of the input stream, with all that is kept of it.
type Message struct {
	Deleted bool // no entry any more
	Lock    Lock

	Consumer Owner // who holds the group's entry
	Idle     uint8 // ticks; a lease at most
	Times    uint8 // handed out, as the group counts it

	Indexed bool  // in the index of what waits
	Due     uint8 // ticks until then

	OKs, Errors, Letters uint8 // results, and dead letters
	Emitted, Later       uint8 // emissions that are on their stream, or will be

	// What no script sees, for the invariants.
	Failures uint8 // charged
	Newest   uint8 // fence granted
	Expired  bool  // its done mark has outlived its time
	Evicted  bool  // its lock was lost
	Robbed   bool  // a stranger took the group's entry away
}

// Results is how many results the message has.
func (m *Message) Results() uint8 { return m.OKs + m.Errors }

// remember takes the failures from a host that knows of them, though the lock
// that had them is lost.
func (m *Message) remember(lost bool, h Held) {
	if lost {
		m.Failures = h.Attempt - 1
	}
}

// restart forgets the failures with a lock that was evicted: nobody knew them.
func (m *Message) restart() {
	if m.Evicted {
		m.Failures = 0
	}
}

// Counts are a minute's counts.
type Counts struct{ OK, Error, Retried uint8 }

// NoFloor is the floor of a group that never was.
const NoFloor = Messages + 1

// A Store is what Redis holds. It is comparable.
type Store struct {
	M         [Messages]Message
	Published uint8
	Group     bool
	Delivered uint8 // so many messages were handed out by the group
	Floor     uint8 // the lowest message that is not surely decided
	Reach     uint8 // so many were ever handed out
	Fence     uint8 // the counter
	Counts    Counts
	State     uint8 // version of the key of state that commits write

	TrueFloor uint8 // what the floor should be; no script sees it
}

// Tick lets time pass.
func (s *Store) Tick(p Protocol) {
	for i := range s.M {
		m := &s.M[i]
		m.Lock.Left = less(m.Lock.Left)
		m.Due = less(m.Due)
		if m.Consumer != Nobody {
			m.Idle = min(m.Idle+1, p.Lease)
		}
		if m.Lock.Life == LifeShort {
			m.Lock = Lock{}
		}
	}
}

func less(n uint8) uint8 {
	if n == 0 {
		return 0
	}
	return n - 1
}

// claim is XCLAIM with FORCE. A deleted entry leaves the group.
func (s *Store) claim(i int, who Owner, idle uint8) {
	m := &s.M[i]
	if m.Deleted {
		s.ack(i)
		return
	}
	if m.Consumer == Nobody {
		m.Times = 1
	}
	m.Consumer, m.Idle, m.Robbed = who, idle, false
}

// ack is XACK.
func (s *Store) ack(i int) {
	m := &s.M[i]
	m.Consumer, m.Idle, m.Times = Nobody, 0, 0
}

func (s *Store) unindex(i int) { s.M[i].Indexed, s.M[i].Due = false, 0 }

func (s *Store) index(i int, due uint8) { s.M[i].Indexed, s.M[i].Due = true, due }

// pending says whether the group counts the message as handed to who.
func (s *Store) pending(i int, who Owner) bool { return s.Group && s.M[i].Consumer == who }

func (s *Store) draw() uint8 {
	s.Fence++
	return s.Fence
}
