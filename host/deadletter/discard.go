package deadletter

import (
	"cmp"
	"context"
	_ "embed"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

//go:embed lua/discard.lua
var discardSource string

var discardScript = redis.NewScript(auditSource + discardSource)

// Audit says how changes of letters are written to `audit:events`: one event a
// letter, in the same step. Who may not write there may not change letters. Its
// zero value writes none.
type Audit struct {
	By     string // who changes them; empty: not audited
	Role   string // whose letters they are
	MaxLen int64  // about how many events the stream keeps; 0: all
}

// event is the names and values of a letter's event: it names the message as it
// was known when it died.
func (a Audit) event(kind, dlq string, l *Letter) []string {
	if a.By == "" {
		return nil
	}
	plugin, _, _ := strings.Cut(l.Plugin, " ")
	e := delivery.AuditEvent{
		At: time.Now(), Type: kind, Role: a.Role, Stream: l.Stream, ID: l.EntryID, Host: a.By, Plugin: plugin,
		Attempt: l.Attempts, Outcome: cmp.Or(l.Reason, kind), Error: l.Error,
	}
	if e.Stream == "" || e.ID == "" {
		e.Stream, e.ID = dlq, l.ID
	}
	return e.Fields()
}

// head are the first arguments of a move.
func (a Audit) head(id, target string, event []string) []string {
	return append([]string{id, target, a.keep(), strconv.Itoa(len(event))}, event...)
}

// keys are those of the streams, and then of the audit, if there is one.
func (a Audit) keys(d *DeadLetters, streams ...string) (keys []string) {
	if a.By != "" {
		streams = append(streams, topology.AuditEvents)
	}
	for _, stream := range streams {
		keys = append(keys, d.keys.Stream(stream))
	}
	return keys
}

func (a Audit) keep() string { return strconv.FormatInt(a.MaxLen, 10) }

// Discard removes letters for good and gives how many there were.
func (d *DeadLetters) Discard(ctx context.Context, dlq string, ids []string, audit Audit) (int, error) {
	b := d.discard(dlq, audit)
	for _, id := range ids {
		l, ok, err := d.Get(ctx, dlq, id)
		if err == nil && ok {
			err = b.add(ctx, l)
		}
		if err != nil {
			return b.gone, wrap(err, "discarding dead letter %s of %s", id, dlq)
		}
	}
	return b.gone, b.flush(ctx)
}

// DiscardAll removes the letters that match for good, the oldest first; what dies
// while it is under way is left. filter.Limit is the most, 0 all. done, if it is not nil, is told how many have been
// removed. The error means that Redis refused, or that ctx ended.
func (d *DeadLetters) DiscardAll(ctx context.Context, dlq string, filter Filter, audit Audit, done func(removed int)) error {
	b := d.discard(dlq, audit)
	b.done = done
	if err := d.all(ctx, dlq, filter, func(l Letter) error { return b.add(ctx, l) }); err != nil {
		return err
	}
	return b.flush(ctx)
}

// A discarding is one call of Discard.
type discarding struct {
	*DeadLetters
	dlq   string
	audit Audit
	batch []string // arguments of the letters that wait to be removed
	n     int      // how many those are
	gone  int
	done  func(removed int)
}

// discardBatch is how many letters are removed in one step.
const discardBatch = 64

func (d *DeadLetters) discard(dlq string, audit Audit) *discarding {
	return &discarding{DeadLetters: d, dlq: dlq, audit: audit}
}

func (b *discarding) add(ctx context.Context, l Letter) error {
	b.batch = append(append(b.batch, l.ID), b.audit.event(delivery.AuditDiscarded, b.dlq, &l)...)
	if b.n++; b.n < discardBatch {
		return nil
	}
	return b.flush(ctx)
}

// flush is not cut off by an interruption, so that it is known what was removed.
func (b *discarding) flush(ctx context.Context) error {
	if b.n == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), moveTime)
	defer cancel()
	keys := b.audit.keys(b.DeadLetters, b.dlq)
	head := []string{b.audit.keep(), strconv.Itoa(len(b.batch)/b.n - 1)}
	removed, err := discardScript.Run(ctx, b.client, keys, arguments(head, b.batch)...).Int64Slice()
	if err != nil {
		return wrap(err, "discarding %d dead letters of %s", b.n, b.dlq)
	}
	for _, n := range removed {
		b.gone += int(n)
	}
	if b.done != nil {
		b.done(b.gone)
	}
	b.batch, b.n = b.batch[:0], 0
	return nil
}
