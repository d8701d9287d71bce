package deadletter

import (
	"strconv"
	"strings"
	"time"
)

// A Filter chooses letters; a letter must match all that is set. Its zero value
// means all, newest first.
type Filter struct {
	Reason      string    // as in `dlqreason`
	Type        string    // of the message
	Stream      string    // that the message was read from
	Fingerprint string    // of the error: see Group
	Error       string    // somewhere in the error or its type; any case
	Text        string    // somewhere in a name, a value or the error; any case
	Since       time.Time // dead since then
	Until       time.Time // dead until then, to the millisecond
	OldestFirst bool
	Limit       int    // most letters; 0: DefaultLimit
	Scan        int    // most entries to look at; 0: all
	Cursor      string // Page.Next of the page before
	// Through is the newest id to look at; empty: the last one. With it, what
	// comes while a long work is under way is no part of that work.
	Through string
}

func (f *Filter) match(l *Letter) bool {
	return (f.Reason == "" || l.Reason == f.Reason) &&
		(f.Type == "" || l.Type == f.Type) &&
		(f.Stream == "" || l.Stream == f.Stream) &&
		(f.Fingerprint == "" || l.Fingerprint == f.Fingerprint) &&
		(f.Error == "" || l.errorContains(strings.ToLower(f.Error))) &&
		(f.Text == "" || l.contains(strings.ToLower(f.Text)))
}

// ends gives the oldest and the newest id that the filter looks at.
func (f *Filter) ends() (oldest, newest string) {
	oldest, newest = "-", "+"
	if !f.Since.IsZero() {
		oldest = strconv.FormatInt(f.Since.UnixMilli(), 10) + "-0"
	}
	switch {
	case f.Through != "":
		newest = f.Through
	case !f.Until.IsZero():
		newest = f.until()
	}
	if f.Cursor == "" {
		return oldest, newest
	}
	if f.OldestFirst {
		return "(" + f.Cursor, newest
	}
	return oldest, "(" + f.Cursor
}

// until is the last id of the millisecond of Until.
func (f *Filter) until() string {
	return strconv.FormatInt(f.Until.UnixMilli(), 10) + "-18446744073709551615"
}
