package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fnhost/fnhost/plugins/rag/internal/text"
)

// A Query asks for the best chunks of a collection.
type Query struct {
	Collection string
	Terms      []string // as [Terms] gives them; a chunk with any of them matches
	Limit      int      // of hits
	Documents  bool     // at most one hit a document: its best chunk
	MinScore   float64  // hits with a lower score are left out
	Filter     map[string]any
}

// A Hit is a chunk that matches, the better the higher its score.
type Hit struct {
	DocID, ChunkID string
	Score          float64 // BM25, above 0; comparable within one query only
	Title          string
	Chunk          text.Chunk
	Metadata       json.RawMessage
}

// Search ranks the chunks of a collection, best first. A collection that does
// not exist has no hits. The rows come in the order of rank, so that it reads no
// further than the limit, whatever the filter and the documents leave out.
func (x *Index) Search(ctx context.Context, q Query) ([]Hit, error) {
	id, err := collectionID(ctx, x.reads, q.Collection)
	if errors.Is(err, sql.ErrNoRows) || len(q.Terms) == 0 {
		return nil, nil
	}
	if err == nil {
		var hits []Hit
		if hits, err = x.search(ctx, id, q); err == nil {
			return hits, nil
		}
	}
	return nil, fmt.Errorf("searching collection %q: %w", q.Collection, err)
}

// CROSS JOIN keeps the full-text index the outermost loop, and so its order.
const searchSQL = `
	SELECT f.rank, c.n, c.section, c.text, c.start, c.stop, d.doc_id, d.title, d.metadata
	FROM fts_%[1]d f CROSS JOIN chunks c ON c.id = f.rowid CROSS JOIN documents d ON d.id = c.document
	WHERE fts_%[1]d MATCH ? ORDER BY f.rank`

func (x *Index) search(ctx context.Context, collection int64, q Query) ([]Hit, error) {
	rows, err := x.reads.QueryContext(ctx, fmt.Sprintf(searchSQL, collection), matchAny(q.Terms))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var hits []Hit
	seen := map[string]bool{}
	for len(hits) < q.Limit && rows.Next() {
		h, err := scanHit(rows)
		if err != nil {
			return nil, err
		}
		if h.Score < q.MinScore {
			break
		}
		if q.Documents && seen[h.DocID] || !matches(h.Metadata, q.Filter) {
			continue
		}
		seen[h.DocID] = true
		hits = append(hits, h)
	}
	return hits, rows.Err()
}

func scanHit(rows *sql.Rows) (h Hit, err error) {
	var rank float64
	var n int
	var metadata string
	err = rows.Scan(&rank, &n, &h.Chunk.Section, &h.Chunk.Text, &h.Chunk.Start, &h.Chunk.End, &h.DocID, &h.Title, &metadata)
	h.Score = -rank
	h.ChunkID = ChunkID(h.DocID, n)
	h.Metadata = json.RawMessage(metadata)
	return h, err
}

// Frequencies gives for each term how many chunks of a collection have it, and
// how many chunks there are.
func (x *Index) Frequencies(ctx context.Context, collection string, terms []string) (counts map[string]int, chunks int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("counting terms of collection %q: %w", collection, err)
		}
	}()
	counts = map[string]int{}
	id, err := collectionID(ctx, x.reads, collection)
	if errors.Is(err, sql.ErrNoRows) {
		return counts, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	err = x.reads.QueryRowContext(ctx, `SELECT coalesce(sum(chunks), 0) FROM documents WHERE collection = ?`, id).Scan(&chunks)
	if err != nil {
		return nil, 0, err
	}
	count := fmt.Sprintf(`SELECT count(*) FROM fts_%[1]d WHERE fts_%[1]d MATCH ?`, id)
	for _, t := range terms {
		var n int
		if err := x.reads.QueryRowContext(ctx, count, quote(t)).Scan(&n); err != nil {
			return nil, 0, err
		}
		counts[t] = n
	}
	return counts, chunks, nil
}

// matchAny is a full-text query for any of the terms. Quoted, a term is never
// taken for the query language's own words and signs.
func matchAny(terms []string) string {
	quoted := make([]string, len(terms))
	for i, t := range terms {
		quoted[i] = quote(t)
	}
	return strings.Join(quoted, " OR ")
}

func quote(term string) string { return `"` + quoting.Replace(term) + `"` }

// A NUL would end the query.
var quoting = strings.NewReplacer(`"`, `""`, "\x00", " ")
