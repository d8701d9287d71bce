// Package calltest has streams in memory for tests of callers, with functions
// that answer as a host would have them answer.
package calltest

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// A Function answers a message with a result's status and its data, or for the
// status `error` the error as JSON. An empty status gives no result at all.
type Function func(m delivery.Message) (status, body string)

// Log is streams in memory. The zero value has no functions.
type Log struct {
	mu        sync.Mutex
	streams   map[string][]delivery.Entry
	changed   chan struct{}
	last      int
	functions map[string]served
}

type served struct {
	sub topology.Subscription
	f   Function
}

// Serve has f answer what is published to the subscription's stream.
func (l *Log) Serve(sub topology.Subscription, f Function) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.functions == nil {
		l.functions = map[string]served{}
	}
	l.functions[sub.Stream] = served{sub, f}
}

// Publish adds an entry, and the result of its function.
func (l *Log) Publish(_ context.Context, stream string, fields []string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.add(stream, fields)
	if s, ok := l.functions[stream]; ok {
		m := delivery.Read(&delivery.Entry{ID: id, Fields: fields})
		if status, body := s.f(m); status != "" {
			name := "data"
			if status != delivery.StatusOK {
				name = "error"
			}
			l.add(s.sub.Results, []string{"type", m.Type + ".result", "causationid", m.ID, "entryid", id, "status", status, "attempt", "1", name, body})
		}
	}
	return id, nil
}

func (l *Log) add(stream string, fields []string) string {
	if l.streams == nil {
		l.streams = map[string][]delivery.Entry{}
	}
	l.last++
	id := strconv.Itoa(l.last) + "-0"
	l.streams[stream] = append(l.streams[stream], delivery.Entry{ID: id, Fields: fields})
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
	return id
}

// RangeBack gives the newest entries of a stream.
func (l *Log) RangeBack(_ context.Context, stream, _, _ string, count int64) ([]delivery.Entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := slices.Clone(l.streams[stream])
	slices.Reverse(newest)
	return newest[:min(int(count), len(newest))], nil
}

// Tail gives the entries after the id, and with follow waits for more.
func (l *Log) Tail(ctx context.Context, stream, from string, follow bool, fn func(delivery.Entry) error) error {
	for {
		found, changed := l.after(stream, from)
		for _, e := range found {
			if err := fn(e); err != nil {
				return err
			}
			from = e.ID
		}
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// after gives the entries after the id, and a channel that is closed when there
// may be more.
func (l *Log) after(stream, id string) ([]delivery.Entry, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	var found []delivery.Entry
	for _, e := range l.streams[stream] {
		if delivery.CompareIDs(e.ID, id) > 0 {
			found = append(found, e)
		}
	}
	return found, l.changed
}
