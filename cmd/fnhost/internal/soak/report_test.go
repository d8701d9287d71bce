package soak

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A report is what a soak found. It is safe for concurrent use.
type report struct {
	mu     sync.Mutex
	order  []string
	rows   map[string]*row
	errs   []error
	back   time.Time // when Redis last came back
	begun  time.Time
	extras []string
}

type row struct {
	limit time.Duration
	count int
	took  []time.Duration
}

// struck notes a fault, how long work took to go on after it, and what was
// wrong about it.
func (r *report) struck(f fault, took []time.Duration, err error) {
	if errors.Is(err, errMissed) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	row := r.row(f.name, f.limit)
	row.count++
	row.took = append(row.took, took...)
	r.faultLocked(err, f.name)
}

func (r *report) row(name string, limit time.Duration) *row {
	if r.rows == nil {
		r.rows = map[string]*row{}
	}
	if r.rows[name] == nil {
		r.order = append(r.order, name)
		r.rows[name] = &row{limit: limit}
	}
	return r.rows[name]
}

// fault notes what must not be; nil is nothing.
func (r *report) fault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faultLocked(err, "")
}

func (r *report) faultLocked(err error, during string) {
	if err == nil {
		return
	}
	if during != "" {
		err = fmt.Errorf("%s: %w", during, err)
	}
	r.errs = append(r.errs, fmt.Errorf("at %s: %w", time.Since(r.begun).Round(time.Millisecond), err))
}

func (r *report) redisIsBack(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.back = at
}

func (r *report) redisBack() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.back
}

// say adds a line below the table.
func (r *report) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.extras = append(r.extras, fmt.Sprintf(format, args...))
}

// late gives the recoveries that took longer than was promised.
func (r *report) late() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, name := range r.order {
		row := r.rows[name]
		for _, took := range row.took {
			if row.limit > 0 && took > row.limit {
				errs = append(errs, fmt.Errorf("%s: work went on after %s, promised is %s", name, took.Round(time.Millisecond), row.limit))
			}
		}
	}
	return errors.Join(errs...)
}

// String is the table.
func (r *report) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%-40s %6s %9s %9s %9s %9s\n", "fault", "times", "measured", "p50", "max", "promised")
	for _, name := range r.order {
		row := r.rows[name]
		p50, most := "-", "-"
		if n := len(row.took); n > 0 {
			sorted := slices.Sorted(slices.Values(row.took))
			p50, most = sorted[n/2].Round(time.Millisecond).String(), sorted[n-1].Round(time.Millisecond).String()
		}
		promised := "-"
		if row.limit > 0 {
			promised = row.limit.String()
		}
		fmt.Fprintf(&b, "%-40s %6d %9d %9s %9s %9s\n", name, row.count, len(row.took), p50, most, promised)
	}
	for _, line := range r.extras {
		b.WriteString(line + "\n")
	}
	return b.String()
}
