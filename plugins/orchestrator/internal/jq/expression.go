// Package jq evaluates the expressions of a workflow: jq, by gojq, with variables,
// a time limit and a limit on what a value may have.
package jq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/itchyny/gojq"
)

// TimeLimit is how long one expression may take.
const TimeLimit = 5 * time.Second

// A Scope is where an expression finds its input, `.`, and its variables. It is
// asked for no more than the expression uses, so that what is costly to get may
// be got late.
type Scope interface {
	Input() (any, error)
	// Variable gives the value of a variable, by its name without the `$`.
	Variable(name string) (any, error)
}

// An Error says why an expression gave no value. It is the workflow's fault, not
// the machine's.
type Error struct {
	Source string // the expression
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("the expression %s: %s", quoted(e.Source), e.Err) }

// Unwrap gives what jq said.
func (e *Error) Unwrap() error { return e.Err }

// quoted shortens a source to what a person can read in one line.
func quoted(source string) string {
	const limit = 120
	if len(source) > limit {
		source = source[:limit] + "..."
	}
	return "`" + strings.ToValidUTF8(source, "") + "`"
}

// An Expression is compiled and may be evaluated by several goroutines at once.
type Expression struct {
	source     string
	code       *gojq.Code
	variables  []string // those it uses, without `$`
	readsInput bool
}

// Compile compiles an expression that may use the variables of these names,
// given without the `$`.
func Compile(source string, names []string) (*Expression, error) {
	query, err := gojq.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("is not jq: %w", err)
	}
	e := &Expression{source: source, readsInput: readsInput(query)}
	var declared []string
	for _, name := range names {
		if strings.Contains(source, "$"+name) {
			e.variables = append(e.variables, name)
			declared = append(declared, "$"+name)
		}
	}
	if e.code, err = gojq.Compile(query, gojq.WithVariables(declared)); err != nil {
		return nil, fmt.Errorf("is not valid jq: %w; the variables here are $%s", err, strings.Join(names, ", $"))
	}
	return e, nil
}

// Source gives the expression as it was written.
func (e *Expression) Source() string { return e.source }

// Eval gives the one value of the expression. An *[Error] says that the
// expression has none, more than one, or failed; any other error is the scope's,
// or the context's end.
func (e *Expression) Eval(ctx context.Context, s Scope) (any, error) {
	input, values, err := e.arguments(s)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, TimeLimit)
	defer cancel()
	value, err := one(e.code.RunWithContext(limited, input, values...))
	switch {
	case err == nil:
		return value, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("took longer than %s", TimeLimit)
	}
	return nil, &Error{Source: e.source, Err: err}
}

func (e *Expression) arguments(s Scope) (input any, values []any, err error) {
	if e.readsInput {
		if input, err = s.Input(); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range e.variables {
		v, err := s.Variable(name)
		if err != nil {
			return nil, nil, err
		}
		values = append(values, v)
	}
	return input, values, nil
}

// one takes the only value.
func one(values gojq.Iter) (any, error) {
	first, ok := values.Next()
	if !ok {
		return nil, errors.New("gave no value; write `// null` behind it if it may")
	}
	if err, failed := first.(error); failed {
		return nil, err
	}
	second, more := values.Next()
	if err, failed := second.(error); failed {
		return nil, err
	}
	if more {
		return nil, errors.New("gave more than one value; put it in [ ] for a list")
	}
	return first, nil
}

// Truthy says whether jq takes a value for true: all but null and false.
func Truthy(v any) bool { return v != nil && v != false }
