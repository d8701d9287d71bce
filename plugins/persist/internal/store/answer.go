package store

import "github.com/fnhost/fnhost/plugins/persist/internal/contract"

// What became of a task, in the inbox's column status.
const (
	statusDone    = "done"
	statusPartial = "partial" // some records have errors, the others are written
	statusRefused = "refused" // records have errors and nothing is written
)

// written is the answer to a write as it grows, record by record.
type written contract.Written

func newWritten() *written {
	return &written{Versions: map[string]int64{}, Errors: []contract.RecordError{}}
}

// count books what one record does to its key, and tells whether it changes it.
func (w *written) count(key string, before, after row) (changed bool) {
	w.Versions[key] = after.version
	switch {
	case !before.exists:
		w.Inserted++
	case before.version != after.version:
		w.Updated++
	default:
		w.Unchanged++
		return false
	}
	w.Written++
	return true
}

// nothing is the answer when the errors found keep everything from being written.
func (w *written) nothing() *written {
	none := newWritten()
	none.Errors = w.Errors
	return none
}

func (w *written) status() string {
	switch {
	case len(w.Errors) == 0:
		return statusDone
	case len(w.Versions) > 0:
		return statusPartial
	}
	return statusRefused
}

// deleted is the answer to a delete.
type deleted contract.Deleted

func (*deleted) status() string { return statusDone }
