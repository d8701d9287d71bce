package call

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// Log is what a caller needs of the streams; a *stream.Client is one. Names are
// without the namespace.
type Log interface {
	// Publish adds an entry and gives its id.
	Publish(ctx context.Context, stream string, fields []string) (string, error)
	// RangeBack gives up to count entries from end to start, the newest first.
	RangeBack(ctx context.Context, stream, end, start string, count int64) ([]delivery.Entry, error)
	// Tail gives the entries after the id from to fn, with follow also those that
	// come later, until fn gives an error or ctx ends.
	Tail(ctx context.Context, stream, from string, follow bool, fn func(delivery.Entry) error) error
}

// A Result is the result entry of a task.
type Result struct {
	Entry   delivery.Entry
	Status  string
	Attempt int
	Data    string
	Error   ResultError // unless Status is ok
	cause   string
	task    string
}

// A ResultError is the failure that a result entry tells of.
type ResultError struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// Read reads a result entry.
func Read(e delivery.Entry) Result {
	r := Result{Entry: e}
	for i := 0; i+1 < len(e.Fields); i += 2 {
		switch value := e.Fields[i+1]; e.Fields[i] {
		case "status":
			r.Status = value
		case "attempt":
			r.Attempt, _ = strconv.Atoi(value)
		case "data":
			r.Data = value
		case "causationid":
			r.cause = value
		case "entryid":
			r.task = value
		case "error":
			if json.Unmarshal([]byte(value), &r.Error) != nil {
				r.Error = ResultError{Type: "unknown", Message: value}
			}
		}
	}
	return r
}

// Err is nil for a result with status ok, and else says what became of the task.
func (r Result) Err() error {
	switch r.Status {
	case delivery.StatusOK:
		return nil
	case delivery.StatusDropped:
		return fmt.Errorf("the function dropped it: %s", r.Error.Message)
	}
	return fmt.Errorf("dead-lettered after attempt %d: %s: %s", r.Attempt, r.Error.Type, r.Error.Message)
}

// Published says where a task went.
type Published struct {
	ID, Entry string
	Fields    []string
}

// Publish adds the task to the stream. It gives the task an id if it has none.
func Publish(ctx context.Context, log Log, stream string, task Task) (Published, error) {
	if task.ID == "" {
		task.ID = NewID()
	}
	fields, err := task.Fields(time.Now())
	if err != nil {
		return Published{}, err
	}
	entry, err := log.Publish(ctx, stream, fields)
	if err != nil {
		return Published{}, fmt.Errorf("publishing to stream %s: %w", stream, err)
	}
	return Published{ID: task.ID, Entry: entry, Fields: fields}, nil
}

// ErrNoResults is wrapped by the error for a subscription that publishes none.
var ErrNoResults = errors.New("publishes no results")

// Do publishes the tasks to the subscription's stream and gives each result to
// each, in the order in which they come, with the task's place in tasks. It ends
// when every task has its result, when each gives an error, or with ctx.
func Do(ctx context.Context, log Log, sub topology.Subscription, tasks []Task, each func(i int, p Published, r Result) error) error {
	if sub.Results == "" {
		return fmt.Errorf("stream %s: role %s %w, so there is nothing to wait for", sub.Stream, sub.Role, ErrNoResults)
	}
	end, err := last(ctx, log, sub.Results)
	if err != nil {
		return err
	}
	w := waiting{tasks: tasks, published: make([]Published, len(tasks)), byEntry: make(map[string]int, len(tasks)), each: each}
	for i, task := range tasks {
		if w.published[i], err = Publish(ctx, log, sub.Stream, task); err != nil {
			return err
		}
		w.byEntry[w.published[i].Entry] = i
	}
	if len(tasks) == 0 {
		return nil
	}
	err = log.Tail(ctx, sub.Results, end, true, w.take)
	switch {
	case errors.Is(err, errAll):
		return nil
	case w.err != nil:
		return w.err
	}
	return fmt.Errorf("waiting on stream %s for %s: %w", sub.Results, w.missing(), err)
}

// last is the id of the newest entry, or `0-0`.
func last(ctx context.Context, log Log, stream string) (string, error) {
	newest, err := log.RangeBack(ctx, stream, "+", "-", 1)
	if err != nil || len(newest) == 0 {
		return "0-0", err
	}
	return newest[0].ID, nil
}

// errAll ends the reading of results: there is one for every task.
var errAll = errors.New("all results are there")

// waiting is the tasks that have no result yet.
type waiting struct {
	tasks     []Task
	published []Published
	byEntry   map[string]int // what is waited for: places in tasks by entry id
	each      func(i int, p Published, r Result) error
	err       error // of each
}

func (w *waiting) take(e delivery.Entry) error {
	r := Read(e)
	// Two input streams may share a results stream, and entry ids may coincide
	// between them: the id of the message decides.
	i, ours := w.byEntry[r.task]
	if !ours || r.cause != w.published[i].ID {
		return nil
	}
	delete(w.byEntry, r.task)
	if w.err = w.each(i, w.published[i], r); w.err != nil {
		return w.err
	}
	if len(w.byEntry) == 0 {
		return errAll
	}
	return nil
}

// missing says how many of which types have no result yet.
func (w *waiting) missing() string {
	types := map[string]bool{}
	for _, i := range w.byEntry {
		types[strconv.Quote(w.tasks[i].Type)] = true
	}
	return fmt.Sprintf("the results of %d of %d messages (type %s)",
		len(w.byEntry), len(w.tasks), strings.Join(slices.Sorted(maps.Keys(types)), ", "))
}
