package dispatch

import (
	"context"
	"time"

	goretry "github.com/sethvargo/go-retry"

	"github.com/fnhost/fnhost/host/delivery"
)

const (
	// memoryDelay is the longest delay that waits in memory, under our lease;
	// after a longer one anybody may take the message over.
	memoryDelay = 5 * time.Second
	// maxDelayed bounds the messages that wait so, apart from the window.
	maxDelayed = 4096
)

// A settlement is an outcome on its way to the store: one of commit, rerun and
// give-up.
type settlement struct {
	it      *item
	outcome delivery.Outcome
	commit  *delivery.Commit
	rerun   *delivery.Rerun
	giveUp  bool
	pays    bool   // of rerun: see pay
	status  string // of commit
	took    time.Duration
}

// settlement makes what the store has to do for an outcome.
func (r *Role) settlement(it *item, outcome delivery.Outcome, reply delivery.Reply) settlement {
	s := settlement{it: it, outcome: outcome, took: reply.Took}
	if outcome.Kind == delivery.KindDone {
		if refusal := r.checkEmissions(reply.Emissions); refusal != nil {
			s.outcome = *refusal
		}
	}
	if s.outcome.Kind == delivery.KindRerun {
		s.rerun = r.rerunOf(it, s.outcome)
	} else {
		s.commit, s.status = r.compose(it.d, s.outcome, reply)
	}
	return s
}

func (r *Role) rerunOf(it *item, outcome delivery.Outcome) *delivery.Rerun {
	rerun := &delivery.Rerun{
		Held:    delivery.Held{ID: it.d.Entry.ID, Grant: it.d.Grant},
		Attempt: outcome.Attempt, Deaths: outcome.Deaths, Delay: outcome.Delay,
	}
	if outcome.Charged {
		rerun.Audit = r.auditRetry(it.d, outcome)
	}
	return rerun
}

// giveUp hands a waiting message back, so that another host may take it at once.
func (r *Role) giveUp(it *item) { r.settleLocked(settlement{it: it, giveUp: true}) }

// settleLocked queues a settlement.
func (r *Role) settleLocked(s settlement) {
	s.it.state = settling
	s.it.sub.settling = append(s.it.sub.settling, s)
	wake(s.it.sub.settleC)
}

// settle takes whatever outcomes are ready to the store, all at once: a lone one
// at once, a backlog in large batches.
func (r *Role) settle(ctx context.Context, sub *subscription) {
	var spare []settlement // two slices take turns: one fills while the other is settled
	for {
		select {
		case <-ctx.Done():
			return
		case <-sub.settleC:
		}
		r.mu.Lock()
		batch := sub.settling
		sub.settling = spare
		r.mu.Unlock()
		r.settleBatch(ctx, sub, batch)
		clear(batch)
		spare = batch[:0]
	}
}

func (r *Role) settleBatch(ctx context.Context, sub *subscription, batch []settlement) {
	commits := batch[:0] // nearly all are: they stay where they are
	var reruns, givenUp []settlement
	for _, s := range batch {
		switch {
		case s.commit != nil:
			commits = append(commits, s)
		case s.rerun != nil && !r.handBackInstead(&s):
			reruns = append(reruns, s)
		default:
			givenUp = append(givenUp, s)
		}
	}
	r.commit(ctx, sub, commits)
	r.rerun(ctx, sub, reruns)
	r.handBack(ctx, sub, givenUp)
}

// handBackInstead decides how a message that runs again leaves or stays: a drain
// keeps nothing. What was charged or delayed must be written down all the same.
func (r *Role) handBackInstead(s *settlement) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	keyed := s.it.d.Message.PartitionKey != "" // parked, it would lose its place in its lane
	full := len(r.delays) >= maxDelayed
	s.rerun.Park = r.draining || full && s.rerun.Delay > 0 || s.rerun.Delay > memoryDelay && !keyed
	return r.draining && s.rerun.Delay == 0 && s.rerun.Attempt == s.it.d.Grant.Attempt && s.rerun.Deaths == s.it.d.Grant.Deaths
}

func (r *Role) commit(ctx context.Context, sub *subscription, batch []settlement) {
	if len(batch) == 0 {
		return
	}
	commits := make([]delivery.Commit, len(batch))
	for i, s := range batch {
		commits[i] = *s.commit
	}
	var results []delivery.CommitResult
	if !r.insist(ctx, sub, "commit", func(ctx context.Context) (err error) {
		results, err = sub.Log.Commit(ctx, commits)
		return err
	}) {
		return
	}
	for i, result := range results {
		if result.Status == delivery.Committed {
			r.finished(batch[i])
		}
	}
	r.mu.Lock()
	for i, result := range results {
		r.committed(batch[i], result)
	}
	r.mu.Unlock()
	r.pump()
}

// finished tells of the messages of a commit.
func (r *Role) finished(s settlement) {
	r.cfg.Observer.Finished(s.it.d, s.status, s.outcome.Reason, s.took, s.commit.Latency)
	for i, it := range s.it.followers {
		r.cfg.Observer.Finished(it.d, s.status, "", s.took, s.commit.Also[i].Latency)
	}
}

