package engine

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/jq"
)

// types of the specification's errors.
const (
	errorTypes    = "https://serverlessworkflow.io/spec/1.0.0/errors/"
	typeRun       = errorTypes + "runtime"
	typeCall      = errorTypes + "communication"
	typeJQ        = errorTypes + "expression"
	typeInvalid   = errorTypes + "validation"
	maxDetail     = 4096
	statusInvalid = 400
	statusLarge   = 413
	statusFailed  = 500
)

// A Fault is why a task, or the run, has failed: a problem of RFC 7807, as the
// specification wants it.
type Fault struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"` // JSON pointer: the instance path of the task
	Status   int    `json:"status"`
}

func (f *Fault) Error() string { return f.Instance + ": " + f.Title + ": " + f.Detail }

func newFault(kind string, status int, title, instance, format string, args ...any) *Fault {
	detail := fmt.Sprintf(format, args...)
	if len(detail) > maxDetail {
		detail = string(bytes.ToValidUTF8([]byte(detail[:maxDetail]), nil)) + "..."
	}
	return &Fault{Type: kind, Title: title, Detail: detail, Instance: instance, Status: status}
}

// faultOf makes a fault of what is the workflow's own doing, and leaves any other
// error as it is.
func faultOf(err error, instance string) error {
	if err == nil {
		return nil
	}
	if fault, ok := errors.AsType[*Fault](err); ok {
		return fault
	}
	if failed, ok := errors.AsType[*jq.Error](err); ok {
		return newFault(typeJQ, statusInvalid, "Expression failed", instance, "%s", failed)
	}
	if large, ok := errors.AsType[*jq.SizeError](err); ok {
		return newFault(typeRun, statusLarge, "Value too large", instance, "%s", large)
	}
	return err
}

// An Answer is what has become of a call.
type Answer struct {
	Status string // ok, error or dropped
	Data   []byte // of an ok answer: JSON; anything else is taken for a text
	// Of any other: what the worker, or the host for it, says.
	ErrorType, ErrorMessage string
	Attempt                 int // how often the worker has run it
}

func (a Answer) fault(path string) *Fault {
	switch a.Status {
	case "ok":
		return nil
	case "dropped":
		return newFault(typeCall, statusFailed, "The call was dropped", path, "%s", a.ErrorMessage)
	}
	title := "The call failed"
	if a.ErrorType != "" {
		title += " (" + a.ErrorType + ")"
	}
	return newFault(typeCall, statusFailed, title, path, "%s", a.ErrorMessage)
}

func (a Answer) value() any {
	if len(a.Data) == 0 {
		return nil
	}
	if v, err := jq.Decode(a.Data); err == nil {
		return v
	}
	return string(bytes.ToValidUTF8(a.Data, []byte("\ufffd")))
}
