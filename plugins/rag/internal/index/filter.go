package index

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// CheckFilter says what is wrong with a filter: only single values can be asked
// for.
func CheckFilter(filter map[string]any) error {
	for key, v := range filter {
		switch v.(type) {
		case map[string]any, []any:
			return fmt.Errorf("filter %q must be a string, a number, true, false or null", key)
		}
	}
	return nil
}

// matches says whether metadata has every value of a filter. null asks for null
// or for nothing there. Numbers of the filter are json.Number.
func matches(metadata json.RawMessage, filter map[string]any) bool {
	if len(filter) == 0 {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(metadata))
	d.UseNumber()
	var have map[string]any
	if d.Decode(&have) != nil {
		return false
	}
	for key, want := range filter {
		if !equal(have[key], want) {
			return false
		}
	}
	return true
}

func equal(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, both := b.(json.Number)
	if isNumber && both {
		return x == y || sameFloat(x, y)
	}
	switch a.(type) {
	case nil, bool, string:
		return a == b
	}
	return false
}

// sameFloat takes 1 for 1.0, but no large integer for its neighbour.
func sameFloat(x, y json.Number) bool {
	const exact = 1 << 53
	a, errA := x.Float64()
	b, errB := y.Float64()
	return errA == nil && errB == nil && a == b && math.Abs(a) < exact
}
