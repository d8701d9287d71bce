package dispatch

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// Log is one subscription's stream, group, locks and outcomes. Each method takes
// many messages at once, is safe for concurrent use, and answers in the order it
// was asked. Begin, Renew, Commit and Rerun may be repeated after an unknown
// outcome: the token makes them idempotent.
type Log interface {
	// Read waits for new entries, up to count, and gives none when its own
	// waiting time has passed. It must be called by one goroutine at a time.
	Read(ctx context.Context, count int) ([]delivery.Entry, error)
	// Reconcile gives the entries that the group counts as ours and that held
	// does not know: those of a read whose answer was lost.
	Reconcile(ctx context.Context, held func(id string) bool) ([]delivery.Entry, error)
	// Begin takes the lease of each entry, or says why not.
	Begin(ctx context.Context, entries []delivery.Entry) ([]delivery.Lease, error)
	// Renew keeps leases; Stale and Decided are no longer ours.
	Renew(ctx context.Context, held []delivery.Held) ([]delivery.Lease, error)
	// Commit makes outcomes true, all or nothing each.
	Commit(ctx context.Context, commits []delivery.Commit) ([]delivery.CommitResult, error)
	// Rerun gives new grants to messages that we hold.
	Rerun(ctx context.Context, reruns []delivery.Rerun) ([]delivery.Lease, error)
	// HandBack gives up leases so that another host may take the messages at once.
	HandBack(ctx context.Context, held []delivery.Held) error
	// AwaitReclaim waits until Reclaim may find something: at most about a second
	// longer than there is nothing, and again and again while there is something
	// left. An error is the store's, about one a second, or ctx's.
	AwaitReclaim(ctx context.Context) error
	// Reclaim takes over what nobody has renewed for a lease, and what was
	// parked and is due; skip names what we hold. It looks at a bounded part of
	// the group and remembers where it was. lost are entries that were deleted
	// before they had an outcome. After a start, and after the store could not be
	// reached, leases that lapsed are left alone for one lease: their owners may
	// not have been able to renew them.
	Reclaim(ctx context.Context, skip func(id string) bool, room int) (taken []delivery.Reclaimed, lost []string, err error)
	// Load reads keyed state and cache of the role, all as of one moment.
	Load(ctx context.Context, loads ...delivery.Load) []delivery.Loaded
	// Unblock ends a Read that waits, and keeps the next ones from waiting.
	Unblock()
}

// Function is the role's function, whichever generation of it is active.
type Function interface {
	// Deliver hands deliveries over. It never blocks. Each gets exactly one
	// reply through the sink that the function was given.
	Deliver(deliveries []*delivery.Delivery)
	// Cancel asks for the end of deliveries; each still gets its one reply.
	Cancel(numbers []uint64, cause delivery.Cause)
	// Loaded answers loads that came through the sink.
	Loaded(loaded []delivery.Loaded)
	// Ready says whether a generation can take deliveries. While it cannot, the
	// role's reads are paused.
	Ready() bool
	// Changed is signalled when Ready may have changed.
	Changed() <-chan struct{}
	// Concurrency is how many handlers run at once.
	Concurrency() int
	// Kill ends the process of the active generation, which is then replaced;
	// what it had gets a reply of Died.
	Kill(reason string)
}

// Quarantine is a process of the function for messages that may kill it. It has
// one delivery at a time, and answers through the function's sink; its loads have
// other numbers than the function's. It is not ready until it was woken.
type Quarantine interface {
	Function
	// Wake has it start, if it has not; Changed tells when it is ready, or may be
	// woken again since it could not start.
	Wake()
}

// Sink takes what a function has to say. Its methods never block.
type Sink interface {
	Replies([]delivery.Reply)
	Loads([]delivery.Load)
}

// Observer is told what happens to messages, for metrics and audit. Its methods
// never block, and may be called under the role's lock.
type Observer interface {
	Received(sub topology.Subscription, entries []delivery.Entry)
	Reclaimed(d *delivery.Delivery)
	Started(d *delivery.Delivery)
	Retried(d *delivery.Delivery, outcome delivery.Outcome)
	// Finished follows a commit. status is the result's, or `discarded`.
	Finished(d *delivery.Delivery, status, reason string, took, latency time.Duration)
	Lost(sub topology.Subscription, id string)
	// Stale is a commit, or a lease, that turned out to be another host's.
	Stale(d *delivery.Delivery)
	StoreError(sub topology.Subscription, operation string, err error)
}
