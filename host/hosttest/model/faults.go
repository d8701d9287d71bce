package model

// crash ends host h; it comes back under another name, with nothing in memory.
func (x *machine) crash(s *State, h int) {
	if s.Budget.Crashes == 0 {
		return
	}
	t := *s
	t.Budget.Crashes--
	t.Hosts[h] = [Messages]Hold{}
	after := Dead
	if t.Late.Kind != Nothing && t.Late.Owner == owner(h) {
		after = Ghost
	}
	t.rename(owner(h), after)
	x.step(&t, "", "%c crashes", 'A'+h)
}

// faults is what may go wrong with Redis.
func (x *machine) faults(s *State) {
	x.failover(s)
	if s.Budget.Destroys > 0 && s.Store.Group && x.mayDestroy(&s.Store) {
		t := *s
		t.Budget.Destroys--
		t.Store.Group, t.Store.Delivered = false, 0
		for i := range t.Store.M {
			t.Store.ack(i)
		}
		t.age(s)
		x.step(&t, "", "the group is destroyed")
	}
	if s.Budget.Strangers > 0 {
		for _, who := range []Owner{A, B, Dead, Parked} {
			x.stranger(s, who)
		}
	}
	for i := range int(x.Messages) {
		x.loseLock(s, i)
	}
}

// failover goes back to what the replica has, which is a copy of some moment
// before. The hosts know what they know.
func (x *machine) failover(s *State) {
	if s.Budget.Failovers == 0 {
		return
	}
	t := *s
	if s.Lag == 0 {
		t.Replica, t.Lag = s.Store, x.Lag
		x.step(&t, "", "the replica falls behind")
		return
	}
	t.Store, t.Replica, t.Lag = s.Replica, Store{}, 0
	t.Budget.Failovers--
	x.step(&t, "", "the replica is promoted")
}

// mayDestroy keeps to the documented limit: what was decided above the floor so
// long ago that its mark is gone runs again if the group is destroyed.
func (x *machine) mayDestroy(s *Store) bool {
	for i := range int(x.Messages) {
		if s.M[i].Expired && i >= int(s.TrueFloor) {
			return false
		}
	}
	return true
}

// stranger removes a consumer with what was handed to it.
func (x *machine) stranger(s *State, who Owner) {
	t := *s
	for i := range t.Store.M {
		t.Store.M[i].Robbed = t.Store.M[i].Robbed || t.Store.M[i].Consumer == who
	}
	t.Store.dropConsumer(who)
	t.Budget.Strangers--
	x.changed(s, t, "a stranger removes a consumer")
}

// loseLock evicts an undecided lock, or lets a done mark end.
func (x *machine) loseLock(s *State, i int) {
	m := &s.Store.M[i]
	t := *s
	switch {
	case m.Lock.Kind == Undecided && s.Budget.Evictions > 0:
		t.Budget.Evictions--
		t.Store.M[i].Evicted = true
	case m.Lock.Kind == Decided && x.Expiry && s.Store.Group && m.Consumer == Nobody && !m.Indexed && i < int(s.Store.TrueFloor):
		t.Store.M[i].Expired = true
	default:
		return
	}
	t.Store.M[i].Lock = Lock{}
	t.age(s)
	x.step(&t, "", "the lock of message %d is gone", i)
}
