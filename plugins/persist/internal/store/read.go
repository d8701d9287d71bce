package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
)

// Answers are bounded in bytes, well under what one message can carry (64 MiB):
// a page ends early, with a next; a get says that it asks for too much.
const (
	maxPageBytes = 8 << 20
	maxGetBytes  = 32 << 20
)

const columns = `SELECT r.key, r.doc, r.version, r.updated_at`

// Get reads the keys of a valid g, all from one snapshot. A key given twice is
// answered once.
func (s *Store) Get(ctx context.Context, g contract.Get) (contract.Got, error) {
	keys := unique(g.Keys)
	list, err := json.Marshal(keys)
	if err != nil {
		return contract.Got{}, fmt.Errorf("encoding the keys: %w", err)
	}
	found := make(map[string]contract.Stored, len(keys))
	bytes := 0
	err = s.each(ctx, func(r contract.Stored) (bool, error) {
		found[r.Key] = r
		if bytes += len(r.Doc); bytes > s.getBytes {
			return false, contract.Refuse("the documents asked for have more than %d bytes together; ask for fewer keys", s.getBytes)
		}
		return true, nil
	}, columns+` FROM json_each(?) k JOIN records r ON r.collection = ? AND r.key = k.value WHERE NOT r.deleted`,
		string(list), g.Collection)
	if err != nil {
		return contract.Got{}, err
	}
	answer := contract.Got{Records: []contract.Stored{}, Missing: []string{}}
	for _, key := range keys {
		if r, ok := found[key]; ok {
			answer.Records = append(answer.Records, r)
		} else {
			answer.Missing = append(answer.Missing, key)
		}
	}
	return answer, nil
}

// Query reads one page of a valid q. A page begins after the cursor's key, so
// what is written meanwhile is neither shown twice nor does it hide what is there.
func (s *Store) Query(ctx context.Context, q contract.Query) (contract.Page, error) {
	after, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err != nil {
		return contract.Page{}, contract.Refuse("cursor is %.64q; want the next of an earlier page", q.Cursor)
	}
	where, args, err := conditions(q.Where)
	if err != nil {
		return contract.Page{}, err
	}
	limit := q.Limit
	if limit == 0 {
		limit = contract.DefaultLimit
	}
	page := contract.Page{Records: []contract.Stored{}}
	bytes := 0
	err = s.each(ctx, func(r contract.Stored) (bool, error) {
		n := len(page.Records)
		if n == limit || n > 0 && bytes+len(r.Doc) > s.pageBytes {
			page.Next = base64.RawURLEncoding.EncodeToString([]byte(page.Records[n-1].Key))
			return false, nil
		}
		page.Records = append(page.Records, r)
		bytes += len(r.Doc)
		return true, nil
	}, columns+` FROM records r WHERE r.collection = ? AND r.key > ? AND NOT r.deleted`+where+` ORDER BY r.key LIMIT ?`,
		append(append([]any{q.Collection, string(after)}, args...), limit+1)...)
	return page, err
}

// each calls take with each row that a query gives, until take says stop.
func (s *Store) each(ctx context.Context, take func(contract.Stored) (more bool, err error), query string, args ...any) error {
	rows, err := s.readers.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return fmt.Errorf("reading the database: %w", err)
		}
		if more, err := take(r); err != nil || !more {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	return nil
}

func scan(rows *sql.Rows) (contract.Stored, error) {
	var r contract.Stored
	var updated int64
	var doc string
	if err := rows.Scan(&r.Key, &doc, &r.Version, &updated); err != nil {
		return r, err
	}
	r.Doc = json.RawMessage(doc)
	r.UpdatedAt = time.UnixMilli(updated).UTC()
	return r, nil
}
