// Package store keeps collections of JSON documents in one SQLite file and
// carries out each message once: what a message changes and the answer to it are
// committed together, and a message that comes again gets the same answer.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// ErrClosed is returned for a write to a store that is closed.
var ErrClosed = errors.New("the store is closed")

// readConnections bounds the readers: a query is work for the processor, so more
// of them at once would only wait for each other with their pages in memory.
const readConnections = 8

// Options of a [Store].
type Options struct {
	// InboxRetention is how long a message that comes again is recognised.
	InboxRetention time.Duration
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// A Store is an open database. Its methods may be called concurrently.
type Store struct {
	readers *sql.DB
	writes  *sql.DB // the writer's one connection
	writer  *writer

	pageBytes, getBytes int // maxPageBytes, maxGetBytes
}

// Open opens the database at path, creates it if there is none, and brings its
// schema up to date. Several processes may have it open at the same time.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	s, err := open(ctx, path, o)
	if err != nil {
		return nil, fmt.Errorf("opening the database %s: %w", path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, o Options) (_ *Store, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{pageBytes: maxPageBytes, getBytes: maxGetBytes}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeDatabases())
		}
	}()
	if s.writes, err = connect(path, 1, "journal_mode(wal)", "synchronous(full)"); err != nil {
		return nil, err
	}
	if err = migrate(ctx, s.writes); err != nil {
		return nil, err
	}
	if s.readers, err = connect(path, readConnections, "query_only(1)"); err != nil {
		return nil, err
	}
	if s.writer, err = startWriter(ctx, s.writes, o); err != nil {
		return nil, err
	}
	return s, nil
}

// connect sets synchronous=FULL for the writer: what is committed must stay,
// also when the power goes.
func connect(path string, connections int, pragmas ...string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	settings := url.Values{"_pragma": append([]string{"busy_timeout(5000)"}, pragmas...), "_txlock": {"immediate"}}
	location := url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: settings.Encode()}
	db, err := sql.Open("sqlite", location.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// Close finishes the writes that have begun, refuses the others with [ErrClosed]
// and closes the database. It waits no longer than ctx; a write still under way
// then is rolled back or committed whole, as if the process had been killed.
func (s *Store) Close(ctx context.Context) error {
	if err := s.writer.stop(ctx); err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	return s.closeDatabases()
}

func (s *Store) closeDatabases() error {
	var errs []error
	for _, db := range []*sql.DB{s.readers, s.writes} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}
