package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// UnmarshalJSON refuses fields that the contract does not have: a misspelt
// if_version must not become a write without a check.
func (w *Write) UnmarshalJSON(data []byte) error {
	type plain Write
	return strict(data, (*plain)(w))
}

// UnmarshalJSON refuses fields that the contract does not have.
func (d *Delete) UnmarshalJSON(data []byte) error {
	type plain Delete
	return strict(data, (*plain)(d))
}

// UnmarshalJSON refuses fields that the contract does not have.
func (g *Get) UnmarshalJSON(data []byte) error {
	type plain Get
	return strict(data, (*plain)(g))
}

// UnmarshalJSON refuses fields that the contract does not have.
func (q *Query) UnmarshalJSON(data []byte) error {
	type plain Query
	return strict(data, (*plain)(q))
}

// strict also refuses bytes that are not UTF-8, which the decoder would replace
// without a word, changing what is stored.
func strict(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}
