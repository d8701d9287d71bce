package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Kinds of failure that a caller decides by, with errors.Is.
var (
	// ErrUnavailable: Redis cannot be reached, or cannot serve now. Whether the
	// command had its effect is unknown; what is idempotent may be repeated.
	ErrUnavailable = errors.New("redis is unavailable")
	// ErrOutOfMemory: Redis refuses writes at its maxmemory; nothing was written.
	ErrOutOfMemory = errors.New("redis is out of memory")
	// ErrConfig: no repetition will help: a wrong password, a missing permission,
	// a key of another type, a command that the server does not have.
	ErrConfig = errors.New("redis refuses this")
	// ErrNoGroup: the consumer group, or its stream, is gone.
	ErrNoGroup = errors.New("the consumer group is gone")
	// ErrUnsupportedURL: a URL of a kind this version does not speak.
	ErrUnsupportedURL = errors.New("unsupported redis URL")
)

// words that an error of the server begins with, or holds, and what they mean.
var words = []struct {
	word string
	kind error
}{
	{"NOGROUP", ErrNoGroup},
	{"UNBLOCKED the stream key no longer exists", ErrNoGroup},
	{"OOM ", ErrOutOfMemory},
	{"LOADING", ErrUnavailable},
	{"READONLY", ErrUnavailable},
	{"MASTERDOWN", ErrUnavailable},
	{"MISCONF", ErrUnavailable},
	{"NOREPLICAS", ErrUnavailable},
	{"CLUSTERDOWN", ErrUnavailable},
	{"TRYAGAIN", ErrUnavailable},
	{"UNBLOCKED", ErrUnavailable},
	{"BUSY ", ErrUnavailable},
	{"max number of clients", ErrUnavailable},
	{"WRONGTYPE", ErrConfig},
	{"NOAUTH", ErrConfig},
	{"WRONGPASS", ErrConfig},
	{"NOPERM", ErrConfig},
	{"user executing the script can't", ErrConfig}, // what 7.0 says within a script
	{"CROSSSLOT", ErrConfig},
	{"MOVED ", ErrConfig},
	{"nknown command", ErrConfig},
	{"unknown redis command", ErrConfig},
}

// wrap says what was being done and, where it is known, what kind of failure it
// was. The answer to a nil error is nil.
func wrap(err error, doing string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(doing, args...)
	if kind := kindOf(err); kind != nil && !errors.Is(err, kind) {
		return fmt.Errorf("%s: %w: %w", what, kind, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func kindOf(err error) error {
	var answer redis.Error
	if errors.As(err, &answer) && !errors.Is(err, redis.Nil) {
		for _, w := range words {
			if strings.Contains(answer.Error(), w.word) {
				return w.kind
			}
		}
		return nil
	}
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, redis.ErrClosed):
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, redis.ErrPoolTimeout),
		errors.Is(err, redis.ErrPoolExhausted), errors.Is(err, context.DeadlineExceeded), errors.As(err, &network):
		return ErrUnavailable
	}
	return nil
}
