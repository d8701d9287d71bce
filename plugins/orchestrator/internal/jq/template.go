package jq

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A Problem is what is wrong at one place of a template.
type Problem struct {
	Pointer string // JSON pointer, below the template's own
	Err     error
}

// A Template is a JSON value in which strings of the form `${ ... }` are
// expressions. A string that only contains one is refused: in the strict mode of
// the specification it would stay as it is, which nobody wants who writes it.
type Template struct {
	expression *Expression
	members    map[string]*Template
	items      []*Template
	literal    any
}

// NewTemplate compiles a value; see [Compile] for the names.
func NewTemplate(value any, names []string) (*Template, []Problem) {
	switch v := value.(type) {
	case string:
		return newString(v, names)
	case map[string]any:
		t := &Template{members: make(map[string]*Template, len(v))}
		var problems []Problem
		for _, key := range slices.Sorted(maps.Keys(v)) {
			member, wrong := NewTemplate(v[key], names)
			t.members[key] = member
			problems = append(problems, below(Escape(key), wrong)...)
		}
		return t, problems
	case []any:
		t := &Template{items: make([]*Template, len(v))}
		var problems []Problem
		for i := range v {
			item, wrong := NewTemplate(v[i], names)
			t.items[i] = item
			problems = append(problems, below(strconv.Itoa(i), wrong)...)
		}
		return t, problems
	}
	return &Template{literal: value}, nil
}

func below(token string, problems []Problem) []Problem {
	for i := range problems {
		problems[i].Pointer = "/" + token + problems[i].Pointer
	}
	return problems
}

// Escape makes a name a token of a JSON pointer.
func Escape(name string) string { return escapes.Replace(name) }

var escapes = strings.NewReplacer("~", "~0", "/", "~1")

func newString(s string, names []string) (*Template, []Problem) {
	source, whole := inner(s)
	switch {
	case whole:
		return Expr(source, names)
	case strings.Contains(s, "${"):
		return nil, []Problem{{Err: errors.New(
			"has an expression inside of a text; make the whole of it one, as ${ \"hello \" + .name }")}}
	}
	return &Template{literal: s}, nil
}

// Expr compiles a string that is an expression with or without `${ }`, as those
// of `if`, `in`, `from` and `as` are.
func Expr(s string, names []string) (*Template, []Problem) {
	source, _ := inner(s)
	e, err := Compile(source, names)
	if err != nil {
		return nil, []Problem{{Err: err}}
	}
	return &Template{expression: e}, nil
}

// inner takes the expression out of `${ ... }`.
func inner(s string) (source string, whole bool) {
	trimmed := strings.TrimSpace(s)
	if strings.HasPrefix(trimmed, "${") && strings.HasSuffix(trimmed, "}") {
		return strings.TrimSpace(trimmed[2 : len(trimmed)-1]), true
	}
	return s, false
}

// Eval gives the value with all expressions evaluated. Errors are as those of
// [Expression.Eval].
func (t *Template) Eval(ctx context.Context, s Scope) (any, error) {
	switch {
	case t.expression != nil:
		return t.expression.Eval(ctx, s)
	case t.members != nil:
		value := make(map[string]any, len(t.members))
		for key, member := range t.members {
			v, err := member.Eval(ctx, s)
			if err != nil {
				return nil, err
			}
			value[key] = v
		}
		return value, nil
	case t.items != nil:
		value := make([]any, len(t.items))
		for i, item := range t.items {
			v, err := item.Eval(ctx, s)
			if err != nil {
				return nil, err
			}
			value[i] = v
		}
		return value, nil
	}
	return t.literal, nil
}
