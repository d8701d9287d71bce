package function

import (
	"bytes"
	"encoding/json"
)

// An object is a JSON object whose numbers keep all their digits.
type object map[string]any

// UnmarshalJSON decodes an object or null.
func (o *object) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode((*map[string]any)(o))
}

// canonical gives the object as JSON with sorted keys, `{}` for none.
func (o object) canonical() (string, error) {
	if len(o) == 0 {
		return "{}", nil
	}
	b, err := json.Marshal(map[string]any(o))
	return string(b), err
}
