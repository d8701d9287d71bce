package ops

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/lifecycle"
	"github.com/fnhost/fnhost/host/topology"
)

const (
	queueLength = 8192 // entries that wait; more are dropped and counted
	queueBatch  = 256  // entries written at once
	// linger is how long the first of a batch waits for others. What it tells of
	// has a time of its own, and a write for each would cost as much as the
	// message that it is about.
	linger     = 25 * time.Millisecond
	writeLimit = 5 * time.Second // for one batch, and for what is left at a stop
	writeRetry = time.Second     // between tries while Redis does not answer
)

// An entry waits to be written. Its fields are made when it is: who adds it may
// hold a lock.
type entry struct {
	stream string
	maxLen int64 // about how many entries the stream keeps; 0: all
	body   interface{ Fields() []string }
}

// A queue writes entries to streams in the background, many at once. It never
// makes its caller wait: when Redis is slower than the host, or away, for so long
// that the queue is full, entries are dropped and counted.
type queue struct {
	lifecycle.Base
	client  *redis.Client
	keys    topology.Keys
	log     *slog.Logger
	entries chan entry
	dropped atomic.Int64
}

func newQueue(client *redis.Client, keys topology.Keys, log *slog.Logger) *queue {
	return &queue{client: client, keys: keys, log: log, entries: make(chan entry, queueLength)}
}

// Start starts writing what is, and what will be, in the queue.
func (q *queue) Start(ctx context.Context) error { return q.Go(ctx, nil, q.run) }

// Dropped is how many entries were not written since the host started.
func (q *queue) Dropped() int64 { return q.dropped.Load() }

func (q *queue) add(e entry) {
	select {
	case q.entries <- e:
	default:
		q.dropped.Add(1)
	}
}

func (q *queue) run(ctx context.Context) {
	for {
		select {
		case first := <-q.entries:
			if left := q.writeWhile(ctx, q.gather(ctx, first)); len(left) > 0 {
				q.flush(ctx, left)
				return
			}
		case <-ctx.Done():
			q.flush(ctx, nil)
			return
		}
	}
}

// gather is first and what comes within the time that it waits.
func (q *queue) gather(ctx context.Context, first entry) []entry {
	batch := q.batch(first)
	late := time.NewTimer(linger)
	defer late.Stop()
	for len(batch) < queueBatch {
		select {
		case next := <-q.entries:
			batch = append(batch, next)
		case <-late.C:
			return batch
		case <-ctx.Done():
			return batch
		}
	}
	return batch
}

// batch is first and what else waits.
func (q *queue) batch(first entry) []entry {
	batch := []entry{first}
	for len(batch) < queueBatch {
		select {
		case next := <-q.entries:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// writeWhile writes the batch, again until Redis takes it; what is left of it, if
// ctx ended before, is for flush.
func (q *queue) writeWhile(ctx context.Context, batch []entry) (left []entry) {
	for warned := false; ; warned = true {
		var err error
		batch, err = q.write(context.WithoutCancel(ctx), batch) // what is under way is not cut off by a stop
		if err == nil || ctx.Err() != nil {
			return batch
		}
		if !warned {
			q.log.Warn("writing about this host waits for redis", "entries", len(batch), "error", err)
		}
		select {
		case <-time.After(writeRetry):
		case <-ctx.Done():
			return batch
		}
	}
}

// flush writes what is left after the end of ctx, if Redis takes it in time.
func (q *queue) flush(ctx context.Context, batch []entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	for {
		if len(batch) > 0 {
			if left, err := q.write(ctx, batch); err != nil {
				lost := len(left) + len(q.entries)
				q.dropped.Add(int64(len(left)))
				q.log.Warn("entries about this host lost at stop", "entries", lost, "error", err)
				return
			}
		}
		select {
		case next := <-q.entries:
			batch = q.batch(next)
		default:
			return
		}
	}
}

// write adds the batch in one round trip. With an error it gives what Redis does
// not take now: it did not answer, or cannot write for a time. Entries that Redis
// refuses are dropped and counted: they would be refused again.
func (q *queue) write(ctx context.Context, batch []entry) (left []entry, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	results, err := q.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range batch {
			p.XAdd(ctx, &redis.XAddArgs{
				Stream: q.keys.Stream(e.stream), MaxLen: e.maxLen, Approx: e.maxLen > 0, Values: e.body.Fields(),
			})
		}
		return nil
	})
	if err == nil {
		return nil, nil
	}
	var waits, refusal error
	refused := 0
	for i, result := range results {
		switch err := result.Err(); {
		case err == nil:
		case passing(err):
			left, waits = append(left, batch[i]), err
		default:
			refused, refusal = refused+1, fmt.Errorf("stream %s: %w", batch[i].stream, err)
		}
	}
	if refused > 0 {
		q.dropped.Add(int64(refused))
		q.log.Warn("redis refused entries about this host", "entries", refused, "error", refusal)
	}
	return left, waits
}

// passing says whether err is the lack of an answer, or that of a server which
// cannot write for a time.
func passing(err error) bool {
	var answer redis.Error
	return !errors.As(err, &answer) || slices.ContainsFunc(
		[]string{"LOADING", "READONLY", "OOM", "MISCONF", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "BUSY"},
		func(word string) bool { return strings.HasPrefix(err.Error(), word) })
}
