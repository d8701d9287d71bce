package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// ErrNoDelivery is returned by [State] and [Cache] for a context that is not a
// running handler's.
var ErrNoDelivery = errors.New("the context is not a running handler's")

// A StateValue is one key of the role's keyed state, as this run of the handler
// sees it. Changes are written when the message is done, in the same step as its
// acknowledgement; if another message changed the key meanwhile, nothing is
// applied and the handler runs again on fresh state, uncharged. A StateValue
// belongs to one handler run and one goroutine.
type StateValue struct {
	key     string
	version string
	found   bool
	loaded  map[string]string
	now     map[string]string // what the handler made of it
}

// State reads a key of the role's keyed state. Values of the same key asked for
// twice in one run are the same value.
func State(ctx context.Context, key string) (*StateValue, error) { return loadState(ctx, key) }

// Key gives the key.
func (v *StateValue) Key() string { return v.key }

// Found says whether the key existed when it was read.
func (v *StateValue) Found() bool { return v.found }

// Version gives the version that was read, "" if the key did not exist.
func (v *StateValue) Version() string { return v.version }

// Get gives a field as this run sees it, its own changes included.
func (v *StateValue) Get(field string) (value string, ok bool) {
	value, ok = v.now[field]
	return value, ok
}

// Fields gives a copy of all fields as this run sees them.
func (v *StateValue) Fields() map[string]string { return maps.Clone(v.now) }

// Set sets a field. Setting what is already there writes nothing.
func (v *StateValue) Set(field, value string) { v.now[field] = value }

// Remove removes a field.
func (v *StateValue) Remove(field string) { delete(v.now, field) }

// Delete removes all fields, and with them the key.
func (v *StateValue) Delete() { clear(v.now) }

// Decode reads a field as JSON into target. A field that is not there leaves
// target as it is.
func (v *StateValue) Decode(field string, target any) error {
	value, ok := v.now[field]
	if !ok {
		return nil
	}
	if err := json.Unmarshal([]byte(value), target); err != nil {
		return fmt.Errorf("decoding field %q of state %q: %w", field, v.key, err)
	}
	return nil
}

// Encode sets a field to source as JSON.
func (v *StateValue) Encode(field string, source any) error {
	data, err := json.Marshal(source)
	if err != nil {
		return fmt.Errorf("encoding field %q of state %q: %w", field, v.key, err)
	}
	v.now[field] = string(data)
	return nil
}

// write gives what the run changed, nil if nothing.
func (v *StateValue) write() *fnhostv1.StateWrite {
	if maps.Equal(v.loaded, v.now) {
		return nil
	}
	w := &fnhostv1.StateWrite{Key: v.key, Version: v.version}
	if len(v.now) == 0 {
		w.Delete = true
		return w
	}
	for _, field := range slices.Sorted(maps.Keys(v.now)) {
		if old, ok := v.loaded[field]; !ok || old != v.now[field] {
			w.Set = append(w.Set, attribute(field, v.now[field]))
		}
	}
	for _, field := range slices.Sorted(maps.Keys(v.loaded)) {
		if _, ok := v.now[field]; !ok {
			w.Remove = append(w.Remove, []byte(field))
		}
	}
	return w
}

// CacheValue is the cache of the role as a handler sees it: written with the
// message's outcome, read at once, and never the source of truth.
type CacheValue struct{ d *running }

// Cache gives the role's cache.
func Cache(ctx context.Context) (*CacheValue, error) {
	d, err := current(ctx)
	if err != nil {
		return nil, err
	}
	return &CacheValue{d: d}, nil
}

// Get reads all fields of a key; found is false when it is not cached.
func (c *CacheValue) Get(ctx context.Context, key string) (fields map[string]string, found bool, err error) {
	return c.d.loadCache(ctx, key)
}

// Set replaces a key when the message is done. There must be a field, and ttl
// must be positive.
func (c *CacheValue) Set(key string, fields map[string]string, ttl time.Duration) error {
	if len(fields) == 0 || ttl <= 0 {
		return fmt.Errorf("caching %q: want at least one field and a positive ttl, have %d fields and %s", key, len(fields), ttl)
	}
	return c.d.writeCache(key, fields, ttl)
}

// Delete removes a key when the message is done.
func (c *CacheValue) Delete(key string) error { return c.d.writeCache(key, nil, 0) }
