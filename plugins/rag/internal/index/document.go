package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// find gives the row of a document, or sql.ErrNoRows.
func find(ctx context.Context, q queryer, collection, id string) (row int64, h Header, n Counts, err error) {
	err = q.QueryRowContext(ctx, `
		SELECT d.id, d.title, d.metadata, d.content_hash, d.chunker, d.bytes, d.chunks, d.tokens
		FROM documents d JOIN collections c ON c.id = d.collection
		WHERE c.name = ? AND d.doc_id = ?`, collection, id).
		Scan(&row, &h.Title, &h.Metadata, &h.ContentHash, &h.Chunker, &h.Bytes, &n.Chunks, &n.Tokens)
	return row, h, n, err
}

// put replaces a document, unless it is stored as it is.
func put(ctx context.Context, tx *sql.Tx, d Document) (changed bool, err error) {
	_, stored, _, err := find(ctx, tx, d.Collection, d.ID)
	switch {
	case err == nil && stored == d.Header:
		return false, nil
	case err == nil:
		if _, err := remove(ctx, tx, d.Collection, d.ID); err != nil {
			return false, err
		}
	case !errors.Is(err, sql.ErrNoRows):
		return false, err
	}
	collection, err := ensureCollection(ctx, tx, d.Collection)
	if err != nil {
		return false, err
	}
	return true, insert(ctx, tx, collection, d)
}

func insert(ctx context.Context, tx *sql.Tx, collection int64, d Document) error {
	tokens := 0
	for _, c := range d.Chunks {
		tokens += c.Tokens
	}
	res, err := tx.ExecContext(ctx, `
		INSERT INTO documents (collection, doc_id, title, metadata, content_hash, chunker, bytes, chunks, tokens)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		collection, d.ID, d.Title, d.Metadata, d.ContentHash, d.Chunker, d.Bytes, len(d.Chunks), tokens)
	if err != nil {
		return err
	}
	row, err := res.LastInsertId()
	if err != nil {
		return err
	}
	return insertChunks(ctx, tx, collection, row, d)
}

func insertChunks(ctx context.Context, tx *sql.Tx, collection, document int64, d Document) error {
	for n, c := range d.Chunks {
		res, err := tx.ExecContext(ctx, `INSERT INTO chunks (document, n, section, text, start, stop) VALUES (?, ?, ?, ?, ?, ?)`,
			document, n, c.Section, c.Text, c.Start, c.End)
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO fts_%d (rowid, title, section, text) VALUES (?, ?, ?, ?)`, collection),
			id, d.Title, c.Section, c.Text)
		if err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a document with its chunks, and says how many these were.
func remove(ctx context.Context, tx *sql.Tx, collection, id string) (chunks int, err error) {
	document, _, n, err := find(ctx, tx, collection, id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	number, err := collectionID(ctx, tx, collection)
	if err != nil {
		return 0, err
	}
	for _, statement := range []string{
		fmt.Sprintf(`DELETE FROM fts_%d WHERE rowid IN (SELECT id FROM chunks WHERE document = ?)`, number),
		`DELETE FROM chunks WHERE document = ?`,
		`DELETE FROM documents WHERE id = ?`,
	} {
		if _, err := tx.ExecContext(ctx, statement, document); err != nil {
			return 0, err
		}
	}
	return n.Chunks, nil
}
