// Package jsondoc holds JSON values as documents: parsed without loss of
// numbers, written in one canonical order, compared by meaning, and merged by
// RFC 7396.
package jsondoc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxDepth is how deep a document may be nested. SQLite's JSON functions give up
// at 1000, and a single deeper row would fail every query over its collection.
const MaxDepth = 512

// Parse reads exactly one JSON value. Numbers stay as they are written
// ([json.Number]), so that no digit is lost; of a name given twice in one object
// the last one counts.
func Parse(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not JSON: more than one value")
	}
	if deeper(v, MaxDepth) {
		return nil, fmt.Errorf("nested deeper than %d levels", MaxDepth)
	}
	return v, nil
}

func deeper(v any, levels int) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, child := range v {
			if levels == 0 || deeper(child, levels-1) {
				return true
			}
		}
	case []any:
		for _, child := range v {
			if levels == 0 || deeper(child, levels-1) {
				return true
			}
		}
	}
	return false
}

// Text writes a value that [Parse] or [Merge] gave: names sorted, no white
// space, numbers as they were written. Equal texts mean equal documents; the
// reverse does not hold for numbers, see [Equal].
func Text(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding a document: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Merge applies an RFC 7396 merge patch: objects are merged name by name, null
// removes a name, and anything else replaces the target. Target is nil when
// there is none. Neither argument is changed.
func Merge(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, _ := target.(map[string]any)
	merged := make(map[string]any, len(t)+len(p))
	for name, v := range t {
		merged[name] = v
	}
	for name, v := range p {
		if v == nil {
			delete(merged, name)
			continue
		}
		merged[name] = Merge(merged[name], v)
	}
	return merged
}
