package model

// Found is what a look at the group finds.
type Found struct {
	Idle, Due [Messages]bool
	NoGroup   bool
}

// Scan is scan.lua.
func (p Protocol) Scan(s *Store) Found {
	if !s.Group {
		return Found{NoGroup: true}
	}
	var found Found
	floor, right := s.Delivered, s.Delivered
	for i := Messages - 1; i >= 0; i-- {
		m := &s.M[i]
		if m.Consumer != Nobody && m.Consumer != Parked {
			floor, right = min(floor, uint8(i)), min(right, uint8(i))
			found.Idle[i] = m.Idle >= p.Lease
		}
		if m.Consumer == Parked && p.Mutant == FloorCountsDelayed {
			floor = min(floor, uint8(i))
		}
		found.Due[i] = m.Indexed && m.Due == 0
	}
	s.Floor, s.TrueFloor = floor, right
	s.Reach = max(s.Reach, s.Delivered)
	return found
}

// Ensure is group.lua. end starts a group that never was at the end of the stream.
func (p Protocol) Ensure(s *Store, end bool) (made bool) {
	if s.Group {
		return false
	}
	lost := s.Floor != NoFloor
	switch {
	case p.Mutant == GroupAtEnd, !lost && end:
		s.Delivered = s.Published
	case lost:
		s.Delivered = s.Floor
	default:
		s.Delivered = 0
	}
	s.Group, s.Floor, s.TrueFloor = true, s.Delivered, s.Delivered
	if !lost {
		s.Reach = 0
	}
	for i := range s.M {
		if lost && s.M[i].Indexed {
			s.claim(i, Parked, 0)
		}
	}
	return true
}

// Promote is promote.lua, for emissions that are due.
func (p Protocol) Promote(s *Store) (added uint8) {
	for i := range s.M {
		m := &s.M[i]
		added += m.Later
		m.Emitted, m.Later = m.Emitted+m.Later, 0
	}
	return added
}

// Trim is trim.lua, of entries that are old: those stay that the group still
// needs, and the last one handed out.
func (p Protocol) Trim(s *Store) (removed uint8) {
	for i := range int(s.Published) {
		m := &s.M[i]
		needed := !s.Group || i+1 >= int(s.Delivered) || s.Floor != NoFloor && i >= int(s.Floor) || m.Consumer != Nobody || m.Indexed
		if p.Mutant == TrimByLength {
			needed = i == int(s.Published)-1
		}
		if needed {
			break
		}
		if !m.Deleted {
			removed++
		}
		m.Deleted = true
	}
	return removed
}

// Reap is reap.lua, for a consumer without a heartbeat; it says whether the
// consumer is removed.
func (p Protocol) Reap(s *Store, who Owner) (removed bool) {
	if p.Mutant != ReapUnguarded {
		for i := range s.M {
			if s.M[i].Consumer == who {
				return false
			}
		}
	}
	s.dropConsumer(who)
	return true
}

// dropConsumer is XGROUP DELCONSUMER: what the consumer held leaves the group.
func (s *Store) dropConsumer(who Owner) {
	for i := range s.M {
		if s.M[i].Consumer == who {
			s.ack(i)
		}
	}
}
