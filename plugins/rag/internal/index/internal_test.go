package index

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestGroupKeepsEachWriteWhole commits a group of three writes of which the
// second fails half way.
func TestGroupKeepsEachWriteWhole(t *testing.T) {
	x, err := Open(t.Context(), filepath.Join(t.TempDir(), "rag.db"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	failure := errors.New("half way")
	add := func(name string, then error) *write {
		return &write{ctx: t.Context(), done: make(chan error, 1), apply: func(ctx context.Context, tx *sql.Tx) error {
			_, err := ensureCollection(ctx, tx, name)
			return errors.Join(err, then)
		}}
	}
	group := []*write{add("a", nil), add("b", failure), add("c", nil)}
	x.writer.commit(group)
	for i, want := range []error{nil, failure, nil} {
		if err := <-group[i].done; !errors.Is(err, want) {
			t.Errorf("write %d: %v, want %v", i, err, want)
		}
	}
	for name, want := range map[string]error{"a": nil, "b": sql.ErrNoRows, "c": nil} {
		if _, err := collectionID(t.Context(), x.reads, name); !errors.Is(err, want) {
			t.Errorf("collection %s: %v, want %v", name, err, want)
		}
	}
}

func TestOpenRefusesANewerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rag.db")
	db, err := sql.Open("sqlite", dsn(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`PRAGMA user_version = 99`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), path, 1); err == nil || !strings.Contains(err.Error(), "newer plugin") {
		t.Errorf("error %v, want one about a newer plugin", err)
	}
}

// TestCommitsAreSynced guards what the promise of Put rests on.
func TestCommitsAreSynced(t *testing.T) {
	x, err := Open(t.Context(), filepath.Join(t.TempDir(), "rag.db"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000"} {
		var got string
		if err := x.writer.db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
}
