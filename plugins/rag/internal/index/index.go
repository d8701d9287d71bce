// Package index keeps chunked documents in one SQLite file and ranks them by
// BM25 (FTS5). Each collection has a full-text index of its own, so that its
// ranking depends on nothing outside it.
package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"github.com/fnhost/fnhost/plugins/rag/internal/text"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// A Document is what [Index.Put] stores.
type Document struct {
	Collection, ID string
	Header
	Chunks []text.Chunk
}

// A Header is what is stored of a document besides its chunks. Documents with
// the same header are the same document.
type Header struct {
	Title       string
	Metadata    string // a JSON object, keys sorted
	ContentHash string // of the bytes that it was made from
	Chunker     string // what made the chunks; see text.Chunker.Identity
	Bytes       int    // of the content
}

// Counts are the chunks of one document and their estimated tokens.
type Counts struct{ Chunks, Tokens int }

// An Index is safe for concurrent use: one writer, which commits what waits
// for it together, and any number of readers beside it.
type Index struct {
	writer *writer
	reads  *sql.DB
}

// Open opens or creates the index in the file at path, for so many readers at
// once. Another process may have it open too.
func Open(ctx context.Context, path string, readers int) (*Index, error) {
	writes, err := sql.Open("sqlite", dsn(path, "_txlock=immediate"))
	if err != nil {
		return nil, fmt.Errorf("opening the index %s: %w", path, err)
	}
	writes.SetMaxOpenConns(1)
	if err := migrate(ctx, writes); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the index %s: %w", path, err), writes.Close())
	}
	reads, err := sql.Open("sqlite", dsn(path, "_pragma=query_only(1)"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the index %s: %w", path, err), writes.Close())
	}
	reads.SetMaxOpenConns(readers)
	reads.SetMaxIdleConns(readers)
	return &Index{writer: startWriter(writes), reads: reads}, nil
}

// dsn asks for a full sync at each commit: what Put and Delete return is on the
// disk, because the message is acknowledged after it and never comes again.
func dsn(path, more string) string {
	u := url.URL{Scheme: "file", Path: path}
	return u.String() + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&" + more
}

// Close ends the writer and closes the file. Calls that still run fail.
func (x *Index) Close() error {
	return errors.Join(x.writer.close(), x.reads.Close())
}

// Put stores a document with all its chunks, in place of what is stored under
// its id. changed is false if it is stored already. When Put returns without an
// error the document is durable; with one, a later call may succeed.
func (x *Index) Put(ctx context.Context, d Document) (bool, error) {
	var changed bool // set by the writer; read only after it has answered
	err := x.writer.do(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		changed, err = put(ctx, tx, d)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("storing document %q of collection %q: %w", d.ID, d.Collection, err)
	}
	return changed, nil
}

// Delete removes a document and says how many chunks it had; 0 also when there
// is no such document.
func (x *Index) Delete(ctx context.Context, collection, id string) (int, error) {
	var chunks int // as in Put
	err := x.writer.do(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		chunks, err = remove(ctx, tx, collection, id)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("deleting document %q of collection %q: %w", id, collection, err)
	}
	return chunks, nil
}

// Find gives a document's header, if it is stored.
func (x *Index) Find(ctx context.Context, collection, id string) (Header, Counts, bool, error) {
	_, h, n, err := find(ctx, x.reads, collection, id)
	if errors.Is(err, sql.ErrNoRows) {
		return Header{}, Counts{}, false, nil
	}
	if err != nil {
		return Header{}, Counts{}, false, fmt.Errorf("looking up document %q of collection %q: %w", id, collection, err)
	}
	return h, n, true, nil
}

// Stats are the sizes of a collection; all but SizeBytes are 0 for one that does
// not exist.
type Stats struct {
	Documents, Chunks, Terms int
	SizeBytes                int64 // of the database file, with all collections
}

// Stats counts a collection.
func (x *Index) Stats(ctx context.Context, collection string) (s Stats, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("counting collection %q: %w", collection, err)
		}
	}()
	err = x.reads.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`).Scan(&s.SizeBytes)
	if err != nil {
		return s, err
	}
	id, err := collectionID(ctx, x.reads, collection)
	if errors.Is(err, sql.ErrNoRows) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	err = x.reads.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(chunks), 0) FROM documents WHERE collection = ?`, id).
		Scan(&s.Documents, &s.Chunks)
	if err != nil {
		return s, err
	}
	err = x.reads.QueryRowContext(ctx, fmt.Sprintf(`SELECT count(*) FROM terms_%d`, id)).Scan(&s.Terms)
	return s, err
}

// ChunkID names a chunk of a document: its id, and the chunk's place in it.
func ChunkID(docID string, n int) string { return fmt.Sprintf("%s#%04d", docID, n) }
