// Package deadletter lists, groups, requeues and discards dead letters.
//
// Streams are named without the namespace. Nothing here needs a running host.
package deadletter

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

const (
	pageEntries = 128     // read in one round trip
	pageBytes   = 8 << 20 // after which a page is closed, so that large entries come alone
	// DefaultLimit is how many letters a List gives if its filter does not say.
	DefaultLimit = 50
)

//go:embed lua/page.lua
var pageSource string

var pageScript = redis.NewScript(pageSource)

// DeadLetters works on the dead-letter queues of one namespace. It is safe for
// concurrent use.
type DeadLetters struct {
	client *redis.Client
	keys   topology.Keys
}

// New gives the dead letters of the namespace of keys.
func New(client *redis.Client, keys topology.Keys) *DeadLetters {
	return &DeadLetters{client: client, keys: keys}
}

// A Filter chooses letters. Its zero value means all, newest first.
type Filter struct {
	Reason      string    // as in `dlqreason`
	Type        string    // of the message
	Stream      string    // that the message was read from
	Fingerprint string    // of the error: see Group
	Since       time.Time // dead since then
	Text        string    // somewhere in a name, a value or the error; any case
	OldestFirst bool
	Limit       int    // most letters; 0: DefaultLimit
	Cursor      string // Page.Next of the page before
}

func (f *Filter) match(l *Letter) bool {
	return (f.Reason == "" || l.Reason == f.Reason) &&
		(f.Type == "" || l.Type == f.Type) &&
		(f.Stream == "" || l.Stream == f.Stream) &&
		(f.Fingerprint == "" || l.Fingerprint == f.Fingerprint) &&
		(f.Text == "" || l.contains(strings.ToLower(f.Text)))
}

// A Page is part of a dead-letter queue.
type Page struct {
	Letters []Letter
	Scanned int    // entries looked at
	Next    string // cursor of the next page; empty: this is the last
}

// List gives the letters that match, at most filter.Limit.
func (d *DeadLetters) List(ctx context.Context, dlq string, filter Filter) (Page, error) {
	if filter.Limit <= 0 {
		filter.Limit = DefaultLimit
	}
	var page Page
	err := d.scan(ctx, dlq, filter, func(l Letter) bool {
		page.Scanned++
		if filter.match(&l) {
			page.Letters = append(page.Letters, l)
		}
		if len(page.Letters) < filter.Limit {
			return true
		}
		page.Next = l.ID
		return false
	})
	return page, err
}

// Get gives one letter; ok is false if there is none with that id.
func (d *DeadLetters) Get(ctx context.Context, dlq, id string) (l Letter, ok bool, err error) {
	if !strings.Contains(id, "-") {
		id += "-0" // as Redis reads it everywhere but in a range
	}
	entries, err := d.entries(ctx, dlq, "XRANGE", id, id)
	if err != nil || len(entries) == 0 {
		return Letter{}, false, err
	}
	return read(entries[0]), true, nil
}

// scan shows all letters since filter.Since and after filter.Cursor to see, until
// it has enough.
func (d *DeadLetters) scan(ctx context.Context, dlq string, filter Filter, see func(Letter) bool) error {
	oldest := "-"
	if !filter.Since.IsZero() {
		oldest = fmt.Sprintf("%d", filter.Since.UnixMilli())
	}
	command, from, to := "XREVRANGE", "+", oldest
	if filter.OldestFirst {
		command, from, to = "XRANGE", oldest, "+"
	}
	if filter.Cursor != "" {
		from = "(" + filter.Cursor
	}
	for {
		entries, err := d.entries(ctx, dlq, command, from, to)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, entry := range entries {
			if !see(read(entry)) {
				return nil
			}
			from = "(" + entry.ID
		}
	}
}

// entries reads with all names and values in their order, which the client's own
// XRANGE does not keep.
func (d *DeadLetters) entries(ctx context.Context, dlq, command, from, to string) ([]delivery.Entry, error) {
	answer, err := pageScript.Run(ctx, d.client, []string{d.keys.Stream(dlq)}, command, from, to, pageEntries, pageBytes).Slice()
	if err != nil {
		return nil, fmt.Errorf("reading dead letters of %s: %w", dlq, err)
	}
	entries := make([]delivery.Entry, len(answer))
	for i, row := range answer {
		row := row.([]any)
		entries[i].ID = row[0].(string)
		for _, part := range row[1].([]any) {
			entries[i].Fields = append(entries[i].Fields, part.(string))
		}
	}
	return entries, nil
}
