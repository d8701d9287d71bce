package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrClosed is returned for a write to a closed index.
var ErrClosed = errors.New("the index is closed")

// maxGroup bounds the writes of one transaction, so that the first of them does
// not wait long for the last.
const maxGroup = 64

// A writer owns the one connection that writes. It commits all writes that wait
// for it in one transaction, each in a savepoint of its own: every write is
// applied whole or not at all, and they share the sync of the disk.
type writer struct {
	db     *sql.DB
	queue  chan *write
	closed chan struct{} // asks run to end
	ended  chan struct{} // run has ended
}

// An applyFunc does one write. Its context never ends: SQLite rolls the whole
// transaction back, others' writes too, when a statement of it is interrupted.
type applyFunc func(context.Context, *sql.Tx) error

type write struct {
	ctx   context.Context
	apply applyFunc
	done  chan error // has room for the one answer
}

func startWriter(db *sql.DB) *writer {
	w := &writer{db: db, queue: make(chan *write, maxGroup), closed: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	return w
}

func (w *writer) close() error {
	close(w.closed)
	<-w.ended
	return w.db.Close()
}

// do gives a write to the writer and waits until it is durable. If ctx ends
// first, the write may still be applied.
func (w *writer) do(ctx context.Context, apply applyFunc) error {
	x := &write{ctx: ctx, apply: apply, done: make(chan error, 1)}
	select {
	case w.queue <- x:
	case <-w.closed:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-x.done:
		return err
	case <-w.ended:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *writer) run() {
	defer close(w.ended)
	for {
		select {
		case first := <-w.queue:
			w.commit(w.group(first))
		case <-w.closed:
			return
		}
	}
}

// group adds to a write what else is ready.
func (w *writer) group(first *write) []*write {
	group := []*write{first}
	for len(group) < maxGroup {
		select {
		case next := <-w.queue:
			group = append(group, next)
		default:
			return group
		}
	}
	return group
}

// commit applies a group and answers each of its writes.
func (w *writer) commit(group []*write) {
	errs, err := w.transact(group)
	for i, x := range group {
		if err != nil {
			x.done <- err
		} else {
			x.done <- errs[i]
		}
	}
}

// transact gives the error of each write, or one error for all of them when
// nothing was committed.
func (w *writer) transact(group []*write) ([]error, error) {
	tx, err := w.db.Begin()
	if err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	errs := make([]error, len(group))
	for i, x := range group {
		if errs[i], err = savepoint(tx, x); err != nil {
			return nil, err
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("committing: %w", err)
	}
	return errs, nil
}

// savepoint applies one write, or nothing of it if it fails. broken says that
// the whole transaction is lost, as after a full disk.
func savepoint(tx *sql.Tx, x *write) (failed, broken error) {
	if x.ctx.Err() != nil {
		return context.Cause(x.ctx), nil
	}
	if _, err := tx.Exec(`SAVEPOINT one`); err != nil {
		return nil, fmt.Errorf("beginning a savepoint: %w", err)
	}
	failed = x.apply(context.WithoutCancel(x.ctx), tx)
	if failed != nil {
		if _, err := tx.Exec(`ROLLBACK TO one`); err != nil {
			return nil, fmt.Errorf("rolling back after %w: %w", failed, err)
		}
	}
	if _, err := tx.Exec(`RELEASE one`); err != nil {
		return nil, fmt.Errorf("releasing a savepoint: %w", err)
	}
	return failed, nil
}
