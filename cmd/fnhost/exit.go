package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
)

// Exit codes. `fnhost check` alone has its own, those of Nagios plugins.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConfirm     = 4
	exitConflict    = 5
	exitRedis       = 6
	exitInvalid     = 8
	exitPartly      = 9
	exitTimeout     = 124
	exitInterrupted = 130
)

var exitNames = map[int]string{
	exitFailed: "failed", exitUsage: "usage", exitNotFound: "not_found", exitConfirm: "confirmation_needed",
	exitConflict: "conflict", exitRedis: "redis_unreachable", exitInvalid: "invalid", exitPartly: "partly_done", exitTimeout: "timeout",
	exitInterrupted: "interrupted",
}

// A failure is an error with its exit code and what the user can do about it.
type failure struct {
	exit int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// fail gives a failure; what is a format and its arguments.
func fail(exit int, hint, what string, args ...any) error {
	return &failure{exit: exit, hint: hint, err: fmt.Errorf(what, args...)}
}

// usage is a failure of the command line itself.
func usage(hint, what string, args ...any) error { return fail(exitUsage, hint, what, args...) }

// exitStatus ends the command with a code of its own and nothing to say.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// explain gives the failure that err is.
func explain(ctx context.Context, err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return &failure{exit: exitInterrupted, err: errors.New("interrupted")}
	case errors.Is(err, context.DeadlineExceeded):
		return &failure{exit: exitTimeout, err: err, hint: "give it longer with --timeout, or see with 'fnhost check' what holds it up"}
	}
	return &failure{exit: exitFailed, err: err}
}

// report writes the failure for the reader of the output format.
func (f *failure) report(w io.Writer, format render.Format) {
	if format == render.JSON {
		type body struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Hint    string `json:"hint"`
		}
		line, err := json.Marshal(map[string]body{"error": {exitNames[f.exit], f.Error(), f.hint}})
		if err == nil {
			fmt.Fprintln(w, string(line))
			return
		}
	}
	fmt.Fprintln(w, "fnhost: "+f.Error())
	if f.hint != "" {
		fmt.Fprintln(w, "  "+f.hint)
	}
}
