package store

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
	"github.com/fnhost/fnhost/plugins/persist/internal/jsondoc"
)

// conditions turns a query's where into SQL and its arguments. Only the kinds of
// the values shape the text; names and values are arguments.
func conditions(where map[string]json.RawMessage) (string, []any, error) {
	var text strings.Builder
	var args []any
	for _, field := range slices.Sorted(maps.Keys(where)) {
		path, err := path(field)
		if err != nil {
			return "", nil, err
		}
		condition, more, err := equals(path, where[field])
		if err != nil {
			return "", nil, contract.Refuse("where.%.64s %v", field, err)
		}
		text.WriteString(" AND " + condition)
		args = append(args, more...)
	}
	return text.String(), args, nil
}

// equals compares the kind as well as the value: in SQLite alone true would be
// 1, and an array its text.
func equals(path string, raw json.RawMessage) (string, []any, error) {
	const kind, value = `json_type(r.doc, ?) = ?`, ` AND json_extract(r.doc, ?) = ?`
	v, err := jsondoc.Parse(raw)
	if err != nil {
		return "", nil, err
	}
	switch v := v.(type) {
	case nil:
		return kind, []any{path, "null"}, nil
	case bool:
		return kind, []any{path, strconv.FormatBool(v)}, nil
	case string:
		return kind + value, []any{path, "text", path, v}, nil
	case json.Number:
		n, err := number(v)
		return `json_type(r.doc, ?) IN ('integer', 'real')` + value, []any{path, path, n}, err
	}
	return "", nil, fmt.Errorf("is an object or an array; want a string, number, boolean or null")
}

// number gives an int64 if it can, because a float64 would confuse large ones.
func number(n json.Number) (any, error) {
	if i, err := n.Int64(); err == nil {
		return i, nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, fmt.Errorf("is %.40s, beyond what can be compared", n)
	}
	return f, nil
}

// path writes `a.b` as SQLite's `$."a"."b"`, each name quoted as in JSON.
func path(field string) (string, error) {
	var path strings.Builder
	path.WriteByte('$')
	for name := range strings.SplitSeq(field, ".") {
		quoted, err := jsondoc.Text(name)
		if err != nil {
			return "", err
		}
		path.WriteByte('.')
		path.Write(quoted)
	}
	return path.String(), nil
}
