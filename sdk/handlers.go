package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Chain wraps h in middleware: the first one is outermost.
func Chain(h Handler, mw ...Middleware) Handler {
	for _, m := range slices.Backward(mw) {
		h = m(h)
	}
	return h
}

// JSON makes a handler of a function that takes the message's data decoded from
// JSON. Data that is missing or does not decode into a T is a permanent failure,
// which says where in the data it is; fields that T does not have are allowed.
func JSON[T any](handle func(ctx context.Context, v T, m *Message) (*Reply, error)) Handler {
	return HandlerFunc(func(ctx context.Context, m *Message) (*Reply, error) {
		var v T
		if err := decode(m.Data, &v); err != nil {
			return nil, Permanent(err)
		}
		return handle(ctx, v, m)
	})
}

// A DataError says why a message's data could not be decoded.
type DataError struct{ Err error }

func (e *DataError) Error() string { return "the data is not what the handler takes: " + e.Err.Error() }

// Unwrap gives what the decoder said.
func (e *DataError) Unwrap() error { return e.Err }

func decode(data []byte, v any) error {
	if len(data) == 0 {
		return &DataError{errors.New("the message has no data; want JSON in the field `data`")}
	}
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		return &DataError{fmt.Errorf("%s is a JSON %s, want %s (byte %d): %w",
			fieldName(mismatch), mismatch.Value, mismatch.Type, mismatch.Offset, err)}
	case errors.As(err, &syntax):
		return &DataError{fmt.Errorf("not JSON at byte %d: %w", syntax.Offset, err)}
	}
	return &DataError{err}
}

func fieldName(e *json.UnmarshalTypeError) string {
	if e.Field == "" {
		return "the value"
	}
	return "field `" + e.Field + "`"
}

// A Mux chooses a handler by the message type. Its zero value is not ready; see
// [NewMux]. Serve it as `Handler: mux.Handler()`.
type Mux struct{ handlers map[string]Handler }

// NewMux gives a mux without handlers.
func NewMux() *Mux { return &Mux{handlers: map[string]Handler{}} }

// Handle makes h the handler of a message type, before the function is served.
// It panics if the type has one already or h is nil.
func (x *Mux) Handle(messageType string, h Handler) {
	if h == nil || x.handlers[messageType] != nil {
		panic(fmt.Sprintf("sdk: Mux.Handle(%q): the handler is nil, or the type has one already", messageType))
	}
	x.handlers[messageType] = h
}

// HandleFunc is Handle for a function.
func (x *Mux) HandleFunc(messageType string, h func(context.Context, *Message) (*Reply, error)) {
	x.Handle(messageType, HandlerFunc(h))
}

// Types gives the message types that have a handler, sorted.
func (x *Mux) Types() []string { return slices.Sorted(maps.Keys(x.handlers)) }

// ErrUnknownType is wrapped by the error for a type without a handler.
var ErrUnknownType = errors.New("unknown message type")

// Handler gives the handler that runs the one of the message's type. A type
// without one is a permanent failure that names the types there are.
func (x *Mux) Handler() Handler {
	return HandlerFunc(func(ctx context.Context, m *Message) (*Reply, error) {
		h, ok := x.handlers[m.Type]
		if !ok {
			return nil, Permanent(fmt.Errorf("%w %q: this function knows %s", ErrUnknownType, m.Type, strings.Join(x.Types(), ", ")))
		}
		return h.Handle(ctx, m)
	})
}
