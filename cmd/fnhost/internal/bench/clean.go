package bench

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

const (
	cleanTime = time.Minute     // for all of it
	graceTime = 5 * time.Second // for what hosts have in hand when we give up
	chunk     = 1000            // of ids in one command
)

//go:embed withdraw.lua
var withdraw string

//go:embed forget.lua
var forget string

// clean takes away what is ours. After a run that ended early it first takes
// back what no host was given, and waits a little for what they have.
func (r *run) clean(ctx context.Context, early bool) (Removed, error) {
	var removed Removed
	var errs []error
	if early {
		n, err := r.withdraw(ctx)
		removed.Messages += n
		errs = append(errs, err, r.finish(ctx, r.count-int(n)))
	}
	errs = append(errs, r.more(ctx))
	answered, left := r.split()
	removed.Left = int64(len(left)) - removed.Messages
	for _, part := range []struct {
		n      *int64
		remove func() (int64, error)
	}{
		{&removed.Messages, func() (int64, error) { return r.delete(ctx, r.plan.Sub.Stream, answered) }},
		{&removed.DoneMarks, func() (int64, error) { return r.unmark(ctx, answered) }},
		{&removed.Results, func() (int64, error) { return r.delete(ctx, r.plan.Sub.Results, r.results) }},
		{&removed.DeadLetters, func() (int64, error) { return r.deleteLetters(ctx) }},
	} {
		n, err := part.remove()
		*part.n += n
		errs = append(errs, err)
	}
	errs = append(errs, r.forget(ctx))
	if err := errors.Join(errs...); err != nil {
		return removed, fmt.Errorf("taking away what was published: %w", err)
	}
	return removed, nil
}

// withdraw takes back messages that no host was given.
func (r *run) withdraw(ctx context.Context) (removed int64, err error) {
	_, left := r.split()
	for ids := range slices.Chunk(left, chunk) {
		n, err := r.c.Commands().Eval(ctx, withdraw, []string{r.c.Keys().Stream(r.plan.Sub.Stream)}, anys(ids)...).Int64()
		removed += n
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// finish reads results until there are as many as wanted, or the grace is over.
func (r *run) finish(ctx context.Context, wanted int) error {
	if r.answered >= wanted {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, graceTime)
	defer cancel()
	err := r.follow(ctx, true, func() bool { return r.answered >= wanted })
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// more reads results that have come since: there should be none.
func (r *run) more(ctx context.Context) error {
	return r.follow(ctx, false, func() bool { return false })
}

// follow goes on reading results.
func (r *run) follow(ctx context.Context, wait bool, enough func() bool) error {
	results := &r.logs[0]
	err := r.c.Tail(ctx, results.stream, results.end, wait, func(e delivery.Entry) error {
		results.end = e.ID
		r.take(e, time.Since(r.begun))
		if enough() {
			return errAll
		}
		return nil
	})
	if errors.Is(err, errAll) {
		return nil
	}
	return err
}

// split gives the entry ids of messages with a result, and of those without.
func (r *run) split() (answered, left []string) {
	for i, id := range r.entries {
		switch {
		case r.seen[i] > 0:
			answered = append(answered, id)
		case id != "":
			left = append(left, id)
		}
	}
	return answered, left
}

func (r *run) delete(ctx context.Context, stream string, ids []string) (removed int64, err error) {
	for part := range slices.Chunk(ids, chunk) {
		n, err := r.c.Commands().XDel(ctx, r.c.Keys().Stream(stream), part...).Result()
		removed += n
		if err != nil {
			return removed, fmt.Errorf("stream %s: %w", stream, err)
		}
	}
	return removed, nil
}

// unmark removes the done marks: they guard against entries that come again, and
// these are gone.
func (r *run) unmark(ctx context.Context, ids []string) (removed int64, err error) {
	for part := range slices.Chunk(ids, chunk) {
		keys := make([]string, len(part))
		for i, id := range part {
			keys[i] = r.c.Keys().Lock(r.plan.Sub, id)
		}
		n, err := r.c.Commands().Unlink(ctx, keys...).Result()
		removed += n
		if err != nil {
			return removed, fmt.Errorf("done marks: %w", err)
		}
	}
	return removed, nil
}

// deleteLetters removes our dead letters.
func (r *run) deleteLetters(ctx context.Context) (int64, error) {
	if r.plan.DLQ == "" || r.statuses[delivery.StatusError] == 0 {
		return 0, nil
	}
	var ids []string
	err := r.c.Tail(ctx, r.plan.DLQ, r.logs[1].end, false, func(e delivery.Entry) error {
		if _, ours := r.number(delivery.Read(&e).ID); ours {
			ids = append(ids, e.ID)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return r.delete(ctx, r.plan.DLQ, ids)
}

// forget removes streams that were not there before, and are empty again.
func (r *run) forget(ctx context.Context) error {
	for _, f := range r.logs {
		if f.stream == "" || f.there {
			continue
		}
		if err := r.c.Commands().Eval(ctx, forget, []string{r.c.Keys().Stream(f.stream)}).Err(); err != nil {
			return fmt.Errorf("stream %s: %w", f.stream, err)
		}
	}
	return nil
}

func anys(texts []string) []any {
	all := make([]any, len(texts))
	for i, t := range texts {
		all[i] = t
	}
	return all
}
