package sdk

import (
	"errors"
	"fmt"
	"time"
)

// Causes of the end of a handler's context, for [context.Cause].
var (
	// ErrTimeout is the cause when the handler's time is over.
	ErrTimeout = errors.New("handler timeout")
	// ErrLostLease is the cause when the message belongs to another host now.
	ErrLostLease = errors.New("lease lost to another host")
	// ErrStop is the cause when the host stops; the message is not charged.
	ErrStop = errors.New("host stops")
)

// PermanentError says that no further attempt can succeed. See [Permanent].
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent sends the message to the dead letters now, whatever attempts remain.
func Permanent(err error) error {
	if err == nil {
		err = errors.New("permanent failure")
	}
	return &PermanentError{Err: err}
}

// RetryAfterError asks for another attempt at a time of its own. See [RetryAfter].
type RetryAfterError struct {
	After time.Duration
	Err   error
}

func (e *RetryAfterError) Error() string { return e.Err.Error() }

// Unwrap gives the error itself.
func (e *RetryAfterError) Unwrap() error { return e.Err }

// RetryAfter fails this attempt and asks for the next one no earlier than d from
// now, in place of the role's backoff. It counts as an attempt.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		err = errors.New("try again later")
	}
	return &RetryAfterError{After: max(d, 0), Err: err}
}

// SnoozeError asks to see the message again later. See [Snooze].
type SnoozeError struct{ After time.Duration }

func (e *SnoozeError) Error() string { return fmt.Sprintf("snoozed for %s", e.After) }

// Snooze puts the message off for d. It does not count as an attempt.
func Snooze(d time.Duration) error { return &SnoozeError{After: max(d, 0)} }

// DropError says that the message needs no result. See [Drop].
type DropError struct{ Reason string }

func (e *DropError) Error() string { return "dropped: " + e.Reason }

// Drop acknowledges the message without a result's data: its result entry has
// the status `dropped` and the reason. It is counted, never dead-lettered.
func Drop(reason string) error { return &DropError{Reason: reason} }
