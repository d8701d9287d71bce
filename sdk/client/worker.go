package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
	"github.com/fnhost/fnhost/sdk/internal/wire"
)

// A Sink takes what the function sends. It is called from the stream's read loop,
// so its methods must not wait for anything but a short lock. What they are given
// is theirs to keep.
type Sink interface {
	// Outcomes takes the outcomes of one frame. That each is for a delivery that
	// has none yet is for the sink to check.
	Outcomes([]*fnhostv1.Outcome)
	// Loads takes requests for keyed state or cache, to be answered by
	// [Worker.Loaded].
	Loads([]*fnhostv1.Load)
}

// ErrUninvited is wrapped by [Worker.Err] when the function ended the stream
// though the host had not half-closed it.
var ErrUninvited = errors.New("the function ended its stream uninvited")

// A Worker is the host's end of a Work stream. Its methods may be called from
// several goroutines and never wait.
type Worker struct {
	stream  grpc.BidiStreamingClient[fnhostv1.HostFrame, fnhostv1.FunctionFrame]
	cancel  context.CancelFunc
	sink    Sink
	outbox  *wire.Outbox[outgoing]
	closing atomic.Bool
	written chan struct{} // closed when the writer has ended
	done    chan struct{} // closed when writer and read loop have ended
	err     error         // set before done is closed
}

// outgoing is one of the things that a HostFrame carries.
type outgoing struct {
	deliver *fnhostv1.Delivery
	cancel  *fnhostv1.Cancel
	loaded  *fnhostv1.Loaded
}

// Work opens the function's stream, which lives until both ends are done with it
// or ctx ends. There is one for each process, after Configure.
func Work(ctx context.Context, conn grpc.ClientConnInterface, sink Sink) (*Worker, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := fnhostv1.NewFunctionClient(conn).Work(ctx, append(callOptions(), grpc.ForceCodecV2(wire.Codec()))...)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening the function's stream: %w", err)
	}
	w := &Worker{
		stream: stream, cancel: cancel, sink: sink, outbox: wire.NewOutbox[outgoing](),
		written: make(chan struct{}), done: make(chan struct{}),
	}
	go w.write()
	go w.read()
	return w, nil
}

// Deliver queues deliveries. The caller keeps the bound: it has no more of them
// out than its window, and none with more than sdk.MaxDataBytes of data or, with
// all its attributes, more than sdk.MaxMessageBytes, which would break the stream.
func (w *Worker) Deliver(deliveries ...*fnhostv1.Delivery) {
	items := make([]wire.Item[outgoing], len(deliveries))
	for i, d := range deliveries {
		if !utf8.ValidString(d.GetTraceparent()) {
			d.Traceparent = "" // it came in a message, and is no trace context
		}
		items[i] = wire.Item[outgoing]{Value: outgoing{deliver: d}, Bytes: wire.DeliveryBytes(d)}
	}
	w.outbox.Put(items...)
}

// Cancel queues cancels. Each comes after its delivery if that was queued before.
func (w *Worker) Cancel(cancels ...*fnhostv1.Cancel) {
	items := make([]wire.Item[outgoing], len(cancels))
	for i, c := range cancels {
		items[i] = wire.Item[outgoing]{Value: outgoing{cancel: c}, Bytes: proto.Size(c)}
	}
	w.outbox.Put(items...)
}

// Loaded queues answers to loads.
func (w *Worker) Loaded(answers ...*fnhostv1.Loaded) {
	items := make([]wire.Item[outgoing], len(answers))
	for i, l := range answers {
		l.Error = strings.ToValidUTF8(l.GetError(), "\uFFFD")
		items[i] = wire.Item[outgoing]{Value: outgoing{loaded: l}, Bytes: proto.Size(l)}
	}
	w.outbox.Put(items...)
}

// CloseSend half-closes the stream when all that is queued has been sent: the
// function finishes what it has, sends the outcomes, and ends the stream.
func (w *Worker) CloseSend() {
	w.closing.Store(true)
	w.outbox.Close()
}

// Done is closed when the stream has ended and the sink will not be called again.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Err says, once Done is closed, why the stream ended: nil after a clean
// half-close; deliveries without an outcome are to run again in any case.
func (w *Worker) Err() error {
	select {
	case <-w.done:
		return w.err
	default:
		return nil
	}
}

// read hands on what the function sends until the stream ends.
func (w *Worker) read() {
	defer close(w.done)
	defer func() { <-w.written }()
	defer w.cancel()
	defer w.outbox.Discard()
	for {
		frame, err := w.stream.Recv()
		if err != nil {
			w.err = w.ended(err)
			return
		}
		if outcomes := frame.GetOutcome(); len(outcomes) > 0 {
			w.sink.Outcomes(outcomes)
		}
		if loads := frame.GetLoad(); len(loads) > 0 {
			w.sink.Loads(loads)
		}
	}
}

func (w *Worker) ended(err error) error {
	switch {
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("the function's stream broke: %w", err)
	case !w.closing.Load():
		return ErrUninvited
	}
	return nil
}

// write sends frames until the outbox is closed and empty, or the stream breaks.
func (w *Worker) write() {
	defer close(w.written)
	var batch []outgoing
	frame := &fnhostv1.HostFrame{}
	for {
		var more bool
		if batch, more = w.outbox.Next(batch[:0]); !more {
			_ = w.stream.CloseSend() // never fails; what is wrong is seen by the read loop
			return
		}
		fill(frame, batch)
		if err := w.stream.Send(frame); err != nil {
			w.outbox.Discard() // why is seen by the read loop
			return
		}
		clear(batch) // what was sent may be large: keep none of it
		clear(frame.Deliver)
	}
}

func fill(frame *fnhostv1.HostFrame, batch []outgoing) {
	frame.Deliver, frame.Cancel, frame.Loaded = frame.Deliver[:0], frame.Cancel[:0], frame.Loaded[:0]
	for _, out := range batch {
		switch {
		case out.deliver != nil:
			frame.Deliver = append(frame.Deliver, out.deliver)
		case out.cancel != nil:
			frame.Cancel = append(frame.Cancel, out.cancel)
		default:
			frame.Loaded = append(frame.Loaded, out.loaded)
		}
	}
}
