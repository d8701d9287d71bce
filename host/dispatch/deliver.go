package dispatch

import (
	"container/list"
	"slices"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// item is a message that the role holds: under a lease, or about to be.
type item struct {
	sub      *subscription
	d        *delivery.Delivery
	bytes    int
	state    state
	leased   time.Time // when the lease was last asked for that we have
	lost     bool      // the lease is another's: whatever the function says is void
	started  bool
	since    time.Time // of started
	overtime bool      // it outlived its timeout and grace, and its process was killed for it
	starved  bool      // the store did not answer when its handler asked for state or cache
	place    *list.Element
	due      time.Time   // of delayed
	again    *settlement // of delayed: not another run, but this once more

	followers []*item // that the function has with this one, or whose outcome is settled with its
	leader    *item   // of such a follower
	solo      bool    // it runs by itself from now on: a batch with it has failed
	first     bool    // of a suspect: its turn comes before the others'
	paid      bool    // of a suspect: its grant has one death too many, see pay
}

type state uint8

const (
	reserved state = iota // known, without a lease yet
	waiting               // in the ready queue, in a lane, or a suspect
	out                   // with the function
	settling              // its outcome is on the way to the store
	delayed               // until its next run
)

// admit takes messages whose leases are ours into the role. asked is when the
// leases were asked for.
func (r *Role) admit(items []*item, asked time.Time) {
	verdicts := make([]*delivery.Outcome, len(items))
	for i, it := range items {
		it.d.Message = delivery.Read(&it.d.Entry)
		it.d.Trace = r.trace(it.d)
		verdicts[i] = r.unfit(it.d, asked)
	}
	r.mu.Lock()
	for i, it := range items {
		it.leased = asked
		switch {
		case r.draining:
			r.giveUp(it)
		case verdicts[i] != nil:
			r.settleLocked(r.settlement(it, *verdicts[i], delivery.Reply{}))
		default:
			r.enter(it)
		}
	}
	r.mu.Unlock()
	r.pump()
}

// enter puts a message in its lane; if it is the first there, it may run.
func (r *Role) enter(it *item) {
	if key := it.d.Message.PartitionKey; key != "" {
		r.lanes[key] = append(r.lanes[key], it)
	}
	r.resume(it)
}

// resume has a message wait for its turn in its lane.
func (r *Role) resume(it *item) {
	it.state = waiting
	if key := it.d.Message.PartitionKey; key != "" && r.lanes[key][0] != it {
		return
	}
	r.queue(it)
}

// queue makes a message ready to run, a suspect alone.
func (r *Role) queue(it *item) {
	it.state = waiting
	if r.suspect(it) {
		r.suspects.add(it)
		r.wakeReaders() // it counts no more for the window
		return
	}
	r.ready = append(r.ready, it)
}

// pump hands over all that may run. It is called whenever that may have changed.
func (r *Role) pump() {
	ready := r.cfg.Function.Ready()
	var batch []*delivery.Delivery
	r.mu.Lock()
	now := time.Now()
	if ready {
		batch = r.next(now)
	}
	suspect := r.nextSuspect(now)
	r.mu.Unlock()
	if len(batch) > 0 {
		r.cfg.Function.Deliver(batch)
	}
	if suspect != nil {
		r.cfg.Quarantine.Deliver([]*delivery.Delivery{suspect})
	}
}

// next takes from the queue what may run now.
func (r *Role) next(now time.Time) []*delivery.Delivery {
	var batch []*delivery.Delivery
	if r.draining {
		return nil
	}
	for len(r.ready) > 0 && !r.tooLate(r.ready[0], now) {
		it := r.ready[0]
		r.ready[0], r.ready = nil, r.ready[1:]
		if it.lost {
			r.release(it)
			continue
		}
		batch = append(batch, r.handOver(it, now))
	}
	return batch
}

// tooLate says that a lease is too old to start under: a host that stalled
// between taking it and starting would run beside the message's new owner. The
// lease is renewed first.
func (r *Role) tooLate(it *item, now time.Time) bool {
	if now.Sub(it.leased) <= r.cfg.Lease*2/3 || it.lost {
		return false
	}
	wake(r.renewC)
	return true
}

// handOver makes the delivery that goes to the function. A delivery is never
// changed after it was handed over; another run of the message is another one.
func (r *Role) handOver(it *item, now time.Time) *delivery.Delivery {
	d := *it.d
	d.Number, d.Timeout, d.More = r.numbers.Add(1), r.cfg.Timeout, nil
	r.gather(it, &d, now)
	it.d, it.state = &d, out
	r.out[d.Number] = it
	it.place = r.order.PushBack(it)
	if r.started < r.cfg.Function.Concurrency() && r.frontier == nil {
		r.markStarted(it, now)
	} else if r.frontier == nil {
		r.frontier = it.place
	}
	return it.d
}

// markStarted notes that the function has begun with a delivery: it begins in
// order of arrival, at most `concurrency` at once.
func (r *Role) markStarted(it *item, now time.Time) {
	it.started, it.since = true, now
	r.started++
	for member := range it.members() {
		r.cfg.Observer.Started(member.d)
	}
}

// Replies takes the function's answers; it is the role's Sink. It never blocks.
func (r *Role) Replies(replies []delivery.Reply) {
	now := time.Now()
	items := make([]*item, len(replies))
	proof := make([]bool, len(replies))
	r.mu.Lock()
	for i := range replies {
		items[i], proof[i] = r.takeBack(&replies[i], now)
	}
	r.mu.Unlock()

	settlements := make([]settlement, 0, len(replies))
	for i, it := range items {
		switch {
		case it == nil:
		case len(it.followers) > 0:
			settlements = append(settlements, r.settleTogether(it, replies[i])...)
		default:
			settlements = append(settlements, r.settlement(it, r.cfg.Policy.Decide(it.grant(), replies[i], proof[i]), replies[i]))
		}
	}
	r.mu.Lock()
	for _, s := range settlements {
		r.settleLocked(s)
	}
	r.mu.Unlock()
	r.pump()
}

// takeBack ends a delivery's stay with the function; nil if there is nothing to
// settle. proof says that if its process has died, then of nothing but it.
func (r *Role) takeBack(reply *delivery.Reply, now time.Time) (it *item, proof bool) {
	it = r.out[reply.Number]
	if it == nil {
		return nil, false // answered twice: the generation has logged it
	}
	delete(r.out, reply.Number)
	r.excuse(it, reply)
	if it.place == nil {
		proof = r.endTurn(it, reply)
	} else {
		r.leave(it, now)
	}
	if it.voided() {
		r.void(it)
		return nil, false
	}
	for member := range it.members() {
		member.state = settling
	}
	return it, proof
}

// leave takes an item out of the order of what the function has, and notes that
// the next one has begun.
func (r *Role) leave(it *item, now time.Time) {
	next := it.place.Next()
	if it.place == r.frontier {
		r.frontier = next
	}
	r.order.Remove(it.place)
	it.place = nil
	if r.order.Len() == 0 {
		r.killed = false
	}
	if !it.started {
		return
	}
	it.started = false
	r.started--
	if r.frontier != nil {
		begun := r.frontier.Value.(*item)
		r.frontier = r.frontier.Next()
		r.markStarted(begun, now)
	}
}

// excuse corrects the reply when we ourselves killed the process: the message
// that had outlived its time failed by that, the others were only interrupted.
// So was a handler that failed when it could not have what it asked the store for.
func (r *Role) excuse(it *item, reply *delivery.Reply) {
	switch {
	case reply.Verdict == delivery.Retry && it.starved:
		reply.Verdict = delivery.Interrupted
	case reply.Verdict != delivery.Died:
	case it.overtime:
		reply.Verdict = delivery.Retry
		reply.Error = delivery.Error{Type: "timeout", Message: "handler did not end within " + r.cfg.Timeout.String() + " and did not heed its cancellation", Detail: reply.Error.Detail}
	case r.killed && it.place != nil:
		reply.Verdict = delivery.Interrupted
	}
	it.overtime, it.starved = false, false
}

// release lets go of a message; the next one of its lane may run.
func (r *Role) release(it *item) {
	if it.sub.held[it.d.Entry.ID] == it {
		delete(it.sub.held, it.d.Entry.ID)
		it.sub.bytes -= it.bytes
		r.window.completed(time.Now())
	}
	r.leaveLane(it)
	r.checkEmpty()
	r.wakeReaders()
}

// wakeReaders has the readers look for room.
func (r *Role) wakeReaders() {
	for _, sub := range r.subs {
		wake(sub.roomC)
	}
}

// leaveLane makes the next message of the lane ready, if it was this one's turn
// and that one waits: what has been in a batch may be settled still.
func (r *Role) leaveLane(it *item) {
	key := it.d.Message.PartitionKey
	if key == "" {
		return
	}
	lane := r.lanes[key]
	for i, other := range lane {
		if other != it {
			continue
		}
		if i > 0 {
			lane = slices.Delete(lane, i, i+1)
			break
		}
		lane[0], lane = nil, lane[1:]
		if len(lane) > 0 && lane[0].state == waiting && !r.draining {
			r.queue(lane[0])
		}
		break
	}
	if len(lane) == 0 {
		delete(r.lanes, key)
		return
	}
	r.lanes[key] = lane
}

// checkEmpty tells a drain that nothing is left.
func (r *Role) checkEmpty() {
	if r.readDone && r.heldLocked() == 0 {
		select {
		case <-r.emptied:
		default:
			close(r.emptied)
		}
	}
}
