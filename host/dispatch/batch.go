package dispatch

import (
	"iter"
	"slices"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/retry"
)

// A batch is several messages of one key that the function has together, if it
// wishes for that: so that a busy key does not cost a delivery and a commit for
// each message. It goes out as one delivery, that of its first message, the
// leader. The others, its followers, stay items of their own, in their place in
// the lane, with leases of their own. They are settled in one commit; or else
// the batch comes apart, and each of its messages runs again, uncharged.

// Limits of a batch.
const (
	MaxBatch      = 128     // messages: one commit holds up the store for everyone
	maxBatchBytes = 1 << 20 // of their entries: a frame's
)

// gather has those that wait behind an item in its lane go with it, as far as
// they may.
func (r *Role) gather(leader *item, d *delivery.Delivery, now time.Time) {
	limit := min(r.cfg.Batch, MaxBatch)
	if limit < 2 || d.Message.PartitionKey == "" || !leader.mayJoin() {
		return
	}
	bytes := leader.bytes
	for _, it := range r.lanes[d.Message.PartitionKey][1:] {
		bytes += it.bytes
		full := len(d.More)+1 == limit || bytes > maxBatchBytes
		if full || it.sub != leader.sub || it.state != waiting || !it.mayJoin() || r.tooLate(it, now) {
			return
		}
		it.state, it.leader = out, leader
		leader.followers = append(leader.followers, it)
		d.More = append(d.More, it.d)
	}
}

// mayJoin says whether an item may run in a batch. What has failed before, in a
// batch or not, runs by itself: so the verdict on it is its own.
func (it *item) mayJoin() bool {
	return !it.solo && !it.lost && it.d.Grant.Attempt <= 1 && it.d.Grant.Deaths == 0 && !retry.KillsHosts(it.d.Entry.Delivered)
}

// members are the items of the batch that an item leads, in their order; it
// alone if it leads none.
func (it *item) members() iter.Seq[*item] {
	followers := it.followers
	return func(yield func(*item) bool) {
		for i, more := 0, yield(it); more && i < len(followers); i++ {
			more = yield(followers[i])
		}
	}
}

// settleTogether makes what the store has to do for a batch: one commit, or the
// next run of each of its messages.
func (r *Role) settleTogether(leader *item, reply delivery.Reply) []settlement {
	why := reply.Error.Message
	switch verdict := reply.Verdict; {
	case verdict == delivery.NotStarted || verdict == delivery.Interrupted || verdict == delivery.Died && !reply.Started:
		return r.apart(leader, false)
	case verdict != delivery.Done:
	case len(reply.Parts) != len(leader.followers):
		why = "its outcome is not one part for each further message"
	default:
		refusal := r.checkTogether(reply)
		if refusal == nil {
			return []settlement{r.composeTogether(leader, reply)}
		}
		why = refusal.Error.Message
	}
	r.log.Warn("a batch failed; its messages run again one by one", "stream", leader.d.Stream, "id", leader.d.Entry.ID,
		"messages", 1+len(leader.followers), "verdict", reply.Verdict.String(), "error", why)
	return r.apart(leader, true)
}

// checkTogether says whether the role may write where the batch emits to.
func (r *Role) checkTogether(reply delivery.Reply) *delivery.Outcome {
	refusal := r.checkEmissions(reply.Emissions)
	for _, p := range reply.Parts {
		if refusal == nil {
			refusal = r.checkEmissions(p.Emissions)
		}
	}
	return refusal
}

// composeTogether makes the one commit of a batch. Each message is taken to have
// cost its share of the handler's time.
func (r *Role) composeTogether(leader *item, reply delivery.Reply) settlement {
	done := delivery.Outcome{Kind: delivery.KindDone}
	reply.Took /= time.Duration(1 + len(leader.followers))
	s := settlement{it: leader, outcome: done, took: reply.Took}
	s.commit, s.status = r.compose(leader.d, done, reply)
	for i, it := range leader.followers {
		p := reply.Parts[i]
		c, _ := r.compose(it.d, done, delivery.Reply{
			Verdict: delivery.Done, Result: p.Result, ContentType: p.ContentType, Emissions: p.Emissions, Took: reply.Took, Plugin: reply.Plugin,
		})
		s.commit.Also = append(s.commit.Also, delivery.Member{Held: c.Held, Outcome: c.Outcome, Adds: c.Adds, Audit: c.Audit, Latency: c.Latency})
	}
	return s
}

// apart ends a batch, or what may be one: each of its messages runs again,
// uncharged; by itself if solo.
func (r *Role) apart(leader *item, solo bool) []settlement {
	settlements := make([]settlement, 0, 1+len(leader.followers))
	for it := range leader.members() {
		it.leader, it.followers, it.solo = nil, nil, it.solo || solo
		settlements = append(settlements, r.settlement(it, uncharged(it.grant()), delivery.Reply{}))
	}
	return settlements
}

// rerunAll has all messages of a batch run again.
func (r *Role) rerunAll(leader *item, solo bool) {
	for _, s := range r.apart(leader, solo) {
		r.settleLocked(s)
	}
}

// void lets go of an item, or of those of a batch, whose lease is lost; what
// else is in the batch runs again.
func (r *Role) void(leader *item) {
	for it := range leader.members() {
		it.state = settling // none may start while the lane is looked at
	}
	for _, s := range r.apart(leader, false) {
		if !s.it.lost {
			r.settleLocked(s)
			continue
		}
		r.cfg.Observer.Stale(s.it.d)
		r.release(s.it)
	}
}

// voided says whether the lease of an item, or of any of its batch, is lost.
func (it *item) voided() bool {
	return it.lost || slices.ContainsFunc(it.followers, func(f *item) bool { return f.lost })
}

// losing notes which items of a batch the store says are another's.
func (it *item) losing(ids []string) {
	for member := range it.members() {
		member.lost = len(it.followers) == 0 || slices.Contains(ids, member.d.Entry.ID)
	}
}
