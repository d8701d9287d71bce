package sdktest

import (
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// store is keyed state and cache in memory, by the rules of a host.
type store struct {
	mu      sync.Mutex
	version uint64
	state   map[string]entry
	cache   map[string]map[string]string
}

type entry struct {
	version string
	fields  map[string]string
}

func newStore() *store {
	return &store{state: map[string]entry{}, cache: map[string]map[string]string{}}
}

// load answers one request.
func (s *store) load(l *fnhostv1.Load) *fnhostv1.Loaded {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &fnhostv1.Loaded{Request: l.GetRequest()}
	fields := s.cache[l.GetCacheKey()]
	if _, ok := l.GetWhat().(*fnhostv1.Load_StateKey); ok {
		e := s.state[l.GetStateKey()]
		answer.Version, fields = e.version, e.fields
	}
	answer.Found = fields != nil
	for name, value := range fields {
		if asked := l.GetFields(); len(asked) == 0 || slices.ContainsFunc(asked, func(f []byte) bool { return string(f) == name }) {
			answer.Fields = append(answer.Fields, &fnhostv1.Attribute{Name: []byte(name), Value: []byte(value)})
		}
	}
	return answer
}

// commit applies what a done message writes, or nothing and false if the state
// has another version by now than the one that was read.
func (s *store) commit(done *fnhostv1.Done) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range done.GetState() {
		if s.state[w.GetKey()].version != w.GetVersion() {
			return false
		}
	}
	for _, w := range done.GetState() {
		s.writeState(w)
	}
	for _, w := range done.GetCache() {
		delete(s.cache, w.GetKey())
		if len(w.GetSet()) > 0 {
			s.cache[w.GetKey()] = apply(nil, w.GetSet())
		}
	}
	return true
}

func (s *store) writeState(w *fnhostv1.StateWrite) {
	before := s.state[w.GetKey()].fields
	if w.GetDelete() {
		before = nil
	}
	fields := apply(before, w.GetSet())
	for _, field := range w.GetRemove() {
		delete(fields, string(field))
	}
	if len(fields) == 0 {
		delete(s.state, w.GetKey())
		return
	}
	s.version++
	s.state[w.GetKey()] = entry{strconv.FormatUint(s.version, 10), fields}
}

// apply gives a copy of fields with the attributes set.
func apply(fields map[string]string, set []*fnhostv1.Attribute) map[string]string {
	now := make(map[string]string, len(fields)+len(set))
	maps.Copy(now, fields)
	for _, a := range set {
		now[string(a.GetName())] = string(a.GetValue())
	}
	return now
}

// State gives the fields of a key of the function's keyed state, nil if it does
// not exist.
func (h *Harness) State(key string) map[string]string {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return maps.Clone(h.store.state[key].fields)
}

// SetState replaces a key of the function's keyed state, or removes it if there
// are no fields.
func (h *Harness) SetState(key string, fields map[string]string) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if len(fields) == 0 {
		delete(h.store.state, key)
		return
	}
	h.store.version++
	h.store.state[key] = entry{strconv.FormatUint(h.store.version, 10), maps.Clone(fields)}
}

// Cache gives the fields of a key of the function's cache, nil if it is not
// there. The harness does not let entries expire.
func (h *Harness) Cache(key string) map[string]string {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return maps.Clone(h.store.cache[key])
}
