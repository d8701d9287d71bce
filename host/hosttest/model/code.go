package model

// A Key is a state in few bits; two states have the same one only if they are
// the same but for the hosts' names.
type Key [4]uint64

// A coder writes fields into a key, or reads them from it.
type coder struct {
	key  Key
	at   uint
	read bool
}

func code[T ~uint8](c *coder, v *T, bits uint) {
	word, shift := c.at/64, c.at%64
	if shift+bits > 64 { // no field lies in two words
		word, shift = word+1, 0
		c.at = word * 64
	}
	c.at += bits
	if c.read {
		*v = T(c.key[word] >> shift & (1<<bits - 1))
		return
	}
	if uint64(*v)>>bits != 0 {
		panic("model: a field is too large for its bits")
	}
	c.key[word] |= uint64(*v) << shift
}

func (c *coder) flag(v *bool) {
	var n uint8
	if *v {
		n = 1
	}
	code(c, &n, 1)
	*v = n == 1
}

// Key packs the state.
func (s *State) Key() Key {
	swapped := s.swapped()
	a, b := s.pack(), swapped.pack()
	for i := range a {
		if a[i] != b[i] {
			if a[i] < b[i] {
				return a
			}
			return b
		}
	}
	return a
}

func (s *State) pack() Key {
	var c coder
	s.code(&c)
	return c.key
}

// State unpacks the key of a setup's state.
func (c Setup) State(k Key) State {
	s := State{Store: Store{Published: c.Messages, Fence: topFence}}
	s.code(&coder{key: k, read: true})
	if s.Lag > 0 {
		s.Replica.Published, s.Replica.Fence = c.Messages, topFence
	}
	return s
}

func (s *State) code(c *coder) {
	s.Store.code(c)
	code(c, &s.Lag, 3)
	if s.Lag > 0 {
		s.Replica.code(c)
	}
	for h := range s.Hosts {
		for i := range s.Hosts[h] {
			s.Hosts[h][i].code(c)
		}
	}
	s.Late.code(c)
	s.Budget.code(c)
}

func (s *Store) code(c *coder) {
	for i := range s.M {
		s.M[i].code(c)
	}
	c.flag(&s.Group)
	code(c, &s.Delivered, 2)
	code(c, &s.Floor, 2)
	code(c, &s.TrueFloor, 2)
	code(c, &s.Counts.OK, 2)
	code(c, &s.Counts.Error, 2)
}

func (m *Message) code(c *coder) {
	c.flag(&m.Deleted)
	m.Lock.code(c)
	code(c, &m.Consumer, 3)
	code(c, &m.Idle, 1)
	code(c, &m.Times, 2)
	c.flag(&m.Indexed)
	code(c, &m.Due, 1)
	code(c, &m.OKs, 2)
	code(c, &m.Errors, 2)
	code(c, &m.Letters, 2)
	code(c, &m.Failures, 2)
	code(c, &m.Newest, 3)
	c.flag(&m.Expired)
	c.flag(&m.Evicted)
	c.flag(&m.Robbed)
}

func (l *Lock) code(c *coder) {
	code(c, &l.Kind, 2)
	code(c, &l.Owner, 3)
	code(c, &l.Fence, 3)
	code(c, &l.Attempt, 2)
	code(c, &l.Left, 1)
	code(c, &l.Life, 3)
}

func (h *Hold) code(c *coder) {
	code(c, &h.Phase, 2)
	code(c, &h.Asked, 4)
	code(c, &h.Fence, 3)
	code(c, &h.Attempt, 2)
}

func (r *Request) code(c *coder) {
	code(c, &r.Kind, 4)
	code(c, &r.Owner, 3)
	code(c, &r.Message, 1)
	code(c, &r.Fence, 3)
	code(c, &r.Attempt, 2)
}

func (b *Budget) code(c *coder) {
	code(c, &b.Crashes, 2)
	code(c, &b.Lost, 2)
	code(c, &b.Parks, 2)
	for _, n := range []*uint8{&b.Failovers, &b.Delayed, &b.Destroys, &b.Evictions, &b.Strangers} {
		code(c, n, 1)
	}
}
