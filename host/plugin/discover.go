package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unfinished are the endings that editors, package tools and downloads give to
// files that are not there yet, or no more.
var unfinished = []string{"~", ".tmp", ".part", ".swp"}

func ignored(name string) bool {
	return strings.HasPrefix(name, ".") ||
		slices.ContainsFunc(unfinished, func(end string) bool { return strings.HasSuffix(name, end) })
}

// discover gives the paths of all that might be a plugin in a directory, in the
// order of their names. A missing directory is an error; an empty one is not.
func discover(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("the plugin directory %s does not exist; create it, or name another: %w", dir, err)
	case err != nil:
		return nil, fmt.Errorf("reading the plugin directory %s; it must be a directory that the host may read: %w", dir, err)
	}
	var files []string
	for _, e := range entries {
		if !ignored(e.Name()) {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// inspect says, as a *FileError, why a file cannot be a plugin of this machine;
// nil if it may be one.
func inspect(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return &FileError{File: file, Err: ErrIrregular, Seen: err.Error(), Fix: "remove it, or repair the link"}
	}
	switch {
	case info.IsDir():
		return &FileError{File: file, Err: ErrDirectory, Fix: "a plugin is one file; move the directory elsewhere"}
	case !info.Mode().IsRegular():
		return &FileError{File: file, Err: ErrIrregular, Seen: info.Mode().String(), Fix: "remove it"}
	case info.Mode().Perm()&0o111 == 0:
		return &FileError{File: file, Err: ErrNotExecutable, Seen: "mode " + info.Mode().String(),
			Fix: "run chmod +x on it if it is a plugin, or move it elsewhere"}
	case info.Size() == 0:
		return &FileError{File: file, Err: ErrEmpty, Fix: "copy or build it again"}
	}
	return inspectFormat(file, info.Size())
}
