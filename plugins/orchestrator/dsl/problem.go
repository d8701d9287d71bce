package dsl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// A Problem is what is wrong at one place of a definition.
type Problem struct {
	Pointer string `json:"pointer"` // JSON pointer; "" is the whole
	Message string `json:"message"` // what is wrong, and what would be right
}

func (p Problem) String() string { return cmp.Or(p.Pointer, "/") + ": " + p.Message }

// Problems are all that is wrong with a definition, as an error.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(pointer, format string, args ...any) {
	*p = append(*p, Problem{pointer, fmt.Sprintf(format, args...)})
}

// err gives the problems in the order of their places, or nil.
func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b Problem) int { return cmp.Compare(a.Pointer, b.Pointer) })
	return slices.CompactFunc(p, func(a, b Problem) bool { return a == b })
}
