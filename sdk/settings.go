package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Decode reads the settings into target, a pointer to a struct. A setting that
// target does not know, or of another kind, is a *[SettingError] that names it.
func (s Settings) Decode(target any) error {
	d := json.NewDecoder(bytes.NewReader(s.JSON))
	d.DisallowUnknownFields()
	err := d.Decode(target)
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		return &SettingError{Setting: mismatch.Field, Message: fmt.Sprintf("is a %s, want %s", mismatch.Value, mismatch.Type)}
	}
	if name, ok := unknownField(err); ok {
		return &SettingError{Setting: name, Message: "is not a setting of this function"}
	}
	return &SettingError{Message: "the settings could not be read: " + err.Error()}
}

// unknownField reads the field's name from encoding/json's error, which has no
// type of its own.
func unknownField(err error) (string, bool) {
	_, name, ok := strings.Cut(err.Error(), "json: unknown field ")
	return strings.Trim(name, `"`), ok
}
