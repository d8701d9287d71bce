package function

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
	"github.com/fnhost/fnhost/sdk"
)

// Keys of a run. A run's id has no slash, a path begins with one.
func runKey(id string) string         { return "run:" + id }            // head, now, samples, end, frames
func definitionKey(id string) string  { return "def:" + id }            // json
func dataKey(id string) string        { return "data:" + id }           // values by name
func logKey(id string) string         { return "log:" + id }            // tasks and groups
func itemsKey(id, loop string) string { return "items:" + id + loop }   // chunks of items
func outKey(id, loop string) string   { return "outputs:" + id + loop } // by index

// chunkItems is how many items share a field: fewer fields to keep, and no more
// to load than about what is used.
const chunkItems = 16

// nothing is a field that no key has: to write fields of a key, and load none.
const nothing = "_"

// groupsField has the calls of a run by their place in the definition.
const groupsField = "groups"

// store is the engine's state on the host's keyed state.
type store struct {
	ctx    context.Context
	id     string
	epoch  string // tells runs of the same id apart
	values *cache
	chunks map[string][]any // items that were decoded in this batch
	fresh  map[string]bool  // values that this batch has set: they may yet be lost
}

func (s *store) load(key string, fields ...string) (*sdk.StateValue, error) {
	v, err := sdk.State(s.ctx, key, fields...)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", key, err)
	}
	return v, nil
}

func (s *store) set(key, field string, data []byte) error {
	v, err := s.load(key, nothing)
	if err != nil {
		return err
	}
	v.Set(field, string(data))
	return nil
}

func (s *store) remove(key string) error {
	v, err := s.load(key, nothing)
	if err != nil {
		return err
	}
	v.Delete()
	return nil
}

func (s *store) Frame(name string) ([]byte, error) {
	v, err := s.load(runKey(s.id), name)
	if err != nil {
		return nil, err
	}
	if text, ok := v.Get(name); ok {
		return []byte(text), nil
	}
	return nil, nil
}

func (s *store) SetFrame(name string, data []byte) error {
	v, err := s.load(runKey(s.id), nothing)
	if err != nil {
		return err
	}
	if data == nil {
		v.Remove(name)
	} else {
		v.Set(name, string(data))
	}
	return nil
}

// Value gives a value. A name stands for one value for ever: so it can be kept in
// memory once the state has been seen to have it.
func (s *store) Value(name string) (any, error) {
	cached := s.id + "\n" + s.epoch + "\n" + name
	if v, ok := s.values.get(cached); ok {
		return v, nil
	}
	key := dataKey(s.id)
	v, err := s.load(key, name)
	if err != nil {
		return nil, err
	}
	text, ok := v.Get(name)
	if !ok {
		return nil, sdk.Permanent(fmt.Errorf("state %s has no field %q: it was removed from outside", key, name))
	}
	value, err := jq.Decode([]byte(text))
	if err == nil && !s.fresh[name] {
		s.values.put(cached, value, len(text))
	}
	return value, err
}

func (s *store) SetValue(name string, data []byte) error {
	if s.fresh == nil {
		s.fresh = map[string]bool{}
	}
	s.fresh[name] = true
	return s.set(dataKey(s.id), name, data)
}

func (s *store) RemoveValue(name string) error {
	v, err := s.load(dataKey(s.id), nothing)
	if err != nil {
		return err
	}
	v.Remove(name)
	return nil
}

func (s *store) SetItems(loop string, items [][]byte) error {
	v, err := s.load(itemsKey(s.id, loop), nothing)
	if err != nil {
		return err
	}
	for first := 0; first < len(items); first += chunkItems {
		chunk := bytes.Join(items[first:min(len(items), first+chunkItems)], []byte(","))
		v.Set(strconv.Itoa(first/chunkItems), "["+string(chunk)+"]")
	}
	return nil
}

func (s *store) Item(loop string, i int) (any, error) {
	key, field := itemsKey(s.id, loop), strconv.Itoa(i/chunkItems)
	name := key + "\n" + field
	if chunk, ok := s.chunks[name]; ok && i%chunkItems < len(chunk) {
		return chunk[i%chunkItems], nil
	}
	v, err := s.load(key, field)
	if err != nil {
		return nil, err
	}
	text, _ := v.Get(field)
	decoded, err := jq.Decode([]byte(text))
	chunk, ok := decoded.([]any)
	if err != nil || !ok || i%chunkItems >= len(chunk) {
		return nil, sdk.Permanent(fmt.Errorf("state %s has no item %d: it was removed from outside", key, i))
	}
	if s.chunks == nil {
		s.chunks = map[string][]any{}
	}
	s.chunks[name] = chunk
	return chunk[i%chunkItems], nil
}

func (s *store) SetOutput(loop string, i int, data []byte) error {
	return s.set(outKey(s.id, loop), strconv.Itoa(i), data)
}

func (s *store) Outputs(loop string, n int) ([]any, error) {
	v, err := s.load(outKey(s.id, loop))
	if err != nil {
		return nil, err
	}
	all := make([]any, n)
	for i := range all {
		text, ok := v.Get(strconv.Itoa(i))
		if !ok {
			continue
		}
		if all[i], err = jq.Decode([]byte(text)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (s *store) RemoveLoop(loop string) error {
	clear(s.chunks)
	if err := s.remove(itemsKey(s.id, loop)); err != nil {
		return err
	}
	return s.remove(outKey(s.id, loop))
}

// encode sets a field to v as JSON, `<` and `>` as they are.
func encode(v *sdk.StateValue, field string, of any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(of); err != nil {
		return fmt.Errorf("encoding field %q of state %q: %w", field, v.Key(), err)
	}
	v.Set(field, strings.TrimSuffix(b.String(), "\n"))
	return nil
}
