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
	whole   bool            // all fields were loaded
	known   map[string]bool // else: those that were, there or not
	loaded  map[string]string
	now     map[string]string // what the handler made of it
	removed map[string]bool
	deleted bool // all that was not loaded is to go
}

func newStateValue(key string, loaded *fnhostv1.Loaded) *StateValue {
	return &StateValue{
		key: key, version: loaded.GetVersion(), found: loaded.GetFound(),
		known: map[string]bool{}, loaded: map[string]string{}, now: map[string]string{}, removed: map[string]bool{},
	}
}

// State reads a key of the role's keyed state: with fields only those, so that a
// few can be read of a large key; without, all of them. The version is the whole
// key's either way: what is written is compared with any change to the key.
// Asked for the same key again, State gives the same value, with what was asked
// for in addition.
func State(ctx context.Context, key string, fields ...string) (*StateValue, error) {
	values, err := loadStates(ctx, []StateKey{{Key: key, Fields: fields}})
	if err != nil {
		return nil, err
	}
	return values[0], nil
}

// A StateKey names what to read of one key: see [State].
type StateKey struct {
	Key    string
	Fields []string // none: all
}

// States reads several keys as [State] does one, with one question to the host:
// a handler that knows what it will need waits once, and not for each. The values
// are in the order of the keys.
func States(ctx context.Context, keys ...StateKey) ([]*StateValue, error) {
	return loadStates(ctx, keys)
}

// knows says whether the fields, or all if there are none, were loaded.
func (v *StateValue) knows(fields []string) bool {
	if v.whole || len(fields) == 0 {
		return v.whole
	}
	return !slices.ContainsFunc(fields, func(f string) bool { return !v.known[f] })
}

// learn adds what was loaded: of the fields, or of all if there are none. What
// the handler has done to them already stays.
func (v *StateValue) learn(fields []string, values map[string]string) {
	v.whole = v.whole || len(fields) == 0
	for _, f := range fields {
		v.known[f] = true
	}
	for f, value := range values {
		if _, before := v.loaded[f]; before {
			continue
		}
		v.loaded[f] = value
		if _, set := v.now[f]; !set && !v.removed[f] && !v.deleted {
			v.now[f] = value
		}
	}
}

// Key gives the key.
func (v *StateValue) Key() string { return v.key }

// Found says whether the key existed when it was read.
func (v *StateValue) Found() bool { return v.found }

// Version gives the version that was read, "" if the key did not exist.
func (v *StateValue) Version() string { return v.version }

// Get gives a field as this run sees it, its own changes included. It panics for
// a field that was neither asked of [State] nor set: what it holds is not known.
func (v *StateValue) Get(field string) (value string, ok bool) {
	value, ok = v.now[field]
	if !ok && !v.whole && !v.known[field] && !v.removed[field] && !v.deleted {
		panic(fmt.Sprintf("sdk: field %q of state %q was not loaded: name it in State(ctx, key, fields...)", field, v.key))
	}
	return value, ok
}

// Fields gives a copy of all fields that were loaded or set, as this run sees
// them.
func (v *StateValue) Fields() map[string]string { return maps.Clone(v.now) }

// Set sets a field, loaded or not. Setting what is already there writes nothing.
func (v *StateValue) Set(field, value string) {
	v.now[field] = value
	delete(v.removed, field)
}

// Remove removes a field, loaded or not.
func (v *StateValue) Remove(field string) {
	delete(v.now, field)
	v.removed[field] = true
}

// Delete removes all fields, loaded or not, and with them the key.
func (v *StateValue) Delete() {
	clear(v.now)
	v.deleted = true
}

// Decode reads a field as JSON into target. A field that is not there leaves
// target as it is. It panics where [StateValue.Get] does.
func (v *StateValue) Decode(field string, target any) error {
	value, ok := v.Get(field)
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
	v.Set(field, string(data))
	return nil
}

// write gives what the run changed, nil if nothing.
func (v *StateValue) write() *fnhostv1.StateWrite {
	w := &fnhostv1.StateWrite{Key: v.key, Version: v.version}
	// A key that is left without a field is gone; of one not loaded whole, the
	// store finds that out.
	w.Delete = v.found && (v.deleted && !v.whole || v.whole && len(v.now) == 0)
	for _, field := range slices.Sorted(maps.Keys(v.now)) {
		if old, ok := v.loaded[field]; w.Delete || !ok || old != v.now[field] {
			w.Set = append(w.Set, attribute(field, v.now[field]))
		}
	}
	if !w.Delete {
		w.Remove = v.gone()
	}
	if !w.Delete && len(w.Set)+len(w.Remove) == 0 {
		return nil
	}
	return w
}

// gone gives the fields to remove: those that were loaded and are not there any
// more, and those that may be there.
func (v *StateValue) gone() (fields [][]byte) {
	gone := map[string]bool{}
	for field := range v.loaded {
		gone[field] = true
	}
	for field := range v.removed {
		if v.found && !v.whole && !v.known[field] {
			gone[field] = true
		}
	}
	for field := range v.now {
		delete(gone, field)
	}
	for _, field := range slices.Sorted(maps.Keys(gone)) {
		fields = append(fields, []byte(field))
	}
	return fields
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
