package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// socketPathMax is what the system lets a unix socket's path have: 104 bytes
	// with the final zero on darwin, 108 on linux.
	socketPathMax = 103
	// socketBelow is what comes below our directory: go-plugin's own directory
	// and the socket, each with a random number of up to ten digits.
	socketBelow  = len("/fnh-1234567890/plugin-dir1234567890/plugin1234567890")
	socketPrefix = "fnh-"
	socketLock   = "lock"
)

// A socketDir is the private directory in which the plugins of one host make
// their sockets. Its lock tells other hosts that it is in use.
type socketDir struct {
	path string
	lock *os.File
}

// newSocketDir makes the directory below the state directory, or, where that
// path is too long for a socket, below the system's temporary directory. What
// hosts that were killed have left there is removed.
func newSocketDir(stateDir string) (*socketDir, error) {
	parent, err := socketParent(stateDir)
	if err != nil {
		return nil, fmt.Errorf("making a directory for the plugins' sockets: %w", err)
	}
	sweep(parent)
	path, err := os.MkdirTemp(parent, socketPrefix)
	if err != nil {
		return nil, fmt.Errorf("making a directory for the plugins' sockets: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, socketLock), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the directory for the plugins' sockets: %w", err), os.RemoveAll(path))
	}
	return &socketDir{path: path, lock: lock}, nil
}

func socketParent(stateDir string) (string, error) {
	inState, err := filepath.Abs(filepath.Join(stateDir, "sockets"))
	if err != nil {
		return "", err
	}
	if len(inState)+socketBelow <= socketPathMax {
		return inState, os.MkdirAll(inState, 0o700)
	}
	for _, parent := range []string{os.TempDir(), "/tmp"} {
		if len(parent)+socketBelow <= socketPathMax {
			return parent, nil
		}
	}
	return "", fmt.Errorf("no path is short enough for a unix socket: %s has %d bytes too many; use a shorter state directory",
		inState, len(inState)+socketBelow-socketPathMax)
}

// sweep removes directories whose host is gone. A young one may be in the
// making, its lock not taken yet, and is left.
func sweep(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, socketPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(dir, socketLock), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir) // if it fails, the next host tries again
		}
		_ = lock.Close()
	}
}

func (s *socketDir) remove() error {
	return errors.Join(os.RemoveAll(s.path), s.lock.Close())
}
