package stream

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// lockLife is how long an undecided lock outlives its last renewal: as long as
// attempts and deaths are remembered.
const lockLife = 24 * time.Hour

// LogOptions of one subscription's log.
type LogOptions struct {
	Owner   string        // the consumer name, `host:incarnation`; fresh at every start, without '|'
	Lease   time.Duration // of a running message
	DoneTTL time.Duration // how long a done mark is kept
	Block   time.Duration // how long Read waits; 0 or more than 5 s: 5 s
	// ShortBlock waits 250 ms at most, for a server without CLIENT UNBLOCK (the
	// embedded one).
	ShortBlock bool
	// Durability is what a commit waits for; zero: nothing.
	Durability Durability
	// DLQ is the role's dead-letter stream: what trimming drops from it is counted.
	DLQ string
	// Observer is told what only the log sees; nil: nobody is.
	Observer Observer
}

// Observer is told what only a log sees. Its methods must not block.
type Observer interface {
	// Recreated is told of a group that was gone and has been made again.
	Recreated(c Created)
	// Replayed is told of messages that a group which was made again has handed
	// out once more, and that have no outcome that anybody remembers: most of them
	// had one, longer ago than OPS_IDEMP_TTL.
	Replayed(sub topology.Subscription, ids []string)
	// Floor is told, every second, the age of the lowest undecided message while
	// later ones were handed out, else 0. Past OPS_IDEMP_TTL, a loss of the group
	// would run some again that are decided.
	Floor(sub topology.Subscription, age time.Duration)
	// DeadLettersTrimmed is told that adding to the dead-letter stream has dropped
	// the n oldest; first is the id of the oldest that is left.
	DeadLettersTrimmed(dlq string, n int64, first string)
}

type nobody struct{}

func (nobody) Recreated(Created)                          {}
func (nobody) Replayed(topology.Subscription, []string)   {}
func (nobody) Floor(topology.Subscription, time.Duration) {}
func (nobody) DeadLettersTrimmed(string, int64, string)   {}

// A Log is one subscription's stream, group, locks and outcomes.
type Log struct {
	c   *Client
	sub topology.Subscription
	o   LogOptions

	stream, fence, floor, reach, delayed string // keys
	lockPrefix                           string

	reader *redis.Client
	connID atomic.Int64  // of the reader's connection; 0: not known
	block  atomic.Int64  // ns
	asked  atomic.Bool   // an Unblock that no Read has seen yet
	mu     sync.Mutex    // guards what follows
	read   chan struct{} // closed when the running Read ends; nil: none runs
	cursor string        // where the next look for idle entries begins
	since  time.Time     // since when Redis has answered without a break
	full   time.Time     // when Redis last was out of memory
	again  string        // up to this id the group hands out for the second time; empty: it does not

	looked, scanned string // the group's state at the last look, and at that before the last scan; see lookout.go
	scannedAt       time.Time
}

// Log gives the log of a subscription. It is closed with the client.
func (c *Client) Log(sub topology.Subscription, o LogOptions) *Log {
	if o.Observer == nil {
		o.Observer = nobody{}
	}
	l := &Log{
		c: c, sub: sub, o: o,
		stream: c.keys.Stream(sub.Stream), fence: c.keys.Fence(sub.Stream),
		floor: c.keys.Floor(sub.Stream, sub.Group), reach: c.keys.Reach(sub.Stream, sub.Group),
		delayed:    c.keys.Delayed(sub.Stream, sub.Group),
		lockPrefix: c.keys.LockPrefix(sub),
		cursor:     "-", since: time.Now(),
	}
	l.block.Store(int64(blockFor(o)))
	var hello func(context.Context, *redis.Conn) error
	if !o.ShortBlock {
		hello = l.connected
	}
	l.reader = c.reader(blockFor(o), hello)
	return l
}

func blockFor(o LogOptions) time.Duration {
	switch {
	case o.ShortBlock:
		return shortBlock
	case o.Block <= 0 || o.Block > maxBlock:
		return maxBlock
	}
	return max(o.Block, time.Millisecond) // less would mean for ever
}

func (l *Log) lock(id string) string { return l.lockPrefix + id }

// call begins a script's call with what they all have in common.
func (l *Log) call(n int, keys ...string) call {
	c := call{keys: make([]string, 1, 1+len(keys)+n), args: make([]any, 2, 6+5*n)}
	c.keys[0] = l.stream
	c.keys = append(c.keys, keys...)
	c.args[0], c.args[1] = l.sub.Group, l.o.Owner
	return c
}

// Begin takes the lease of each entry, or says why not: decided (and
// acknowledged), busy, or stale (not handed to us any more).
func (l *Log) Begin(ctx context.Context, entries []delivery.Entry) ([]delivery.Lease, error) {
	var calls []call
	for chunk := range chunks(entries, maxBatch) {
		c := l.call(len(chunk), l.fence, l.delayed)
		c.args = append(c.args, l.o.Lease.Milliseconds(), lockLife.Milliseconds(), parkedConsumer)
		for i := range chunk {
			c.keys = append(c.keys, l.lock(chunk[i].ID))
			c.args = append(c.args, &chunk[i].ID)
		}
		calls = append(calls, c)
	}
	rows, err := l.rows(ctx, l.c.commands, beginScript, calls, 1)
	if err != nil {
		return nil, l.failed(ctx, err, "take the leases of %d messages", len(entries))
	}
	if len(rows) != len(entries) {
		return nil, errShort(len(rows), len(entries))
	}
	leases := make([]delivery.Lease, len(rows))
	for i, row := range rows {
		leases[i] = begun(entries[i].ID, text(row[0]))
	}
	l.tellReplayed(leases)
	return leases, nil
}

