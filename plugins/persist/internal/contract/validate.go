package contract

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

var collectionName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// Validate gives a [RefusedError] that says what to correct. It does not look
// into the documents.
func (w *Write) Validate() error {
	if err := validCollection(w.Collection); err != nil {
		return err
	}
	switch w.Mode {
	case "", Upsert, Insert, Merge:
	default:
		return Refuse("mode is %.40q; want upsert, insert or merge", w.Mode)
	}
	if w.Records == nil {
		return Refuse("records is missing; want an array of {key, doc}")
	}
	if len(w.Records) > MaxRecords {
		return Refuse("records has %d records; a message may have %d at most: split it", len(w.Records), MaxRecords)
	}
	for i, r := range w.Records {
		if err := r.validate(i); err != nil {
			return err
		}
	}
	return nil
}

func (r *Record) validate(i int) error {
	if problem := keyProblem(r.Key); problem != "" {
		return Refuse("records[%d].key %s", i, problem)
	}
	if r.Doc == nil {
		return Refuse("records[%d].doc is missing (key %q); write null to store a null", i, r.Key)
	}
	if r.IfVersion != nil && *r.IfVersion < 0 {
		return Refuse("records[%d].if_version is %d (key %q); want a version, or 0 for a key that must not exist", i, *r.IfVersion, r.Key)
	}
	return nil
}

// Validate gives a [RefusedError] that says what to correct.
func (d *Delete) Validate() error { return validKeys(d.Collection, d.Keys) }

// Validate gives a [RefusedError] that says what to correct.
func (g *Get) Validate() error { return validKeys(g.Collection, g.Keys) }

// Validate gives a [RefusedError] that says what to correct. The values of Where
// and the cursor are checked where they are read.
func (q *Query) Validate() error {
	if err := validCollection(q.Collection); err != nil {
		return err
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		return Refuse("limit is %d; want 1 to %d, or none for %d", q.Limit, MaxLimit, DefaultLimit)
	}
	if len(q.Where) > MaxConditions {
		return Refuse("where has %d fields; %d is the limit", len(q.Where), MaxConditions)
	}
	for field := range q.Where {
		if len(field) > MaxPathBytes || strings.Contains("."+field+".", "..") {
			return Refuse("where has the field %.64q; want names separated by single dots, %d bytes at most", field, MaxPathBytes)
		}
	}
	return nil
}

func validCollection(name string) error {
	if name == "" {
		return Refuse("collection is missing")
	}
	if !collectionName.MatchString(name) {
		return Refuse("collection is %.160q; want 1 to 128 of A-Z a-z 0-9 _ . -", name)
	}
	return nil
}

func validKeys(collection string, keys []string) error {
	if err := validCollection(collection); err != nil {
		return err
	}
	if keys == nil {
		return Refuse("keys is missing; want an array of strings")
	}
	if len(keys) > MaxRecords {
		return Refuse("keys has %d keys; a message may have %d at most: split it", len(keys), MaxRecords)
	}
	for i, key := range keys {
		if problem := keyProblem(key); problem != "" {
			return Refuse("keys[%d] %s", i, problem)
		}
	}
	return nil
}

// keyProblem refuses NUL because not every database can hold it in a text.
func keyProblem(key string) string {
	switch {
	case key == "":
		return "is missing or empty"
	case len(key) > MaxKeyBytes:
		return "is longer than 512 bytes"
	case !utf8.ValidString(key):
		return "is not valid UTF-8"
	case strings.ContainsRune(key, 0):
		return "contains NUL"
	}
	return ""
}
