package dsl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// MaxBytes is the limit of a definition.
const MaxBytes = 1 << 20

// Parse reads a definition in YAML or JSON and checks it: against the profile,
// its schema, and for what no schema can say. The error is [Problems], all of
// them.
func Parse(text []byte) (*Workflow, error) {
	if len(text) > MaxBytes {
		return nil, Problems{{"", fmt.Sprintf("the definition is %d bytes; %d is the limit: large data belongs into the input", len(text), MaxBytes)}}
	}
	value, err := read(text)
	if err != nil {
		return nil, Problems{{"", err.Error()}}
	}
	return check(value)
}

// check makes a workflow of a JSON value.
func check(value any) (*Workflow, error) {
	problems := refused(value)
	problems = append(problems, violations(value, problems)...)
	if err := problems.err(); err != nil {
		return nil, err
	}
	b := &builder{}
	w := b.workflow(value.(map[string]any))
	if err := b.problems.err(); err != nil {
		return nil, err
	}
	text, err := jq.Encode(value)
	if err != nil {
		return nil, Problems{{"", err.Error()}}
	}
	w.Definition, w.JSON = value, text
	return w, nil
}

func read(text []byte) (any, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if value, err := jq.Decode(trimmed); err == nil {
			return value, nil
		}
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, fmt.Errorf("is neither YAML nor JSON: %w", err)
	}
	if err := d.Decode(new(any)); err == nil {
		return nil, fmt.Errorf("has several YAML documents; a definition is one")
	}
	return plain(value)
}

// plain makes a JSON value of what YAML gives.
func plain(value any) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			member, err := plain(v[key])
			if err != nil {
				return nil, err
			}
			v[key] = member
		}
	case []any:
		for i := range v {
			item, err := plain(v[i])
			if err != nil {
				return nil, err
			}
			v[i] = item
		}
	case map[any]any:
		for key := range v {
			if _, text := key.(string); !text {
				return nil, fmt.Errorf("has the key %v, which is no text; put it in quotes", key)
			}
		}
	case int:
		return json.Number(strconv.Itoa(v)), nil
	case int64:
		return json.Number(strconv.FormatInt(v, 10)), nil
	case uint64:
		return json.Number(strconv.FormatUint(v, 10)), nil
	case float64:
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("has the number %v, which JSON does not have", v)
		}
		return json.Number(text), nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	}
	return value, nil
}
