package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/engine"
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// memory is a state in maps that counts what is read from it.
type memory struct {
	frames map[string][]byte
	values map[string][]byte
	items  map[string][][]byte
	out    map[string]map[int][]byte
	read   int // bytes
	loaded map[string]bool
}

func newMemory() *memory {
	return &memory{frames: map[string][]byte{}, values: map[string][]byte{}, items: map[string][][]byte{}, out: map[string]map[int][]byte{}, loaded: map[string]bool{}}
}

func (m *memory) Frame(name string) ([]byte, error) {
	m.read += len(m.frames[name])
	return m.frames[name], nil
}

func (m *memory) SetFrame(name string, data []byte) error {
	if m.frames[name] = data; data == nil {
		delete(m.frames, name)
	}
	return nil
}

func (m *memory) Value(name string) (any, error) {
	m.loaded[name] = true
	data, ok := m.values[name]
	if !ok {
		return nil, fmt.Errorf("no value %s", name)
	}
	m.read += len(data)
	return jq.Decode(data)
}

func (m *memory) SetValue(name string, data []byte) error { m.values[name] = data; return nil }

func (m *memory) RemoveValue(name string) error { delete(m.values, name); return nil }

func (m *memory) SetItems(loop string, items [][]byte) error { m.items[loop] = items; return nil }

func (m *memory) Item(loop string, i int) (any, error) {
	m.read += len(m.items[loop][i])
	return jq.Decode(m.items[loop][i])
}

func (m *memory) SetOutput(loop string, i int, data []byte) error {
	if m.out[loop] == nil {
		m.out[loop] = map[int][]byte{}
	}
	m.out[loop][i] = data
	return nil
}

func (m *memory) Outputs(loop string, n int) ([]any, error) {
	all := make([]any, n)
	for i, data := range m.out[loop] {
		v, err := jq.Decode(data)
		if err != nil {
			return nil, err
		}
		all[i] = v
	}
	return all, nil
}

func (m *memory) RemoveLoop(loop string) error {
	delete(m.items, loop)
	delete(m.out, loop)
	return nil
}

// left names what is still there of the work itself.
func (m *memory) left() (names []string) {
	for name := range m.frames {
		names = append(names, name)
	}
	for name := range m.values {
		if name != "input" && name != "in" && !strings.HasPrefix(name, "context") {
			names = append(names, name)
		}
	}
	for name := range m.items {
		names = append(names, "items "+name)
	}
	for name := range m.out {
		names = append(names, "outputs "+name)
	}
	slices.Sort(names)
	return names
}

func text(v any) string {
	data, err := jq.Encode(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func decoded(data []byte) (v map[string]any) {
	if err := json.Unmarshal(data, &v); err != nil {
		panic(err)
	}
	return v
}

var _ engine.State = (*memory)(nil)
