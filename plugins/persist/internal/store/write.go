package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
	"github.com/fnhost/fnhost/plugins/persist/internal/jsondoc"
)

// Write carries out a valid w once. Conflicts are part of the answer, not errors.
func (s *Store) Write(ctx context.Context, task Task, w contract.Write) (contract.Written, error) {
	records, err := prepare(w)
	if err != nil {
		return contract.Written{}, err
	}
	var answer contract.Written
	answer.Duplicate, err = s.effect(ctx, task, len(records), &answer, func(tx *session) (outcome, error) {
		return tx.write(task, w, records, s.writer.now())
	})
	return answer, err
}

// A record is one document of a write, checked and parsed by its handler's
// goroutine, because the writer's time is everybody's.
type record struct {
	key       string
	doc       any
	text      string // of doc
	ifVersion *int64
}

func prepare(w contract.Write) ([]record, error) {
	last := map[string]int{}
	for i, r := range w.Records {
		last[r.Key] = i
	}
	records := make([]record, 0, len(last))
	for i, r := range w.Records {
		doc, err := jsondoc.Parse(r.Doc)
		if err != nil {
			return nil, contract.Refuse("records[%d].doc (key %q): %v", i, r.Key, err)
		}
		if replaces(w.Mode) && last[r.Key] != i {
			continue // the message itself overwrites it
		}
		text, err := jsondoc.Text(doc)
		if err != nil {
			return nil, err
		}
		records = append(records, record{key: r.Key, doc: doc, text: string(text), ifVersion: r.IfVersion})
	}
	return records, nil
}

func replaces(m contract.Mode) bool { return m == contract.Upsert || m == "" }

// A row is a key as the transaction sees it. A key that does not exist has the
// version that it had when it was deleted, or 0.
type row struct {
	exists  bool
	version int64
	text    string
}

func (r row) current() int64 {
	if r.exists {
		return r.version
	}
	return 0
}

// write decides about every record in their order, each on what those before it
// left, and then applies what is to be applied.
func (s *session) write(task Task, w contract.Write, records []record, now time.Time) (*written, error) {
	answer := newWritten()
	rows := map[string]row{}
	var changed []string
	for _, r := range records {
		before, seen := rows[r.key]
		if !seen {
			var err error
			if before, err = s.find(w.Collection, r.key); err != nil {
				return nil, err
			}
		}
		after, refusal, err := r.on(before, w.Mode)
		if err != nil {
			return nil, err
		}
		rows[r.key] = after
		switch {
		case refusal != nil:
			answer.Errors = append(answer.Errors, *refusal)
		case answer.count(r.key, before, after):
			changed = append(changed, r.key)
		}
	}
	if len(answer.Errors) > 0 && (w.Atomic == nil || *w.Atomic) {
		return answer.nothing(), nil
	}
	return answer, s.put(task, w.Collection, changed, rows, now)
}

func (s *session) find(collection, key string) (row, error) {
	var r row
	var deleted bool
	err := s.row(sqlFind, collection, key).Scan(&r.version, &deleted, &r.text)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, nil
	}
	if err != nil {
		return row{}, fmt.Errorf("reading %s/%s: %w", collection, key, err)
	}
	r.exists = !deleted
	return r, nil
}

func (s *session) put(task Task, collection string, keys []string, rows map[string]row, now time.Time) error {
	for _, key := range keys {
		r := rows[key]
		if _, err := s.exec(sqlPut, collection, key, r.text, r.version, task.id, now.UnixMilli()); err != nil {
			return fmt.Errorf("writing %s/%s: %w", collection, key, err)
		}
	}
	return nil
}

// on gives the row after this record, which is the row before it when nothing
// changes or the record is refused.
func (r record) on(before row, mode contract.Mode) (after row, refusal *contract.RecordError, err error) {
	if refusal := r.refusal(before, mode); refusal != nil {
		return before, refusal, nil
	}
	doc, text := r.doc, r.text
	if mode == contract.Merge {
		if doc, text, err = r.merged(before); err != nil {
			return row{}, nil, err
		}
	}
	if len(text) > contract.MaxDocBytes {
		return before, r.refuse(contract.CodeTooLarge, "the document would have %d bytes; %d is the limit", len(text), contract.MaxDocBytes), nil
	}
	if before.exists {
		same, err := before.means(doc, text)
		if err != nil || same {
			return before, nil, err
		}
	}
	return row{exists: true, version: before.version + 1, text: text}, nil, nil
}

func (r record) refusal(before row, mode contract.Mode) *contract.RecordError {
	if mode == contract.Insert && before.exists {
		return r.refuse(contract.CodeExists, "the key exists, at version %d", before.version)
	}
	if r.ifVersion == nil || *r.ifVersion == before.current() {
		return nil
	}
	if !before.exists {
		return r.refuse(contract.CodeConflict, "if_version is %d and the key does not exist", *r.ifVersion)
	}
	return r.refuse(contract.CodeConflict, "if_version is %d and the key is at version %d", *r.ifVersion, before.version)
}

func (r record) refuse(code, format string, args ...any) *contract.RecordError {
	return &contract.RecordError{Key: r.key, Code: code, Message: fmt.Sprintf(format, args...)}
}

// merged applies the record as a patch: of what is there, or of nothing.
func (r record) merged(before row) (any, string, error) {
	var target any
	if before.exists {
		var err error
		if target, err = jsondoc.Parse([]byte(before.text)); err != nil {
			return nil, "", fmt.Errorf("the stored document of key %q: %w", r.key, err)
		}
	}
	doc := jsondoc.Merge(target, r.doc)
	text, err := jsondoc.Text(doc)
	return doc, string(text), err
}

func (r row) means(doc any, text string) (bool, error) {
	if r.text == text {
		return true, nil
	}
	stored, err := jsondoc.Parse([]byte(r.text))
	if err != nil {
		return false, fmt.Errorf("the stored document: %w", err)
	}
	return jsondoc.Equal(stored, doc), nil
}
