package dispatch

import (
	"slices"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/retry"
)

// A suspect is a message that may kill what runs it: plugins have died under it,
// or hosts were lost while they held it. It runs by itself, in a process that is
// kept for that, while the rest of the role goes on; so whatever dies under it
// has died of it.

// Limits of the suspects that do not count for the window: so that they do not
// keep the role from reading, however long each takes, and are no way either to
// fill the memory of the host.
const (
	maxSuspects     = 1024
	maxSuspectBytes = MaxWindowBytes
)

// noProcess is the number of no process.
const noProcess = -1

// suspects are a role's suspects, in the order in which they run.
type suspects struct {
	waiting []*item
	turn    *item // whose turn it is: it runs, or its grant for that is on the way
	bytes   int   // of the fields of all these
	ran     int   // the process in which another suspect has run, or noProcess
	killing bool  // the process is about to be killed: nothing may begin in it
}

func (s *suspects) len() int {
	if s.turn == nil {
		return len(s.waiting)
	}
	return len(s.waiting) + 1
}

// add has a suspect wait, as the first if it keeps its turn.
func (s *suspects) add(it *item) {
	s.bytes += it.bytes
	if it.first {
		s.waiting = slices.Insert(s.waiting, 0, it)
	} else {
		s.waiting = append(s.waiting, it)
	}
	it.first = false
}

// begin gives the first its turn.
func (s *suspects) begin() { s.turn, s.waiting[0], s.waiting = s.waiting[0], nil, s.waiting[1:] }

// end ends the turn, if it is this one's.
func (s *suspects) end(it *item) {
	if s.turn == it {
		s.turn, s.bytes = nil, s.bytes-it.bytes
	}
}

// drop empties the queue, but for the one whose turn it is.
func (s *suspects) drop() {
	for _, it := range s.waiting {
		s.bytes -= it.bytes
	}
	s.waiting = nil
}

// Suspects is how many messages are to run alone, or do.
func (r *Role) Suspects() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.suspects.len()
}

// suspect says whether a message has to run alone.
func (r *Role) suspect(it *item) bool {
	return retry.Suspect(it.d.Grant, it.d.Entry.Delivered) && r.cfg.Quarantine != nil
}

// nextSuspect gives the suspect that may run now, if there is one.
func (r *Role) nextSuspect(now time.Time) *delivery.Delivery {
	s := &r.suspects
	for len(s.waiting) > 0 && s.turn == nil && s.waiting[0].lost {
		s.begin()
		it := s.turn
		s.end(it)
		r.release(it)
	}
	if len(s.waiting) == 0 || s.turn != nil || s.killing || r.draining {
		return nil
	}
	if !r.cfg.Quarantine.Ready() {
		r.cfg.Quarantine.Wake()
		return nil
	}
	it := s.waiting[0]
	if r.tooLate(it, now) {
		return nil
	}
	s.begin()
	if retry.KillsHosts(it.d.Entry.Delivered) && !it.paid {
		r.pay(it)
		return nil
	}
	return r.runAlone(it, now)
}

// pay charges a message in advance with the death of its host: afterwards there
// may be nobody left to do so. It is refunded with every reply.
func (r *Role) pay(it *item) {
	it.first = true
	paid := uncharged(it.d.Grant)
	paid.Deaths = max(paid.Deaths, retry.MaxDeaths) + 1
	s := r.settlement(it, paid, delivery.Reply{})
	s.pays = true
	r.settleLocked(s)
}

// runAlone makes the delivery of a suspect.
func (r *Role) runAlone(it *item, now time.Time) *delivery.Delivery {
	d := *it.d
	d.Number, d.Timeout, d.More = r.numbers.Add(1), r.cfg.Timeout, nil
	it.d, it.state = &d, out
	it.started, it.since = true, now
	r.out[d.Number] = it
	r.cfg.Observer.Started(it.d)
	r.log.Info("a message runs alone, since what ran it before has ended under it",
		"stream", d.Stream, "id", d.Entry.ID, "deaths", it.grant().Deaths, "handed_out", d.Entry.Delivered)
	return it.d
}

// endTurn ends a suspect's run, and says whether its process has run nothing but
// this message. What another one has left behind may have killed it else: then
// this one keeps its turn, and runs again in a process that is fresh.
func (r *Role) endTurn(it *item, reply *delivery.Reply) (proof bool) {
	s := &r.suspects
	it.started = false
	if reply.Verdict != delivery.Died || !reply.Started {
		s.ran = reply.Plugin.PID
		s.end(it)
		return false
	}
	proof = s.ran != reply.Plugin.PID
	s.ran = noProcess
	if proof || it.lost {
		s.end(it)
	} else {
		it.first = true
	}
	return proof
}

// grant is the grant as it is without what was paid in advance.
func (it *item) grant() delivery.Grant {
	g := it.d.Grant
	if it.paid {
		g.Deaths--
	}
	return g
}

// killSuspect kills the process of a suspect that outlives its timeout and the
// grace. Nothing else begins in it: that would die with it.
func (r *Role) killSuspect(now time.Time) {
	r.mu.Lock()
	it := r.suspects.turn
	if it == nil || it.state != out || !r.overran(it, now) {
		r.mu.Unlock()
		return
	}
	it.overtime, r.suspects.killing = true, true
	id := it.d.Entry.ID
	r.mu.Unlock()
	r.cfg.Quarantine.Kill(r.whyKilled(id))
	r.mu.Lock()
	r.suspects.killing = false
	r.mu.Unlock()
	r.pump()
}

// cancel asks for the end of deliveries, wherever they run.
func (r *Role) cancel(numbers []uint64, cause delivery.Cause) {
	if len(numbers) == 0 {
		return
	}
	r.cfg.Function.Cancel(numbers, cause)
	if q := r.cfg.Quarantine; q != nil && q.Ready() {
		q.Cancel(numbers, cause)
	}
}

// loaded hands answers to loads to whoever has asked.
func (r *Role) loaded(answers []delivery.Loaded) {
	r.cfg.Function.Loaded(answers)
	if q := r.cfg.Quarantine; q != nil && q.Ready() {
		q.Loaded(answers)
	}
}
