package plugin

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	stagedKept  = 3 // copies of a file, the newest first
	stagePrefix = ".stage-"
)

// A binary is one exact file, staged: only the copy is ever executed, so the
// file may be replaced, overwritten or removed while the copy runs.
type binary struct {
	file   string // as the operator knows it
	path   string // the staged copy, absolute
	sha256 string // of the copy, in hex
}

// stage copies a file to `<gens>/<name>/<sha12>/<name>`. A copy that is there
// already is used again, if it is still what it was.
func stage(gens, file string) (*binary, error) {
	name := filepath.Base(file)
	dir, err := filepath.Abs(filepath.Join(gens, name))
	if err != nil {
		return nil, fmt.Errorf("staging %s: %w", file, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("staging %s: %w", file, err)
	}
	temp, sum, err := copyWhole(dir, file)
	if err != nil {
		return nil, err
	}
	defer os.Remove(temp) // of no consequence once it is renamed
	b := &binary{file: file, path: filepath.Join(dir, sum[:12], name), sha256: sum}
	if err := b.settle(temp); err != nil {
		return nil, fmt.Errorf("staging %s: %w", file, err)
	}
	return b, prune(dir, sum[:12])
}

// copyWhole copies a file to a temporary one and gives that one's name and
// checksum. A file that changes meanwhile is an ErrChanging.
func copyWhole(dir, file string) (temp, sum string, err error) {
	before, err := os.Stat(file)
	if err != nil {
		return "", "", fmt.Errorf("staging %s: %w", file, err)
	}
	temp, sum, err = copyHashed(dir, file)
	if err != nil {
		return "", "", fmt.Errorf("staging %s in %s: %w", file, dir, err)
	}
	after, err := os.Stat(file)
	if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return "", "", errors.Join(os.Remove(temp), &FileError{File: file, Err: ErrChanging,
			Fix: "copy it under another name, and rename it when it is whole"})
	}
	return temp, sum, nil
}

// copyHashed holds the fork lock while the copy is open for writing: a process
// that another goroutine starts meanwhile would inherit the descriptor, and
// executing the copy would fail with "text file busy" (golang/go#22315).
func copyHashed(dir, file string) (temp, sum string, err error) {
	from, err := os.Open(file)
	if err != nil {
		return "", "", err
	}
	defer from.Close()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	to, err := os.CreateTemp(dir, stagePrefix+"*")
	if err != nil {
		return "", "", err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(to, hash), from)
	if err := errors.Join(err, to.Chmod(0o555), to.Close()); err != nil {
		return "", "", errors.Join(err, os.Remove(to.Name()))
	}
	return to.Name(), hex.EncodeToString(hash.Sum(nil)), nil
}

// settle puts the copy in its place. It needs no fsync: what a power failure
// left of an older copy does not have its checksum, and is replaced.
func (b *binary) settle(temp string) error {
	dir := filepath.Dir(b.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if sum, err := hashFile(b.path); err != nil || sum != b.sha256 {
		if err := os.Rename(temp, b.path); err != nil {
			return err
		}
	}
	now := time.Now()
	return os.Chtimes(dir, now, now) // prune goes by it
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// prune removes all but the copies that were staged last, and what a crash left.
func prune(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for old copies in %s: %w", dir, err)
	}
	type aged struct {
		name string
		at   time.Time
	}
	var copies []aged
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case err != nil || e.Name() == keep: // gone, or in use
		case strings.HasPrefix(e.Name(), stagePrefix):
			if time.Since(info.ModTime()) > time.Hour { // not one that is being written
				err = os.Remove(filepath.Join(dir, e.Name()))
			}
		case e.IsDir():
			copies = append(copies, aged{e.Name(), info.ModTime()})
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing what a crash left in %s: %w", dir, err)
		}
	}
	slices.SortFunc(copies, func(a, b aged) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.name, b.name)) })
	for _, old := range copies[min(stagedKept-1, len(copies)):] {
		if err := os.RemoveAll(filepath.Join(dir, old.name)); err != nil {
			return fmt.Errorf("removing an old copy: %w", err)
		}
	}
	return nil
}
