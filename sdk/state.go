package sdk

import (
	"context"
	"errors"
	"time"
)

// ErrNoDelivery is returned by [State] and [Cache] for a context that is not a
// handler's.
var ErrNoDelivery = errors.New("the context is not a handler's")

// A StateValue is one key of the role's keyed state, as this run of the handler
// sees it. Changes are written when the message is done, in the same step as its
// acknowledgement; if another message changed the key meanwhile, nothing is
// applied and the handler runs again on fresh state, uncharged. A StateValue
// belongs to one handler run and one goroutine.
type StateValue struct {
	key     string
	version string
	found   bool
	fields  map[string]string
	set     map[string]string
	removed map[string]struct{}
	deleted bool
}

// State reads a key of the role's keyed state. Values of the same key asked for
// twice in one run are the same value.
func State(ctx context.Context, key string) (*StateValue, error) { return loadState(ctx, key) }

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

// Set replaces a key when the message is done. ttl must be positive.
func (c *CacheValue) Set(key string, fields map[string]string, ttl time.Duration) error {
	return c.d.writeCache(key, fields, ttl)
}

// Delete removes a key when the message is done.
func (c *CacheValue) Delete(key string) error { return c.d.writeCache(key, nil, 0) }
