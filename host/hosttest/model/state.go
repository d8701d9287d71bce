package model

// Hosts is how many hosts run at a time.
const Hosts = 2

// Phase is what a host knows of a message.
type Phase uint8

// Phases.
const (
	Free     Phase = iota // nothing
	Reserved              // read, without a lease yet
	Holding               // waits, or runs
	Settling              // an outcome is on its way, until Redis has answered
)

// Kind is what a host asks of Redis.
type Kind uint8

// Kinds of requests.
const (
	Nothing Kind = iota
	Begin
	Done
	Fail  // another attempt, or the dead letter
	Rerun // again, at nobody's cost
	Park
	Renew
	HandBack
	Second // of a mutant: what it does after the commit's first half
)

func (k Kind) String() string {
	return [...]string{"nothing", "begin", "done", "fail", "rerun", "park", "renew", "hand back", "second half"}[k]
}

// A Hold is what a host keeps of one message in memory.
type Hold struct {
	Phase          Phase
	Asked          Kind // while it settles
	Fence, Attempt uint8
}

// A Request is on its way to Redis, and its sender no longer waits for it.
type Request struct {
	Kind           Kind
	Owner          Owner
	Message        uint8
	Fence, Attempt uint8
}

// Budget is how often each fault may still happen.
type Budget struct {
	Crashes   uint8 // of a host
	Failovers uint8 // to a replica that lags
	Lost      uint8 // answers, of what was executed
	Delayed   uint8 // requests that are executed later, at any time
	Parks     uint8 // long delays
	Destroys  uint8 // of the group
	Evictions uint8 // of a lock
	Strangers uint8 // that remove a consumer with what it holds
}

// A State is Redis, its replica, the hosts, and what is on its way.
type State struct {
	Store   Store
	Replica Store
	Lag     uint8 // writes that the replica may still miss; 0: it misses none
	Hosts   [Hosts][Messages]Hold
	Late    Request
	Budget  Budget
}

func owner(host int) Owner { return A + Owner(host) }

// rename gives everything of one owner to another.
func (s *State) rename(from, to Owner) {
	s.eachOwner(func(o *Owner) {
		if *o == from {
			*o = to
		}
	})
}

func (s *State) eachOwner(f func(*Owner)) {
	for _, store := range []*Store{&s.Store, &s.Replica} {
		for i := range store.M {
			f(&store.M[i].Lock.Owner)
			f(&store.M[i].Consumer)
		}
	}
	f(&s.Late.Owner)
}

// swapped is the same state with the hosts' names exchanged.
func (s *State) swapped() State {
	t := *s
	t.eachOwner(func(o *Owner) {
		switch *o {
		case A:
			*o = B
		case B:
			*o = A
		}
	})
	t.Hosts[0], t.Hosts[1] = t.Hosts[1], t.Hosts[0]
	return t
}

// reduce forgets what no transition depends on: the values of fences but their
// order, which is compared for each message alone; what a lock says beyond its
// kind and token once it is decided; and what only the table looks at.
func (s *State) reduce(p Protocol) {
	for i := range Messages {
		s.rankFences(i)
	}
	for _, store := range []*Store{&s.Store, &s.Replica} {
		for i := range store.M {
			store.M[i].reduce(p)
		}
		store.Fence, store.Reach, store.Counts.Retried = topFence, 0, 0
	}
	if s.Lag == 0 {
		s.Replica = Store{}
	}
}

func (m *Message) reduce(p Protocol) {
	l := &m.Lock
	if l.Life != LifeShort {
		l.Life = LifeUnset
	}
	l.Outcome, l.Entry = NoOutcome, NoEntry
	if l.Kind == Decided && (l.Owner == Dead || l.Owner == Nobody) {
		l.Fence = 0
	}
	if p.Mutant != AttemptsFromDeliveries {
		m.Times = 0
	}
	for _, n := range []*uint8{&m.Times, &m.Failures, &m.OKs, &m.Errors, &m.Letters, &l.Attempt} {
		*n = min(*n, 3) // more is as wrong
	}
}

// topFence is above the rank of every fence: two locks, two grants known to have
// been the newest, two hosts and a late request have at most seven.
const topFence = 7

func (s *State) rankFences(i int) {
	var fences [topFence]*uint8
	n := 0
	note := func(f *uint8) {
		if *f != 0 {
			fences[n] = f
			n++
		}
	}
	note(&s.Store.M[i].Lock.Fence)
	note(&s.Store.M[i].Newest)
	if s.Lag > 0 {
		note(&s.Replica.M[i].Lock.Fence)
		note(&s.Replica.M[i].Newest)
	}
	for h := range s.Hosts {
		note(&s.Hosts[h][i].Fence)
	}
	if s.Late.Kind != Nothing && int(s.Late.Message) == i {
		note(&s.Late.Fence)
	}
	rank(fences[:n])
}

// rank replaces values by their ranks, from 1.
func rank(values []*uint8) {
	var old, ranks [topFence]uint8
	for i, v := range values {
		old[i] = *v
	}
	for i := range values {
		var seen uint32
		for j := range values {
			if old[j] < old[i] {
				seen |= 1 << min(old[j], 31)
			}
		}
		for ; seen != 0; seen &= seen - 1 {
			ranks[i]++
		}
	}
	for i, v := range values {
		*v = ranks[i] + 1
	}
}
