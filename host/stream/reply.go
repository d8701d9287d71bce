package stream

import (
	"fmt"
	"strconv"

	"github.com/fnhost/fnhost/host/delivery"
)

// Replies come as nested lists of any: go-redis's own types for stream entries
// are maps, which lose the order of fields and their repetitions.

// list gives a reply as a list of n values; n < 0: of any length.
func list(v any, n int) ([]any, error) {
	l, ok := v.([]any)
	if !ok || n >= 0 && len(l) != n {
		return nil, fmt.Errorf("unexpected reply of redis: %T of %d, not a list of %d", v, len(l), n)
	}
	return l, nil
}

// text gives a value as a string; a number as its digits, nil as the empty one.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	default:
		return ""
	}
}

// number gives a value as a number; 0 if it is none.
func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	default:
		return 0
	}
}

// texts gives a list of strings.
func texts(v any) []string {
	l, _ := v.([]any)
	s := make([]string, len(l))
	for i := range l {
		s[i] = text(l[i])
	}
	return s
}

// entries gives a list of stream entries. One whose fields are gone (deleted
// while pending) is left out.
func entries(v any) []delivery.Entry {
	l, _ := v.([]any)
	out := make([]delivery.Entry, 0, len(l))
	for _, row := range l {
		pair, err := list(row, 2)
		if err != nil || pair[1] == nil {
			continue
		}
		out = append(out, delivery.Entry{ID: text(pair[0]), Fields: texts(pair[1]), Delivered: 1})
	}
	return out
}

// streams gives the entries of each stream in a reply of XREAD or XREADGROUP.
func streams(v any) (names []string, found [][]delivery.Entry) {
	l, _ := v.([]any)
	for _, row := range l {
		if pair, err := list(row, 2); err == nil {
			names = append(names, text(pair[0]))
			found = append(found, entries(pair[1]))
		}
	}
	return names, found
}

// fieldMap gives a flat list of names and values as a map.
func fieldMap(v any) map[string]any {
	l, _ := v.([]any)
	m := make(map[string]any, len(l)/2)
	for i := 0; i+1 < len(l); i += 2 {
		m[text(l[i])] = l[i+1]
	}
	return m
}

func grant(fence, attempt, deaths any) delivery.Grant {
	f, _ := strconv.ParseUint(text(fence), 10, 64)
	return delivery.Grant{Fence: f, Attempt: int(number(attempt)), Deaths: int(number(deaths))}
}