// tellReplayed tells of messages that a group made anew has handed out for the
// second time, and that begin as if for the first.
func (l *Log) tellReplayed(leases []delivery.Lease) {
	again := l.handsOutAgain()
	if again == "" {
		return
	}
	var ids []string
	for _, lease := range leases {
		if lease.Status == delivery.Granted && lease.Attempt == 1 && lease.Deaths == 0 && delivery.CompareIDs(lease.ID, again) <= 0 {
			ids = append(ids, lease.ID)
		}
	}
	if len(ids) > 0 {
		l.o.Observer.Replayed(l.sub, ids)
	}
}

func (l *Log) handsOutAgain() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.again
}

func (l *Log) setAgain(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = id
}

// begun reads an answer of begin.lua: a lock's value, or why there is none.
func begun(id, answer string) delivery.Lease {
	switch answer {
	case "decided":
		return delivery.Lease{ID: id, Status: delivery.Decided}
	case "busy":
		return delivery.Lease{ID: id, Status: delivery.Busy}
	case "stale":
		return delivery.Lease{ID: id, Status: delivery.Stale}
	}
	_, answer, _ = strings.Cut(answer, "|")
	_, answer, _ = strings.Cut(answer, "|") // the owner is ours
	fence, answer, _ := strings.Cut(answer, "|")
	attempt, answer, _ := strings.Cut(answer, "|")
	deaths, _, _ := strings.Cut(answer, "|")
	return delivery.Lease{ID: id, Status: delivery.Granted, Grant: grant(fence, attempt, deaths)}
}

// Renew keeps the leases of what we hold. It goes a way of its own, so that a
// large commit does not delay it.
func (l *Log) Renew(ctx context.Context, held []delivery.Held) ([]delivery.Lease, error) {
	rows, err := l.rows(ctx, l.c.renewals, renewScript, l.heldCalls(held), 1)
	if err != nil {
		return nil, l.failed(ctx, err, "renew the leases of %d messages", len(held))
	}
	if len(rows) != len(held) {
		return nil, errShort(len(rows), len(held))
	}
	out := make([]delivery.Lease, len(held))
	for i := range held {
		out[i] = delivery.Lease{ID: held[i].ID, Status: delivery.GrantStatus(number(rows[i][0])), Grant: held[i].Grant}
	}
	return out, nil
}

// HandBack gives up leases, so that any host may take the messages at once,
// with their attempts kept. What is no longer ours is left alone.
func (l *Log) HandBack(ctx context.Context, held []delivery.Held) error {
	for _, cmd := range runAll(ctx, l.c.commands, handBackScript, l.heldCalls(held)) {
		if err := cmd.Err(); err != nil {
			return l.failed(ctx, err, "hand back %d messages", len(held))
		}
	}
	return nil
}

// heldCalls are the calls of a script that takes a list of held messages, at
// most maxRenew each: more would hold up Redis.
func (l *Log) heldCalls(held []delivery.Held) []call {
	var calls []call
	for chunk := range chunks(held, maxRenew) {
		c := l.call(len(chunk))
		c.args = append(c.args, l.o.Lease.Milliseconds(), lockLife.Milliseconds())
		for _, h := range chunk {
			c.keys = append(c.keys, l.lock(h.ID))
			c.args = append(c.args, h.ID, h.Fence, h.Attempt, h.Deaths)
		}
		calls = append(calls, c)
	}
	return calls
}

// rows runs the calls and cuts their answers into rows of n values, in order.
func (l *Log) rows(ctx context.Context, rdb *redis.Client, s *redis.Script, calls []call, n int) ([][]any, error) {
	var rows [][]any
	for _, cmd := range runAll(ctx, rdb, s, calls) {
		reply, err := cmd.Result()
		if err != nil {
			return nil, err
		}
		flat, err := list(reply, -1)
		if err != nil {
			return nil, err
		}
		for i := 0; i+n <= len(flat); i += n {
			rows = append(rows, flat[i:i+n])
		}
	}
	return rows, nil
}

func leases(rows [][]any, id func(int) string) []delivery.Lease {
	out := make([]delivery.Lease, len(rows))
	for i, row := range rows {
		out[i] = delivery.Lease{ID: id(i), Status: delivery.GrantStatus(number(row[0])), Grant: grant(row[1], row[2], row[3])}
	}
	return out
}

// failed says what could not be done. A group that is gone is made again on the
// way, so that the caller's next try finds it; after a break in Redis's service
// others' leases are respected for a lease, since nobody could renew meanwhile;
// and while Redis is out of memory nothing is taken over. After a silence the
// other connections are given up too.
func (l *Log) failed(ctx context.Context, err error, doing string, args ...any) error {
	err = wrap(err, doing+" of "+l.sub.Stream, args...)
	if errors.Is(err, ErrNoGroup) {
		l.recreate(ctx)
	}
	if timedOut(err) {
		l.c.lines.hangUp()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(err, ErrUnavailable) {
		l.since = time.Now()
	}
	if errors.Is(err, ErrOutOfMemory) {
		l.full = time.Now()
	}
	return err
}

// recreate makes the group again, below its floor. Of several that notice the
// loss, one makes it and tells; all learn what it hands out for the second time.
func (l *Log) recreate(ctx context.Context) {
	group := topology.Group{Stream: l.sub.Stream, Group: l.sub.Group}
	made, err := l.c.ensureGroup(ctx, group, "0-0")
	if err != nil {
		slog.ErrorContext(ctx, "a consumer group is gone and cannot be made again", "role", l.sub.Role, "stream", l.sub.Stream, "group", l.sub.Group, "err", err)
		return
	}
	l.setAgain(made.Reach)
	if made.Start != "" {
		slog.WarnContext(ctx, made.String(), "role", l.sub.Role)
		l.o.Observer.Recreated(made)
	}
}
