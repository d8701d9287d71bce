package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Bounds of one transaction: other processes that have the database open wait
// for it, for five seconds at most, and so does Close.
const (
	maxBatch     = 256
	maxBatchRows = 10_000
	maxPruned    = 2 * maxBatch // more than a batch adds, so pruning keeps up
	pruneEvery   = time.Minute
)

// A job is one message on its way through the writer.
type job struct {
	ctx   context.Context
	task  Task
	rows  int // how many rows it may touch
	apply func(*session) (outcome, error)

	result    []byte // the answer, as JSON
	duplicate bool   // result is that of an earlier run
	err       error
	done      chan struct{} // closed when the three above hold
}

// The writer is the one goroutine that changes the database. It takes the jobs
// that are ready, runs them in one transaction and commits them together: as
// many handlers as wait share one sync of the disk.
type writer struct {
	session *session
	now     func() time.Time
	keep    time.Duration // of inbox rows

	jobs    chan *job // unbuffered: a job is taken or its sender keeps it
	closing chan struct{}
	stopped chan struct{}

	pruneAt time.Time
}

func startWriter(ctx context.Context, db *sql.DB, o Options) (*writer, error) {
	session, err := newSession(ctx, db)
	if err != nil {
		return nil, err
	}
	w := &writer{
		session: session, now: o.Now, keep: o.InboxRetention,
		jobs: make(chan *job), closing: make(chan struct{}), stopped: make(chan struct{}),
	}
	go w.loop()
	return w, nil
}

// stop may be called once.
func (w *writer) stop(ctx context.Context) error {
	close(w.closing)
	select {
	case <-w.stopped:
		return w.session.close()
	case <-ctx.Done():
		return fmt.Errorf("the last transaction is still under way: %w", context.Cause(ctx))
	}
}

// do hands a job to the writer and waits for the commit. When ctx ends first the
// job may still be committed; the message, when it comes again, gets its answer.
func (w *writer) do(ctx context.Context, j *job) error {
	j.ctx, j.done = ctx, make(chan struct{})
	select {
	case w.jobs <- j:
	case <-w.closing:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *writer) loop() {
	defer close(w.stopped)
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.closing:
			return
		case <-tick.C:
			w.commit(nil)
		case first := <-w.jobs:
			w.commit(w.gather(first))
		}
	}
}

// gather takes what is ready now, without waiting for more.
func (w *writer) gather(first *job) []*job {
	batch, rows := []*job{first}, first.rows
	for len(batch) < maxBatch && rows < maxBatchRows {
		select {
		case j := <-w.jobs:
			batch, rows = append(batch, j), rows+j.rows
		default:
			return batch
		}
	}
	return batch
}

func (w *writer) commit(batch []*job) {
	err := w.transact(batch)
	for _, j := range batch {
		if err != nil {
			j.err = fmt.Errorf("writing to the database: %w", err)
		}
		close(j.done)
	}
}

// transact runs a batch in one transaction. An error of one job is that job's
// own; the error returned is everybody's.
func (w *writer) transact(batch []*job) error {
	// Not a handler's context: the end of one must not roll back the others.
	tx, err := w.session.conn.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit this does nothing
	now := w.now()
	for _, j := range batch {
		if j.err = context.Cause(j.ctx); j.err != nil {
			continue
		}
		if err := w.isolate(j, now); err != nil {
			return err
		}
	}
	if err := w.prune(now); err != nil {
		return err
	}
	return tx.Commit()
}

// isolate runs one job inside a savepoint, so that a job that fails takes only
// its own changes back. Some failures (a full disk) end the whole transaction:
// then the savepoint is gone as well, and that is the error returned.
func (w *writer) isolate(j *job, now time.Time) error {
	if err := w.session.savepoint(); err != nil {
		return err
	}
	j.err = w.session.once(j, now)
	if j.err == nil {
		return w.session.release()
	}
	if err := w.session.rollback(); err != nil {
		return errors.Join(j.err, err)
	}
	return nil
}

// prune forgets old inbox rows, a bounded number at a time: again with the next
// batch while there are more, else a minute later.
func (w *writer) prune(now time.Time) error {
	if now.Before(w.pruneAt) {
		return nil
	}
	n, err := w.session.pruneInbox(now.Add(-w.keep))
	if err != nil {
		return err
	}
	if n < maxPruned {
		w.pruneAt = now.Add(pruneEvery)
	}
	return nil
}
