// Package wire has what both ends of a Work stream share: the queue in front of
// a stream's writer, and the rules of a description.
package wire

import "sync"

const (
	// FrameBytes is where a frame closes.
	FrameBytes = 1 << 20
	// MaxMessageBytes is the transport's limit.
	MaxMessageBytes = 65 << 20
	// FlowWindow is how much one side sends before the other has read it. It is
	// fixed: gRPC finds a window by itself only with a ping for each message that
	// comes when none is on its way, which costs as much as the message.
	FlowWindow = 4 << 20
)

// An Outbox is the queue between those who have something to send and the one
// writer of a stream. Put never waits; its bound is the credit that the host
// gives. The writer takes whatever is ready when it is free: so a lone item
// leaves at once and a backlog leaves in large frames.
type Outbox[T any] struct {
	mu     sync.Mutex
	ready  sync.Cond
	items  []Item[T]
	closed bool
}

// An Item is a value and its size on the wire.
type Item[T any] struct {
	Value T
	Bytes int
}

// NewOutbox gives an empty outbox.
func NewOutbox[T any]() *Outbox[T] {
	o := &Outbox[T]{}
	o.ready.L = &o.mu
	return o
}

// Put appends items. After Close they are dropped.
func (o *Outbox[T]) Put(items ...Item[T]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.items = append(o.items, items...)
	o.ready.Signal()
}

// Close ends the outbox: Next gives what is left, and then says so.
func (o *Outbox[T]) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.ready.Broadcast()
}

// Discard closes the outbox and drops what is left: the stream is broken.
func (o *Outbox[T]) Discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.items = true, nil
	o.ready.Broadcast()
}

// Next waits until something is ready and appends one frame of it to batch:
// as much as fits into FrameBytes, or one item that is larger. It gives false
// when the outbox is closed and empty.
func (o *Outbox[T]) Next(batch []T) ([]T, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.items) == 0 {
		if o.closed {
			return batch, false
		}
		o.ready.Wait()
	}
	n := o.frame()
	for _, it := range o.items[:n] {
		batch = append(batch, it.Value)
	}
	o.drop(n)
	return batch, true
}

// frame counts the items of the next frame.
func (o *Outbox[T]) frame() int {
	total := 0
	for n, it := range o.items {
		if total += it.Bytes; total > FrameBytes {
			return max(n, 1)
		}
	}
	return len(o.items)
}

// drop removes the first n items and keeps the array for the next ones.
func (o *Outbox[T]) drop(n int) {
	rest := copy(o.items, o.items[n:])
	clear(o.items[rest:])
	o.items = o.items[:rest]
}
