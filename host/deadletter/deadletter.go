// Package deadletter lists, groups, requeues, discards and exports dead letters.
//
// Streams are named without the namespace. Nothing here needs a running host, and
// nothing holds more than a page of a queue in memory.
package deadletter

import (
	"context"
	_ "embed"
	"strings"

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

// A Page is part of a dead-letter queue.
type Page struct {
	Letters []Letter
	Scanned int    // entries looked at
	First   string // id of the first entry looked at; empty: there was none
	Last    string // and of the last one
	Next    string // cursor of the next page; empty: this is the last
}

// List gives the letters that match, at most filter.Limit.
func (d *DeadLetters) List(ctx context.Context, dlq string, filter Filter) (Page, error) {
	if filter.Limit <= 0 {
		filter.Limit = DefaultLimit
	}
	var page Page
	full := false
	err := d.scan(ctx, dlq, filter, func(e delivery.Entry) bool {
		if full { // there is another one
			page.Next = page.Last
			return false
		}
		d.look(&page, e, filter)
		full = len(page.Letters) == filter.Limit || filter.Scan > 0 && page.Scanned == filter.Scan
		return true
	})
	return page, err
}

func (d *DeadLetters) look(p *Page, e delivery.Entry, filter Filter) {
	if p.Scanned++; p.Scanned == 1 {
		p.First = e.ID
	}
	p.Last = e.ID
	if l := d.read(e); filter.match(&l) {
		p.Letters = append(p.Letters, l)
	}
}

// Each shows the letters that match to see, one at a time, until it gives false.
// filter.Limit and filter.Scan do not count.
func (d *DeadLetters) Each(ctx context.Context, dlq string, filter Filter, see func(Letter) bool) error {
	return d.scan(ctx, dlq, filter, func(e delivery.Entry) bool {
		l := d.read(e)
		return !filter.match(&l) || see(l)
	})
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
	return d.read(entries[0]), true, nil
}

// scan shows all entries between the filter's ends to see, until it has enough.
func (d *DeadLetters) scan(ctx context.Context, dlq string, filter Filter, see func(delivery.Entry) bool) error {
	oldest, newest := filter.ends()
	command, from, to := "XREVRANGE", newest, oldest
	if filter.OldestFirst {
		command, from, to = "XRANGE", oldest, newest
	}
	for {
		entries, err := d.entries(ctx, dlq, command, from, to)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, entry := range entries {
			if !see(entry) {
				return nil
			}
			from = "(" + entry.ID
		}
	}
}

// entries reads with all names and values in their order, which the client's own
// XRANGE does not keep.
func (d *DeadLetters) entries(ctx context.Context, dlq, command, from, to string) ([]delivery.Entry, error) {
	answer, err := pageScript.RunRO(ctx, d.client, []string{d.keys.Stream(dlq)}, command, from, to, pageEntries, pageBytes).Slice()
	if err != nil {
		return nil, wrap(err, "reading dead letters of %s", dlq)
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
