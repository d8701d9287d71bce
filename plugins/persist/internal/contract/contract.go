// Package contract is what persist's messages say: the data of persist.write,
// persist.get, persist.delete and persist.query and of their results, and which
// of them are refused. It knows no database.
package contract

import (
	"encoding/json"
	"time"
)

// The message types.
const (
	TypeWrite  = "persist.write"
	TypeGet    = "persist.get"
	TypeDelete = "persist.delete"
	TypeQuery  = "persist.query"
)

// Limits of one message.
const (
	MaxRecords    = 10_000 // records of a write, keys of a get or a delete
	MaxKeyBytes   = 512
	MaxDocBytes   = 16 << 20 // of one document as stored
	MaxConditions = 32       // fields of a query's where
	MaxPathBytes  = 512      // of one such field
	DefaultLimit  = 100      // records of a query's page
	MaxLimit      = 1000
)

// A Mode is what a write does with a key that exists.
type Mode string

// The modes of a write.
const (
	Upsert Mode = "upsert" // replaces the document
	Insert Mode = "insert" // fails with [CodeExists]
	Merge  Mode = "merge"  // applies the document as an RFC 7396 merge patch
)

// Write is the data of persist.write.
type Write struct {
	Collection string   `json:"collection"`
	Mode       Mode     `json:"mode,omitempty"` // default upsert
	Records    []Record `json:"records"`
	// Atomic, the default, writes nothing when any record has an error.
	Atomic *bool `json:"atomic,omitempty"`
}

// A Record is one document of a write.
type Record struct {
	Key string          `json:"key"`
	Doc json.RawMessage `json:"doc"`
	// IfVersion, if set, must be the key's version; 0 means that the key must
	// not exist.
	IfVersion *int64 `json:"if_version,omitempty"`
}

// Codes of a [RecordError].
const (
	CodeConflict = "conflict"  // if_version is not the key's version
	CodeExists   = "exists"    // insert of a key that exists
	CodeTooLarge = "too_large" // the document would exceed MaxDocBytes
)

// Written is the result of a write.
type Written struct {
	Written   int              `json:"written"` // inserted + updated
	Inserted  int              `json:"inserted"`
	Updated   int              `json:"updated"`
	Unchanged int              `json:"unchanged"` // equal to what was there; the version stays
	Versions  map[string]int64 `json:"versions"`  // of every key that was written or is unchanged
	Errors    []RecordError    `json:"errors"`
	Duplicate bool             `json:"duplicate"` // an earlier run of this message did it
}

// A RecordError says why one record was not written.
type RecordError struct {
	Key     string `json:"key"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Delete is the data of persist.delete.
type Delete struct {
	Collection string   `json:"collection"`
	Keys       []string `json:"keys"`
}

// Deleted is the result of a delete; both numbers count keys.
type Deleted struct {
	Deleted   int  `json:"deleted"`
	Missing   int  `json:"missing"`
	Duplicate bool `json:"duplicate"` // an earlier run of this message did it
}

// Get is the data of persist.get.
type Get struct {
	Collection string   `json:"collection"`
	Keys       []string `json:"keys"`
}

// Got is the result of a get, in the order of the keys asked for.
type Got struct {
	Records []Stored `json:"records"`
	Missing []string `json:"missing"`
}

// Query is the data of persist.query.
type Query struct {
	Collection string `json:"collection"`
	// Where holds a string, number, boolean or null by field, all of which must
	// be equal; a dot in a field steps into an object.
	Where  map[string]json.RawMessage `json:"where,omitempty"`
	Limit  int                        `json:"limit,omitempty"`  // default DefaultLimit
	Cursor string                     `json:"cursor,omitempty"` // an earlier page's Next
}

// Page is the result of a query, ordered by key (as bytes). Next is empty on
// the last page. A page may hold fewer records than the limit and have a next.
type Page struct {
	Records []Stored `json:"records"`
	Next    string   `json:"next"`
}

// Stored is a document as it is in the database.
type Stored struct {
	Key       string          `json:"key"`
	Doc       json.RawMessage `json:"doc"`
	Version   int64           `json:"version"` // 1 at first, and one more with each change
	UpdatedAt time.Time       `json:"updated_at"`
}
