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
	number   uint64
	delivery *fnhostv1.Delivery // until the handler runs
	message  Message
	more     []*Message // the further ones of a batch
	replies  [1]*Reply  // of a delivery of one message
	trace    string

	// Of the handler's run, set when it starts; until then started is zero.
	ctx     handling
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

// start makes the handler's context, which can be ended from now on.
func (r *running) start(parent context.Context) {
	r.started = time.Now()
	r.ctx.run, r.ctx.parent = r, parent
	if ms := r.delivery.GetTimeoutMs(); ms > 0 {
		r.ctx.deadline = r.started.Add(time.Duration(ms) * time.Millisecond)
	}
}

// read makes the messages of the delivery, and lets go of it: deliveries of one
// frame are one piece of memory.
func (r *running) read() {
	d := r.delivery
	r.message.read(d)
	for _, m := range d.GetMore() {
		more := &Message{}
		more.read(m)
		r.more = append(r.more, more)
	}
	r.trace, r.delivery = d.GetTraceparent(), nil
	d.Reset()
}

// end ends the context and closes state and cache to stragglers.
func (r *running) end() {
	r.ctx.over()
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
	return r.trace
}

func (r *running) isOver() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over
}

func loadStates(ctx context.Context, keys []StateKey) ([]*StateValue, error) {
	r, err := current(ctx)
	if err != nil {
		return nil, err
	}
	values := make([]*StateValue, len(keys))
	var loads []*fnhostv1.Load
	var missing []int
	for i, k := range keys {
		if values[i] = r.state(k.Key); values[i] == nil || !values[i].knows(k.Fields) {
			missing = append(missing, i)
			loads = append(loads, &fnhostv1.Load{What: &fnhostv1.Load_StateKey{StateKey: k.Key}, Fields: bytesOf(k.Fields)})
		}
	}
	loaded, err := r.load(ctx, loads)
	if err != nil {
		return nil, err
	}
	for n, i := range missing {
		if values[i], err = r.keep(keys[i].Key, keys[i].Fields, loaded[n]); err != nil {
			return nil, err
		}
	}
	return values, nil
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
	loaded, err := r.load(ctx, []*fnhostv1.Load{{What: &fnhostv1.Load_CacheKey{CacheKey: key}}})
	if err != nil {
		return nil, false, err
	}
	if !loaded[0].GetFound() {
		return nil, false, nil
	}
	return fieldMap(loaded[0].GetFields()), true, nil
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

// load asks the host, once for all, and waits for its answers or the end of ctx.
func (r *running) load(ctx context.Context, loads []*fnhostv1.Load) ([]*fnhostv1.Loaded, error) {
	for _, l := range loads {
		if err := checkKey(l.GetStateKey() + l.GetCacheKey()); err != nil {
			return nil, fmt.Errorf("%s: %w", reading(l), err)
		}
		l.Delivery = r.number
	}
	answers := make([]*fnhostv1.Loaded, len(loads))
	for i, answer := range r.work.ask(loads) {
		select {
		case answers[i] = <-answer:
			if said := answers[i].GetError(); said != "" {
				r.work.forget(loads[i+1:])
				return nil, fmt.Errorf("%s: %s", reading(loads[i]), said)
			}
		case <-ctx.Done():
			r.work.forget(loads[i:])
			return nil, fmt.Errorf("%s: %w", reading(loads[i]), context.Cause(ctx))
		}
	}
	return answers, nil
}

func reading(l *fnhostv1.Load) string {
	if _, cache := l.GetWhat().(*fnhostv1.Load_CacheKey); cache {
		return fmt.Sprintf("reading cache %q", l.GetCacheKey())
	}
	return fmt.Sprintf("reading state %q", l.GetStateKey())
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
	for _, key := range inOrder(r.states) {
		if w := r.states[key].write(); w != nil {
			state = append(state, w)
		}
	}
	for _, key := range inOrder(r.caches) {
		c := r.caches[key]
		w := &fnhostv1.CacheWrite{Key: key, TtlMs: milliseconds(c.ttl)}
		for _, field := range slices.Sorted(maps.Keys(c.fields)) {
			w.Set = append(w.Set, attribute(field, c.fields[field]))
		}
		cache = append(cache, w)
	}
	return state, cache
}

// inOrder gives the keys of m, sorted.
func inOrder[V any](m map[string]V) []string {
	if len(m) == 0 {
		return nil // most runs write nothing
	}
	return slices.Sorted(maps.Keys(m))
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
