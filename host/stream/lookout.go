package stream

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// lookEvery is how often it is looked whether there is something to take over.
	lookEvery = time.Second
	// lookTimeout bounds one look.
	lookTimeout = 10 * time.Second
	// trustFor is how long a log that seems quiet is left alone: what a scan could
	// not write down, as when Redis was out of memory, the look does not see.
	trustFor = 30 * time.Second
)

// A lookout looks, once a second and in one request, at the groups of all logs
// that wait for it. A log whose group is quiet costs nothing else.
type lookout struct {
	end     context.CancelFunc // nil: nobody has waited yet
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	waiting map[*Log]chan<- error
}

// AwaitReclaim waits until Reclaim may find something: at most a second, and the
// time of a request, after there is something. An error is Redis's, at most one a
// second, or ctx's.
func (l *Log) AwaitReclaim(ctx context.Context) error {
	stirred := make(chan error, 1)
	l.c.await(l, stirred)
	select {
	case err := <-stirred:
		return err
	case <-ctx.Done():
		l.c.lookout.take(l)
		return ctx.Err()
	}
}

// await has the lookout tell; the first has it begin.
func (c *Client) await(l *Log, stirred chan<- error) {
	o := &c.lookout
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	if o.end == nil {
		ctx, cancel := context.WithCancel(context.Background())
		o.end, o.waiting = cancel, map[*Log]chan<- error{}
		o.running.Go(func() { c.lookOut(ctx) })
	}
	o.waiting[l] = stirred
}

// take takes a log from those that wait; nil if it does not.
func (o *lookout) take(l *Log) chan<- error {
	o.mu.Lock()
	defer o.mu.Unlock()
	stirred := o.waiting[l]
	delete(o.waiting, l)
	return stirred
}

func (o *lookout) logs() []*Log {
	o.mu.Lock()
	defer o.mu.Unlock()
	logs := make([]*Log, 0, len(o.waiting))
	for l := range o.waiting {
		logs = append(logs, l)
	}
	return logs
}

// close ends it; who waits is told nothing more.
func (o *lookout) close() {
	o.mu.Lock()
	o.closed = true
	if o.end != nil {
		o.end()
	}
	o.mu.Unlock()
	o.running.Wait()
}

func (c *Client) lookOut(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if logs := c.lookout.logs(); len(logs) > 0 {
			c.lookAt(ctx, logs)
		}
	}
}

// lookAt tells those logs that have a reason to look closer. If Redis does not
// answer, all are told; if only this look fails, as for a missing permission, each
// looks for itself, and has an error of its own.
func (c *Client) lookAt(ctx context.Context, logs []*Log) {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	states, err := c.look(limited, logs)
	if ctx.Err() != nil {
		return
	}
	for i, l := range logs {
		var told error
		switch {
		case errors.Is(err, ErrUnavailable):
			told = l.failed(ctx, err, "look for messages to take over")
			l.noteScan(told) // so that its next scan says that Redis answers again
		case err == nil && l.quiet(states[i]):
			continue
		}
		if stirred := c.lookout.take(l); stirred != nil {
			stirred <- told
		}
	}
}

// look gives for each log the state of its group, empty if there is a reason to
// look closer: see look.lua.
func (c *Client) look(ctx context.Context, logs []*Log) ([]string, error) {
	look := call{args: []any{parkedConsumer}}
	for _, l := range logs {
		look.keys = append(look.keys, l.stream, l.floor, l.reach, l.delayed)
		look.args = append(look.args, l.sub.Group)
	}
	reply, err := run(ctx, c.commands, lookScript, look)
	if err != nil {
		return nil, wrap(err, "look at %d groups", len(logs))
	}
	rows, err := list(reply, len(logs))
	return texts(rows), err
}

// quiet says whether the group is as it was at the last scan, so that another
// would find nothing, and notes how it is.
func (l *Log) quiet(state string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked = state
	return state != "" && state == l.scanned && time.Since(l.scannedAt) < trustFor
}

// noteScan notes that the group was scanned, in the state in which it was seen
// before or in a later one.
func (l *Log) noteScan(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scanned, l.scannedAt = l.looked, time.Now()
	if err != nil {
		l.scanned = ""
	}
}
