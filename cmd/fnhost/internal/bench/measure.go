package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fnhost/fnhost/host/delivery"
)

// Limits of one round trip of the publisher.
const (
	maxBatch      = 200
	maxBatchBytes = 1 << 20
)

// measure publishes all messages and reads their results.
func (r *run) measure(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(r.plan.Patience, func() { cancel(ErrNoAnswer) })
	defer patience.Stop()
	alive := func() { patience.Reset(r.plan.Patience) }
	r.begun = time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.publish(ctx, alive) })
	group.Go(func() error { return r.read(ctx, alive) })
	err := group.Wait()
	if err != nil && errors.Is(context.Cause(ctx), ErrNoAnswer) {
		return fmt.Errorf("%w for %s; %d of %d messages were answered", ErrNoAnswer, r.plan.Patience, r.answered, r.plan.Messages)
	}
	return err
}

// publish adds each message when it is due; those that have become due meanwhile
// go together.
func (r *run) publish(ctx context.Context, alive func()) error {
	limit := min(max(maxBatchBytes/max(len(r.plan.Data), 1), 1), maxBatch)
	for sent := 0; sent < r.plan.Messages; {
		ready, wait := r.ready(sent)
		if wait > 0 {
			if err := sleep(ctx, wait); err != nil {
				return err
			}
			continue
		}
		ready = min(ready, limit)
		for i := sent; i < sent+ready; i++ {
			r.due[i] = r.dueAt(i)
		}
		if err := r.add(ctx, sent, ready); err != nil {
			return fmt.Errorf("publishing to stream %s: %w", r.plan.Sub.Stream, err)
		}
		sent += ready
		r.published = time.Since(r.begun)
		alive()
	}
	return nil
}

// ready is how many messages are due now, or else how long the next one has
// still to wait.
func (r *run) ready(sent int) (n int, wait time.Duration) {
	left := r.plan.Messages - sent
	if r.plan.Rate <= 0 {
		return left, 0
	}
	if wait = r.dueAt(sent) - time.Since(r.begun); wait > 0 {
		return 0, wait
	}
	return min(int(-wait.Seconds()*r.plan.Rate)+1, left), 0
}

// dueAt is when message i is due, since the beginning.
func (r *run) dueAt(i int) time.Duration {
	if r.plan.Rate <= 0 {
		return time.Since(r.begun)
	}
	return time.Duration(float64(i) / r.plan.Rate * float64(time.Second))
}

// add adds messages in one round trip.
func (r *run) add(ctx context.Context, from, n int) error {
	pipe := r.c.Commands().Pipeline()
	cmds := make([]interface{ Text() (string, error) }, n)
	key, now := r.c.Keys().Stream(r.plan.Sub.Stream), time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	for i := range cmds {
		cmds[i] = pipe.Do(ctx, "XADD", key, "*", "id", r.id+strconv.Itoa(from+i), "type", r.plan.Type, "source", Source,
			"time", now, "datacontenttype", r.plan.ContentType, "data", r.plan.Data)
	}
	_, err := pipe.Exec(ctx)
	for i, cmd := range cmds { // after an error too: what was added is to be taken away
		if id, failed := cmd.Text(); failed == nil {
			r.entries[from+i] = id
			r.count++
		}
	}
	return err
}

// errAll ends the reading.
var errAll = errors.New("all results are there")

// read follows the results until every message has one, or ctx ends.
func (r *run) read(ctx context.Context, alive func()) error {
	results := &r.logs[0]
	err := r.c.Tail(ctx, results.stream, results.end, true, func(e delivery.Entry) error {
		results.end = e.ID
		if !r.take(e, time.Since(r.begun)) {
			return nil
		}
		alive()
		if r.answered == r.plan.Messages {
			return errAll
		}
		return nil
	})
	if errors.Is(err, errAll) {
		return nil
	}
	return err
}

// take notes a result, if it is one of ours.
func (r *run) take(e delivery.Entry, at time.Duration) bool {
	cause, status := "", ""
	for f := 0; f+1 < len(e.Fields); f += 2 {
		switch e.Fields[f] {
		case "causationid":
			cause = e.Fields[f+1]
		case "status":
			status = e.Fields[f+1]
		}
	}
	i, ours := r.number(cause)
	if !ours {
		return false
	}
	r.results = append(r.results, e.ID)
	if r.seen[i] > 0 {
		r.duplicates++
		return true
	}
	r.seen[i], r.last = at, at
	r.answered++
	r.statuses[status]++
	return true
}

// number reads a message id of ours.
func (r *run) number(id string) (int, bool) {
	text, ours := strings.CutPrefix(id, r.id)
	i, err := strconv.Atoi(text)
	return i, ours && err == nil && i >= 0 && i < r.plan.Messages
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
