package deadletter

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/requeue.lua
var requeueSource string

var requeueScript = redis.NewScript(requeueSource)

// scriptFields is the most names and values that a script can add in one entry: a
// call in Lua takes fewer than 8000 arguments.
const scriptFields = 7000

// watchTries is how often a transaction is tried while others write to the queue.
const watchTries = 100

// Errors of one letter's requeue.
var (
	// ErrGone is of a letter that is not, or no longer, in the queue: it was
	// requeued or discarded before.
	ErrGone = errors.New("no such dead letter: it was requeued or discarded before, or trimmed")
	// ErrNoOrigin is of a letter that does not say where its message came from.
	ErrNoOrigin = errors.New("the dead letter does not say which stream its message came from: name the stream to requeue to")
	// ErrNoReader is of a target that no group reads: a group created there later
	// would begin after the message.
	ErrNoReader = errors.New("no group reads that stream: create its groups first (`fnhost topology init`), or name another stream")
	// ErrNotStream is of a target that is not a stream.
	ErrNotStream = errors.New("that key is not a stream")
)

// Options of a requeue.
type Options struct {
	To     string // stream to requeue to; empty: where each message came from
	DryRun bool   // only say what would be done
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
// Redis did not answer: results has what was done by then.
func (d *DeadLetters) Requeue(ctx context.Context, dlq string, ids []string, options Options) (results []Result, err error) {
	targets := map[string]error{}
	for _, id := range ids {
		result, err := d.requeue(ctx, dlq, id, options, targets)
		if err != nil {
			return results, fmt.Errorf("requeueing dead letter %s of %s: %w", id, dlq, err)
		}
		results = append(results, result)
	}
	return results, nil
}

// requeue gives an error only if Redis did not answer. targets remembers what is
// wrong with each target.
func (d *DeadLetters) requeue(ctx context.Context, dlq, id string, options Options, targets map[string]error) (Result, error) {
	result := Result{ID: id, To: options.To}
	letter, ok, err := d.Get(ctx, dlq, id)
	switch {
	case refused(err):
		result.Err = err
		return result, nil
	case err != nil:
		return result, err
	case !ok:
		result.Err = ErrGone
		return result, nil
	}
	if result.To == "" {
		result.To = letter.Stream
	}
	if result.Err, err = d.checkTarget(ctx, dlq, result.To, targets); err != nil || result.Err != nil || options.DryRun {
		return result, err
	}
	result.New, err = d.move(ctx, dlq, letter.ID, result.To, letter.requeued())
	if errors.Is(err, ErrGone) || errors.Is(err, ErrNoReader) || refused(err) {
		result.Err, err = err, nil
	}
	return result, err
}

// checkTarget gives as problem what is wrong with the target, and as err that
// Redis did not answer.
func (d *DeadLetters) checkTarget(ctx context.Context, dlq, target string, known map[string]error) (problem, err error) {
	switch target {
	case "":
		return ErrNoOrigin, nil
	case dlq:
		return fmt.Errorf("%s is the dead-letter queue itself: name another stream", dlq), nil
	}
	problem, checked := known[target]
	if checked {
		return problem, nil
	}
	problem, err = d.readable(ctx, target)
	if err == nil {
		known[target] = problem
	}
	return problem, err
}

// readable gives as problem why nobody would read the target.
func (d *DeadLetters) readable(ctx context.Context, target string) (problem, err error) {
	groups, err := d.client.XInfoGroups(ctx, d.keys.Stream(target)).Result()
	switch {
	case err == nil && len(groups) > 0:
		return nil, nil
	case err == nil || strings.Contains(err.Error(), "no such key"):
		return fmt.Errorf("requeueing to %s: %w", target, ErrNoReader), nil
	case strings.HasPrefix(err.Error(), "WRONGTYPE"):
		return fmt.Errorf("requeueing to %s: %w", target, ErrNotStream), nil
	}
	return nil, err
}

// move adds the message and removes the letter, both or nothing.
func (d *DeadLetters) move(ctx context.Context, dlq, id, target string, fields []string) (string, error) {
	if len(fields) > scriptFields {
		return d.moveLarge(ctx, dlq, id, target, fields)
	}
	args := make([]any, 0, len(fields)+1)
	args = append(args, id)
	for _, field := range fields {
		args = append(args, field)
	}
	entry, err := requeueScript.Run(ctx, d.client, []string{d.keys.Stream(dlq), d.keys.Stream(target)}, args...).Text()
	switch {
	case err == nil && entry == "":
		return "", ErrGone
	case err != nil && strings.HasPrefix(err.Error(), "NOSTREAM"):
		return "", fmt.Errorf("requeueing to %s: %w", target, ErrNoReader)
	}
	return entry, err
}

// removeScript ends the transaction of a large letter: a transaction goes on after
// an error, so it removes the letter only if the message could be added.
//
// KEYS [1] the dead-letter queue, [2] the stream; ARGV[1] the dead letter's id
var removeScript = redis.NewScript(`
if redis.call('TYPE', KEYS[2]).ok ~= 'stream' then return 0 end
return redis.call('XDEL', KEYS[1], ARGV[1])`)

// moveLarge does by a transaction what the script does, for an entry with more
// fields than a script can add.
func (d *DeadLetters) moveLarge(ctx context.Context, dlq, id, target string, fields []string) (entry string, err error) {
	from, to := d.keys.Stream(dlq), d.keys.Stream(target)
	move := func(tx *redis.Tx) error {
		there, err := tx.XRangeN(ctx, from, id, id, 1).Result()
		if err != nil {
			return err
		}
		if len(there) == 0 {
			return ErrGone
		}
		var added *redis.StringCmd
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			added = p.XAdd(ctx, &redis.XAddArgs{Stream: to, Values: fields})
			removeScript.Eval(ctx, p, []string{from, to}, id)
			return nil
		})
		if err == nil {
			entry = added.Val()
		}
		return err
	}
	for range watchTries {
		if err = d.client.Watch(ctx, move, from); !errors.Is(err, redis.TxFailedErr) {
			return entry, err
		}
	}
	return "", fmt.Errorf("others kept writing to %s: %w", dlq, err)
}

// Discard removes letters for good and gives how many there were.
func (d *DeadLetters) Discard(ctx context.Context, dlq string, ids []string) (int64, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	n, err := d.client.XDel(ctx, d.keys.Stream(dlq), ids...).Result()
	if err != nil {
		return 0, fmt.Errorf("discarding %d dead letters of %s: %w", len(ids), dlq, err)
	}
	return n, nil
}

// refused says whether err is an answer of Redis, and not the lack of one.
func refused(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}