// committed acts on the store's answer to one commit.
func (r *Role) committed(s settlement, result delivery.CommitResult) {
	switch result.Status {
	case delivery.Committed:
		for it := range s.it.members() {
			r.release(it)
		}
	case delivery.CommitLost:
		s.it.losing(result.Lost)
		r.void(s.it)
	case delivery.Conflict:
		r.rerunAll(s.it, false)
	case delivery.Refused:
		r.refused(s, result)
	}
}

// uncharged runs a message again, on fresh state, at nobody's cost.
func uncharged(g delivery.Grant) delivery.Outcome {
	return delivery.Outcome{Kind: delivery.KindRerun, Attempt: g.Attempt, Deaths: g.Deaths}
}

// refused makes a dead letter of what a target could not take. If the dead
// letter itself is refused, the message stays ours and is tried again: nothing
// is lost, and an operator can mend the stream.
func (r *Role) refused(s settlement, result delivery.CommitResult) {
	if len(s.it.followers) > 0 { // one by one, it is seen whose entry it is
		r.rerunAll(s.it, true)
		return
	}
	if s.outcome.Kind != delivery.KindDead {
		dead := delivery.Outcome{Kind: delivery.KindDead, Reason: delivery.ReasonPermanent,
			Error: delivery.Error{Type: "refused", Message: result.Reason}}
		r.settleLocked(r.settlement(s.it, dead, delivery.Reply{Took: s.took}))
		return
	}
	r.log.Error("a dead letter cannot be written; the message is kept and tried again",
		"stream", s.it.d.Stream, "id", result.ID, "reason", result.Reason)
	s.it.again = &s
	r.delay(s.it, time.Now().Add(memoryDelay))
}

// delay keeps a message until it is due, under its lease.
func (r *Role) delay(it *item, due time.Time) {
	it.state, it.due = delayed, due
	r.delays.add(it)
	wake(r.timerC)
	r.wakeReaders() // it counts no more for the window
}

func (r *Role) rerun(ctx context.Context, sub *subscription, batch []settlement) {
	if len(batch) == 0 {
		return
	}
	reruns := make([]delivery.Rerun, len(batch))
	for i, s := range batch {
		reruns[i] = *s.rerun
	}
	var leases []delivery.Lease
	asked := time.Now()
	if !r.insist(ctx, sub, "rerun", func(ctx context.Context) (err error) {
		asked = time.Now()
		leases, err = sub.Log.Rerun(ctx, reruns)
		return err
	}) {
		return
	}
	for i, lease := range leases {
		if lease.Status == delivery.Granted && batch[i].outcome.Charged {
			r.cfg.Observer.Retried(batch[i].it.d, batch[i].outcome)
		}
	}
	r.mu.Lock()
	for i, lease := range leases {
		r.regranted(batch[i], lease, asked)
	}
	r.mu.Unlock()
	r.pump()
}

// regranted puts a message with its new grant where it waits for its next run.
func (r *Role) regranted(s settlement, lease delivery.Lease, asked time.Time) {
	it := s.it
	r.suspects.end(it)
	it.paid = s.pays
	if lease.Status != delivery.Granted {
		r.cfg.Observer.Stale(it.d)
		r.release(it)
		return
	}
	if s.rerun.Park {
		r.release(it)
		return
	}
	d := *it.d // the old one may still be looked at
	d.Grant = lease.Grant
	d.Trace = r.trace(&d)
	it.d, it.leased = &d, asked
	switch {
	case r.draining && it.paid:
		r.rerunAll(it, false) // its refund is written down
	case r.draining:
		r.giveUp(it)
	case s.rerun.Delay > 0:
		r.delay(it, asked.Add(s.rerun.Delay))
	default:
		r.resume(it)
	}
}

func (r *Role) handBack(ctx context.Context, sub *subscription, batch []settlement) {
	if len(batch) == 0 {
		return
	}
	held := make([]delivery.Held, len(batch))
	for i, s := range batch {
		held[i] = delivery.Held{ID: s.it.d.Entry.ID, Grant: s.it.d.Grant}
	}
	r.insist(ctx, sub, "hand_back", func(ctx context.Context) error { return sub.Log.HandBack(ctx, held) })
	r.mu.Lock()
	for _, s := range batch {
		r.release(s.it)
	}
	r.mu.Unlock()
}

// insist repeats a call to the store until it works or ctx ends, with pauses
// that double up to a second. Meanwhile the leases are renewed by others, and
// nothing is cancelled: the call itself decides what is still ours.
func (r *Role) insist(ctx context.Context, sub *subscription, operation string, call func(context.Context) error) bool {
	pauses := goretry.WithCappedDuration(time.Second, goretry.NewExponential(20*time.Millisecond))
	err := goretry.Do(ctx, pauses, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		err := call(ctx)
		r.store(sub, operation, err)
		return goretry.RetryableError(err) // nil stays nil
	})
	return err == nil
}
