package model

// Invariants by name: what Explore says is broken.
const (
	I1 = "I1: a message is unread, pending, waiting, or decided"
	I2 = "I2: a message has one result at most"
	I3 = "I3: a message has an error's result if and only if it has a dead letter"
	I4 = "I4: a done mark has its result"
	I5 = "I5: attempts are failures, and all of them"
	I6 = "I6: a commit is accepted only under the newest fence"
	I7 = "I7: left in peace, every message is decided, and nothing stays pending"
	I8 = "I8: the counts are those of the results"
	I9 = "I9: a lease that runs is not taken"
	IA = "I11: what is not decided is not trimmed"
	H1 = "H1: the group holds for a host what it was granted"
	H2 = "H2: an outcome is refused only if the message is another's"
	H4 = "H4: what is decided is not run again"
	H3 = "H3: what is repeated answers the same and does nothing more"
)

// broken says which invariant of a state does not hold; empty: none.
func (x *machine) broken(s *Store) string {
	var oks, errs uint8
	for i := range int(x.Messages) {
		m := &s.M[i]
		oks, errs = oks+m.OKs, errs+m.Errors
		switch {
		case m.Results() > 1 || m.Letters > 1:
			return I2
		case m.Errors != m.Letters:
			return I3
		case m.Lock.Kind == Decided && m.Results() == 0:
			return I4
		case m.Deleted && m.Results() == 0:
			return IA
		case m.Results() == 0 && !m.Robbed && !s.reachable(i):
			return I1
		}
	}
	if s.Counts.OK != oks || s.Counts.Error != errs {
		return I8
	}
	return ""
}

// reachable says whether some host will meet the message: by reading, by its
// look at the group, or by the group's being made again.
func (s *Store) reachable(i int) bool {
	m := &s.M[i]
	switch {
	case m.Indexed:
		return true
	case !s.Group:
		return i >= int(s.Floor)
	}
	return i >= int(s.Delivered) || m.Consumer != Nobody && m.Consumer != Parked
}

// judge says which promise an answer has broken.
func (x *machine) judge(before, after *Store, r Request, a Answer) string {
	was, is := &before.M[r.Message], &after.M[r.Message]
	switch a.Status {
	case Granted, Taken:
		return x.judgeGrant(was, is, r, a)
	case Committed:
		fresh := is.Results() > was.Results()
		fresh = fresh && r.Kind != Second
		switch {
		case fresh && was.Lock.Kind == NoLock && was.Consumer != r.Owner: // without a lock the group says whose it is
			return I6
		case fresh && r.Fence < was.Newest && !was.Evicted:
			return I6
		case fresh && is.Errors > was.Errors && is.Failures != x.Attempts:
			return I5
		}
	case Lost:
		if was.Lock.ours(r.Owner, Held{Fence: r.Fence}) || was.Lock.Kind == NoLock && before.pending(int(r.Message), r.Owner) {
			return H2
		}
	}
	return ""
}

func (x *machine) judgeGrant(was, is *Message, r Request, a Answer) string {
	again := r.Kind == Begin || r.Kind == Renew || r.Kind == Park // a group that was lost gets the entry with the next renewal
	switch {
	case r.Kind != Renew && r.Kind != Park && is.Results() > 0:
		return H4
	case !is.Deleted && r.Kind != Begin && r.Kind != Park && is.Consumer != r.Owner && !answeredBefore(was, r):
		return H1
	case was.Lock.Kind == Undecided && was.Lock.Left > 0 && was.Lock.Owner != r.Owner && was.Lock.Owner != Nobody:
		return I9
	case r.Kind != Renew && a.Attempt != is.Failures+1:
		return I5
	case !again && r.Kind != Nothing && a.Fence <= r.Fence:
		return I6
	}
	return ""
}

// answeredBefore says whether the request repeats one that was executed.
func answeredBefore(was *Message, r Request) bool {
	return was.Lock.Kind == Undecided && was.Lock.Fence > r.Fence && r.Kind != Nothing
}

// judgeRepeat makes a request once more, as after a lost answer.
func (x *machine) judgeRepeat(s *Store, r Request, a Answer) string {
	switch r.Kind {
	case HandBack, Second:
		return "" // its answer is not used
	case Renew:
		r.Fence = max(r.Fence, a.Fence)
	}
	if a.Status == NoGroup || a.Status == Lost || a.Status == Stale {
		return ""
	}
	t := *s
	again := x.perform(&t, r)
	if again.Status != a.Status || again.Fence != a.Fence || t.M[r.Message].Results() != s.M[r.Message].Results() {
		if r.Kind != Begin || a.Status == Granted {
			return H3
		}
	}
	return ""
}
