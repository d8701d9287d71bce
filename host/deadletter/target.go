package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

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
	// ErrNotAllowed is of a target, or a queue, that the Redis user may not change.
	ErrNotAllowed = errors.New("the Redis user may not do that")
)

// targets are the streams that letters go to.
type targets struct {
	*DeadLetters
	dlq   string
	known map[string]error // what is wrong with each
}

// check gives as problem what is wrong with the target, and as err that Redis did
// not answer.
func (t *targets) check(ctx context.Context, target string) (problem, err error) {
	switch target {
	case "":
		return ErrNoOrigin, nil
	case t.dlq:
		return fmt.Errorf("%s is the dead-letter queue itself: name another stream", t.dlq), nil
	}
	problem, checked := t.known[target]
	if checked {
		return problem, nil
	}
	problem, err = t.readable(ctx, target)
	if err == nil {
		t.known[target] = problem
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
	}
	if problem = problemOf(err, target); problem != nil {
		return problem, nil
	}
	return nil, wrap(err, "looking for the groups of %s", target)
}

// problemOf gives what is wrong with the target, if err says so: it will be the
// same for every letter. nil means that err is about something else.
func problemOf(err error, target string) error {
	if errors.Is(err, ErrNoReader) {
		return fmt.Errorf("requeueing to %s: %w", target, err)
	}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return nil
	}
	switch text := err.Error(); {
	case strings.HasPrefix(text, "NOSTREAM"):
		return fmt.Errorf("requeueing to %s: %w", target, ErrNoReader)
	case strings.HasPrefix(text, "WRONGTYPE"):
		return fmt.Errorf("requeueing to %s: %w", target, ErrNotStream)
	case denied(text):
		return fmt.Errorf("requeueing to %s: %w: %w", target, ErrNotAllowed, err)
	}
	return nil
}

// wrap says what failed, and whether it was for want of a permission.
func wrap(err error, doing string, args ...any) error {
	what := fmt.Sprintf(doing, args...)
	var answer redis.Error
	if !errors.Is(err, ErrNotAllowed) && errors.As(err, &answer) && denied(err.Error()) {
		return fmt.Errorf("%s: %w: %w", what, ErrNotAllowed, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// denied says whether an answer of Redis means a missing permission.
func denied(text string) bool {
	return strings.HasPrefix(text, "NOPERM") || strings.Contains(text, "The user executing the script can't") ||
		strings.Contains(text, "ACL failure")
}
