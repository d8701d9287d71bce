package jq

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/itchyny/gojq"
)

// MaxValueBytes is the limit of one value as JSON: an input, what a task is
// called with, an output, all outputs of a `for` together.
const MaxValueBytes = 16 << 20

// A SizeError says that a value is over the limit.
type SizeError struct{ Bytes int }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the value is %d bytes of JSON; %d is the limit: pass a reference to it instead, or cut it down with `output: {as: ...}`", e.Bytes, MaxValueBytes)
}

// Encode gives a value as JSON, its members sorted by name: equal values have
// equal texts. A *[SizeError] says that it is too large.
func Encode(v any) ([]byte, error) {
	data, err := gojq.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a value: %w", err)
	}
	if len(data) > MaxValueBytes {
		return nil, &SizeError{Bytes: len(data)}
	}
	return data, nil
}

// Decode reads JSON so that no number loses a digit. Values are shared: nobody
// may change one.
func Decode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("decoding a value: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("decoding a value: there is more behind it")
	}
	return v, nil
}
