package deadletter

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
)

var (
	//go:embed lua/audit.lua
	auditSource string
	//go:embed lua/requeue.lua
	requeueSource string
	//go:embed lua/added.lua
	addedSource string

	requeueScript = redis.NewScript(auditSource + requeueSource)
	addedScript   = redis.NewScript(auditSource + addedSource)
)

const (
	// scriptFields is the most names and values that a script can add in one entry:
	// a call in Lua takes fewer than 8000 arguments.
	scriptFields = 7000
	// watchTries is how often a transaction is tried while others write to the queue.
	watchTries = 100
	// moveTime bounds the move of one letter, which an interruption does not cut
	// off: so it is known what became of it.
	moveTime = 20 * time.Second
)

// Options of a requeue.
type Options struct {
	To     string // stream to requeue to; empty: where each message came from
	DryRun bool   // only say what would be done
	Audit  Audit
	// Pace, if set, is waited for before each move; its error ends the requeue.
	Pace func(context.Context) error
	// Done, if set, is told of each letter once it is known what became of it.
	Done func(Result)
}

// A Result is what became of one letter.
type Result struct {
	ID  string // of the letter
	To  string // the stream; empty if it is not known
	New string // id of the message's new entry; empty if it has none
	Err error  // why it was not requeued; with DryRun, why it would not be
}

// Requeue puts the messages of those letters back, to run as if they had just
// come, and removes the letters. Each letter is moved whole or not at all, and
// only once, whatever is interrupted and whoever else does the same. A letter that
// cannot be moved does not keep the others; see Result.Err. The error means that
// Redis did not answer, or cannot serve now, or that ctx ended: results has what
// was done by then.
func (d *DeadLetters) Requeue(ctx context.Context, dlq string, ids []string, options Options) (results []Result, err error) {
	done := options.Done
	options.Done = func(r Result) {
		results = append(results, r)
		if done != nil {
			done(r)
		}
	}
	r := d.requeue(dlq, options)
	for _, id := range ids {
		if err := r.id(ctx, id); err != nil {
			return results, wrap(err, "requeueing dead letter %s of %s", id, dlq)
		}
	}
	return results, nil
}

// RequeueAll does what Requeue does for all letters that match, the oldest first;
// what dies while it is under way is left. filter.Limit is the most, 0 all;
// filter.Scan does not count. Options.Done hears of each.
func (d *DeadLetters) RequeueAll(ctx context.Context, dlq string, filter Filter, options Options) error {
	r := d.requeue(dlq, options)
	return d.all(ctx, dlq, filter, func(l Letter) error {
		if err := r.letter(ctx, l); err != nil {
			return wrap(err, "requeueing dead letter %s of %s", l.ID, dlq)
		}
		return nil
	})
}

// A requeuing is one call of Requeue.
type requeuing struct {
	targets
	options Options
}

func (d *DeadLetters) requeue(dlq string, options Options) *requeuing {
	return &requeuing{targets{d, dlq, map[string]error{}}, options}
}

func (r *requeuing) id(ctx context.Context, id string) error {
	if !letterID.MatchString(id) {
		r.done(Result{ID: id, To: r.options.To, Err: fmt.Errorf("%q is no id of a dead letter: those are like 1764000000000-0", id)})
		return nil
	}
	letter, ok, err := r.Get(ctx, r.dlq, id)
	switch {
	case err != nil:
		return err
	case !ok:
		r.done(Result{ID: id, To: r.options.To, Err: ErrGone})
		return nil
	}
	return r.letter(ctx, letter)
}

// letter gives an error only if no other letter should be tried.
func (r *requeuing) letter(ctx context.Context, l Letter) (err error) {
	result := Result{ID: l.ID, To: r.to(l)}
	if result.Err, err = r.check(ctx, result.To); err != nil {
		return err
	}
	if result.Err == nil && !r.options.DryRun {
		if result.New, result.Err, err = r.move(ctx, l, result.To); err != nil {
			return err
		}
	}
	r.done(result)
	return nil
}

// to is the stream that a letter goes to.
func (r *requeuing) to(l Letter) string {
	if r.options.To != "" {
		return r.options.To
	}
	return l.Stream
}

func (r *requeuing) done(result Result) {
	if r.options.Done != nil {
		r.options.Done(result)
	}
}

// move adds the message and removes the letter, both or nothing. problem is that
// of this letter, or of its target.
func (r *requeuing) move(ctx context.Context, l Letter, target string) (entry string, problem, err error) {
	if r.options.Pace != nil {
		if err := r.options.Pace(ctx); err != nil {
			return "", nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), moveTime)
	defer cancel()
	fields := l.requeued(r.dlq)
	head := r.options.Audit.head(l.ID, target, r.options.Audit.event(delivery.AuditRequeued, r.dlq, &l))
	if len(fields)+len(head) > scriptFields {
		entry, err = r.moveLarge(ctx, l.ID, target, head, fields)
	} else {
		entry, err = requeueScript.Run(ctx, r.client, r.touched(target), arguments(head, fields)...).Text()
	}
	switch {
	case err == nil && entry == "":
		return "", ErrGone, nil
	case err == nil:
		return entry, nil, nil
	}
	if problem = problemOf(err, target); problem != nil {
		r.known[target] = problem // the next letters need not try
		return "", problem, nil
	}
	return "", nil, err
}

// touched are the keys of a move.
func (r *requeuing) touched(target string) []string {
	return r.options.Audit.keys(r.DeadLetters, r.dlq, target)
}

// moveLarge does by a transaction what the script does, for an entry with more
// fields than a script can add.
func (r *requeuing) moveLarge(ctx context.Context, id, target string, head, fields []string) (entry string, err error) {
	keys := r.touched(target)
	move := func(tx *redis.Tx) error {
		there, err := tx.XRangeN(ctx, keys[0], id, id, 1).Result()
		if err != nil || len(there) == 0 {
			entry = ""
			return err
		}
		var added *redis.Cmd
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.XDel(ctx, keys[0], "0-0") // who may not delete must not add: this refuses the whole
			p.XAdd(ctx, &redis.XAddArgs{Stream: keys[1], NoMkStream: true, Values: fields})
			added = addedScript.Eval(ctx, p, keys, arguments(head, fields[len(fields)-4:])...)
			return nil
		})
		if err == nil || errors.Is(err, redis.Nil) {
			entry, err = added.Text()
		}
		if err == nil && entry == "" {
			return ErrNoReader
		}
		return err
	}
	for range watchTries {
		if err = r.client.Watch(ctx, move, keys[0]); !errors.Is(err, redis.TxFailedErr) {
			return entry, err
		}
	}
	return "", fmt.Errorf("others kept writing to %s: %w", r.dlq, err)
}

func arguments(lists ...[]string) (args []any) {
	for _, list := range lists {
		for _, item := range list {
			args = append(args, item)
		}
	}
	return args
}
