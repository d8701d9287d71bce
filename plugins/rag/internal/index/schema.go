package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// schemaVersion is kept in the file's user_version.
const schemaVersion = 1

const schema = `
CREATE TABLE collections (
	id   INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE
);
CREATE TABLE documents (
	id           INTEGER PRIMARY KEY,
	collection   INTEGER NOT NULL REFERENCES collections (id),
	doc_id       TEXT NOT NULL,
	title        TEXT NOT NULL,
	metadata     TEXT NOT NULL,
	content_hash TEXT NOT NULL,
	chunker      TEXT NOT NULL,
	bytes        INTEGER NOT NULL,
	chunks       INTEGER NOT NULL,
	tokens       INTEGER NOT NULL,
	UNIQUE (collection, doc_id)
);
CREATE TABLE chunks (
	id       INTEGER PRIMARY KEY,
	document INTEGER NOT NULL REFERENCES documents (id),
	n        INTEGER NOT NULL,
	section  TEXT NOT NULL,
	text     TEXT NOT NULL,
	start    INTEGER NOT NULL,
	stop     INTEGER NOT NULL,
	UNIQUE (document, n)
);
`

// collectionSchema makes the full-text index of one collection. Its text is in
// the table chunks, under the same row ids.
const collectionSchema = `
CREATE VIRTUAL TABLE fts_%[1]d USING fts5 (title, section, text, content='', contentless_delete=1, tokenize='porter unicode61');
CREATE VIRTUAL TABLE terms_%[1]d USING fts5vocab (fts_%[1]d, row);
`

// migrate makes the tables of a new file, and refuses a file of a newer version.
func migrate(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
	var version int
	if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return err
	}
	switch version {
	case schemaVersion:
		return nil
	case 0:
	default:
		return fmt.Errorf("its schema version %d is not %d: a newer plugin wrote it", version, schemaVersion)
	}
	if _, err := tx.ExecContext(ctx, schema+fmt.Sprintf(`PRAGMA user_version = %d`, schemaVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

// queryer is a database or a transaction.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// collectionID gives a collection's number, or sql.ErrNoRows.
func collectionID(ctx context.Context, q queryer, name string) (id int64, err error) {
	err = q.QueryRowContext(ctx, `SELECT id FROM collections WHERE name = ?`, name).Scan(&id)
	return id, err
}

func ensureCollection(ctx context.Context, tx *sql.Tx, name string) (int64, error) {
	id, err := collectionID(ctx, tx, name)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO collections (name) VALUES (?)`, name)
	if err != nil {
		return 0, err
	}
	if id, err = res.LastInsertId(); err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf(collectionSchema, id))
	return id, err
}
