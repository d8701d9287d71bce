package sdk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// running is a delivery from its arrival to its outcome.
type running struct {
	work     *work
	delivery *fnhostv1.Delivery
	message  *Message

	// Of the handler's run, set when it starts; until then cancel is nil.
	ctx     context.Context
	cancel  context.CancelCauseFunc
	started time.Time

	mu     sync.Mutex // a handler may read state from several goroutines
	over   bool       // the handler has returned
	states map[string]*StateValue
	caches map[string]cached
}

type cached struct {
	fields map[string]string // nil: removed
	ttl    time.Duration
}

type runningKey struct{}

// start makes the handler's context, which can be cancelled from now on.
func (r *running) start(parent context.Context) {
	r.started = time.Now()
	r.ctx, r.cancel = context.WithCancelCause(context.WithValue(parent, runningKey{}, r))
}

// limit has the context end when the handler's time is over.
func (r *running) limit() context.CancelFunc {
	ms := r.delivery.GetTimeoutMs()
	if ms == 0 {
		return func() {}
	}
	deadline := r.started.Add(time.Duration(ms) * time.Millisecond)
	var release context.CancelFunc
	r.ctx, release = context.WithDeadlineCause(r.ctx, deadline, ErrTimeout)
	return release
}

// end ends the context and closes state and cache to stragglers.
func (r *running) end() {
	r.cancel(nil)
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
}

// current gives the delivery whose handler ctx belongs to.
func current(ctx context.Context) (*running, error) {
	r, ok := ctx.Value(runningKey{}).(*running)
	if !ok || r.isOver() {
		return nil, ErrNoDelivery
	}
	return r, nil
}

// TraceParent gives the W3C trace context of the message that ctx is the
// handler context of, "" if it is not traced.
func TraceParent(ctx context.Context) string {
	r, err := current(ctx)
	if err != nil {
		return ""
	}
	return r.delivery.GetTraceparent()
}

func (r *running) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

func loadState(ctx context.Context, key string, fields []string) (*StateValue, error) {
	r, err := current(ctx)
	if err != nil {
		return nil, err
	}
	have := r.state(key)
	if have != nil && have.knows(fields) {
		return have, nil
	}
	loaded, err := r.load(ctx, key, &fnhostv1.Load{What: &fnhostv1.Load_StateKey{StateKey: key}, Fields: bytesOf(fields)})
	if err != nil {
		return nil, fmt.Errorf("reading state %q: %w", key, err)
	}
	return r.keep(key, fields, loaded)
}

// state gives what this run has of the key, nil if nothing yet.
func (r *running) state(key string) *StateValue {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.states[key]
}

// keep makes what was loaded of the key a part of what this run has of it.
func (r *running) keep(key string, fields []string, loaded *fnhostv1.Loaded) (*StateValue, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.states[key]
	if v == nil {
		v = newStateValue(key, loaded)
		if r.states == nil {
			r.states = map[string]*StateValue{}
		}
		r.states[key] = v
	}
	if v.version != loaded.GetVersion() {
		return nil, fmt.Errorf("state %q changed between two reads of one run: %w", key, Snooze(0))
	}
	v.learn(fields, fieldMap(loaded.GetFields()))
	return v, nil
}

func bytesOf(values []string) [][]byte {
	var b [][]byte
	for _, v := range values {
		b = append(b, []byte(v))
	}
	return b
}

func (r *running) loadCache(ctx context.Context, key string) (map[string]string, bool, error) {
	r.mu.Lock()
	own, ok := r.caches[key]
	over := r.over
	r.mu.Unlock()
	if over {
		return nil, false, ErrNoDelivery
	}
	if ok {
		return maps.Clone(own.fields), own.fields != nil, nil
	}
	loaded, err := r.load(ctx, key, &fnhostv1.Load{What: &fnhostv1.Load_CacheKey{CacheKey: key}})
	if err != nil {
		return nil, false, fmt.Errorf("reading cache %q: %w", key, err)
	}
	if !loaded.GetFound() {
		return nil, false, nil
	}
	return fieldMap(loaded.GetFields()), true, nil
}

func (r *running) writeCache(key string, fields map[string]string, ttl time.Duration) error {
	if err := checkKey(key); err != nil {
		return fmt.Errorf("writing cache %q: %w", key, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return ErrNoDelivery
	}
	if r.caches == nil {
		r.caches = map[string]cached{}
	}
	r.caches[key] = cached{maps.Clone(fields), ttl}
	return nil
}

// load asks the host and waits for its answer or the end of ctx.
func (r *running) load(ctx context.Context, key string, l *fnhostv1.Load) (*fnhostv1.Loaded, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	l.Delivery = r.delivery.GetNumber()
	answer := r.work.ask(l)
	select {
	case loaded := <-answer:
		if loaded.GetError() != "" {
			return nil, errors.New(loaded.GetError())
		}
		return loaded, nil
	case <-ctx.Done():
		r.work.forget(l.GetRequest())
		return nil, context.Cause(ctx)
	}
}

// checkKey keeps keys to what the contract's strings can carry.
func checkKey(key string) error {
	if key == "" || !utf8.ValidString(key) {
		return errors.New("a key must be UTF-8 text and not empty")
	}
	return nil
}

// writes gives the state and cache writes of a run, by key.
func (r *running) writes() (state []*fnhostv1.StateWrite, cache []*fnhostv1.CacheWrite) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range slices.Sorted(maps.Keys(r.states)) {
		if w := r.states[key].write(); w != nil {
			state = append(state, w)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.caches)) {
		c := r.caches[key]
		w := &fnhostv1.CacheWrite{Key: key, TtlMs: milliseconds(c.ttl)}
		for _, field := range slices.Sorted(maps.Keys(c.fields)) {
			w.Set = append(w.Set, attribute(field, c.fields[field]))
		}
		cache = append(cache, w)
	}
	return state, cache
}

func attribute(name, value string) *fnhostv1.Attribute {
	return &fnhostv1.Attribute{Name: []byte(name), Value: []byte(value)}
}

func fieldMap(attributes []*fnhostv1.Attribute) map[string]string {
	m := make(map[string]string, len(attributes))
	for _, a := range attributes {
		m[string(a.GetName())] = string(a.GetValue())
	}
	return m
}
