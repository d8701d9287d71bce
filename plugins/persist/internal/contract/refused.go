package contract

import "fmt"

// A RefusedError says that a message cannot be carried out as it is, now or
// later: its sender must change it. Every other error is worth another attempt.
type RefusedError struct{ reason string }

func (e *RefusedError) Error() string { return e.reason }

// Refuse gives a [RefusedError] with a reason for the sender.
func Refuse(format string, args ...any) error {
	return &RefusedError{reason: fmt.Sprintf(format, args...)}
}
