package soak

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

// A run is one execution of a message.
type run struct {
	pid        int
	attempt    int
	fence      uint64
	begin, end int64 // ns since 1970; end is 0 if the handler did not come to it
}

// A journal reads what the probes write down of their executions.
type journal struct {
	path string

	mu     sync.Mutex
	offset int64
	rest   []byte // of a line that is not whole yet
	runs   map[string][]run
}

func newJournal(path string) *journal { return &journal{path: path, runs: map[string][]run{}} }

// read takes in what was added since the last time.
func (j *journal) read() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	file, err := os.Open(j.path)
	if err != nil {
		if os.IsNotExist(err) {
			return nil // no probe has started
		}
		return err
	}
	defer file.Close()
	added, err := io.ReadAll(io.NewSectionReader(file, j.offset, 1<<40))
	if err != nil {
		return err
	}
	j.offset += int64(len(added))
	j.rest = append(j.rest, added...)
	for {
		line, rest, whole := bytes.Cut(j.rest, []byte("\n"))
		if !whole {
			return nil
		}
		j.rest = rest
		if err := j.note(line); err != nil {
			return err
		}
	}
}

func (j *journal) note(line []byte) error {
	var e struct {
		At      int64
		Event   string
		Entry   string
		Attempt int
		Fence   uint64
		PID     int
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("a line of the executions, %q: %w", line, err)
	}
	if e.Event == "begin" {
		j.runs[e.Entry] = append(j.runs[e.Entry], run{pid: e.PID, attempt: e.Attempt, fence: e.Fence, begin: e.At})
		return nil
	}
	for i, r := range j.runs[e.Entry] {
		if r.pid == e.PID && r.fence == e.Fence && r.end == 0 {
			j.runs[e.Entry][i].end = e.At
		}
	}
	return nil
}

// of gives a message's runs in the order of their beginnings.
func (j *journal) of(entry string) []run {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]run(nil), j.runs[entry]...)
}

// begunIn gives the first beginning of one of the entries in the process; 0 if
// there is none.
func (j *journal) begunIn(entries []string, pid int) int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	first := int64(0)
	for _, id := range entries {
		for _, r := range j.runs[id] {
			if r.pid == pid && (first == 0 || r.begin < first) {
				first = r.begin
			}
		}
	}
	return first
}
