package model

import "fmt"

// peace gives the state that follows s if nothing goes wrong any more, and what
// was done; what is empty if nothing is left to do.
func (x *machine) peace(s *State) (next State, what string) {
	calm := *s
	calm.Budget, calm.Lag = Budget{}, 0
	found := false
	y := machine{Setup: x.Setup, Protocol: x.Protocol, says: true, visit: func(to State, _, words string) {
		if !found {
			found, next, what = true, to, words
		}
	}}
	for _, steps := range []func(*State){y.ensure, y.settleAll, y.readAll, y.takeAll, y.wait} {
		if steps(&calm); found {
			break
		}
	}
	return next, what
}

func (x *machine) ensure(s *State) {
	t := *s
	x.Ensure(&t.Store, false)
	x.changed(s, t, "the group is made again")
}

func (x *machine) settleAll(s *State) {
	for h := range Hosts {
		for i := range int(x.Messages) {
			switch hold := s.Hosts[h][i]; hold.Phase {
			case Reserved:
				x.send(s, h, i, Begin)
			case Holding:
				x.send(s, h, i, Done)
			case Settling:
				x.send(s, h, i, hold.Asked)
			}
		}
	}
}

func (x *machine) readAll(s *State) { x.read(s, 0) }

func (x *machine) takeAll(s *State) {
	for i := range int(x.Messages) {
		x.take(s, 0, i)
	}
}

// wait lets time pass while something is left to do.
func (x *machine) wait(s *State) {
	if x.unfinished(&s.Store) == "" {
		return
	}
	t := *s
	t.Store.Tick(x.Protocol)
	x.changed(s, t, "time passes")
}

// unfinished says what is left to do.
func (x *machine) unfinished(s *Store) string {
	for i := range int(x.Messages) {
		m := &s.M[i]
		switch {
		case m.Robbed:
		case m.Results() == 0:
			return fmt.Sprintf("message %d is not decided", i)
		case m.Consumer != Nobody:
			return fmt.Sprintf("message %d is pending", i)
		case m.Indexed:
			return fmt.Sprintf("message %d is in the index", i)
		case m.Lock.Kind == Undecided:
			return fmt.Sprintf("message %d has a lease", i)
		}
	}
	return ""
}
