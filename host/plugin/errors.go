package plugin

import (
	"errors"
	"strings"
)

// What can be wrong with a file of the plugin directory, or with the process
// that it is started as. Each is wrapped in a [FileError].
var (
	ErrDirectory     = errors.New("it is a directory, not an executable file")
	ErrIrregular     = errors.New("it is not a regular file")
	ErrNotExecutable = errors.New("it is not executable")
	ErrEmpty         = errors.New("it is empty")
	ErrNotProgram    = errors.New("it is neither a program nor a script with a #! line")
	ErrForeign       = errors.New("it is a program for another kind of machine")
	ErrTruncated     = errors.New("it is only part of a program")
	ErrChanging      = errors.New("it changed while it was being copied")
	ErrChecksum      = errors.New("its checksum is not the one that is pinned")
	ErrRoleTaken     = errors.New("its role is taken by another file")

	ErrNotStarted   = errors.New("it could not be started")
	ErrStrayOutput  = errors.New("it printed to stdout before its handshake")
	ErrNoHandshake  = errors.New("it made no handshake in time")
	ErrExited       = errors.New("it exited before its handshake")
	ErrIncompatible = errors.New("it speaks another contract")
	ErrNoDescribe   = errors.New("it could not describe itself")
	ErrNotReady     = errors.New("it did not become ready")
)

// A FileError says what is wrong with one plugin, what was seen, and what to do.
type FileError struct {
	File   string // as the operator knows it, not the staged copy
	Err    error  // one of the errors above
	Seen   string // what was found; empty if Err says it all
	Fix    string // what to do about it
	Stderr string // the last lines that the process wrote, if there was one
}

func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString("plugin " + e.File + ": " + e.Err.Error())
	if e.Seen != "" {
		b.WriteString(" (" + e.Seen + ")")
	}
	if e.Fix != "" {
		b.WriteString("; " + e.Fix)
	}
	if e.Stderr != "" {
		b.WriteString("; its last output:\n" + e.Stderr)
	}
	return b.String()
}

func (e *FileError) Unwrap() error { return e.Err }
