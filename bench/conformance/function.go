package conformance

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/dispatch"
)

var _ dispatch.Function = (*function)(nil)

// function is a role's function within this process: its handler is whoever
// reads the channel, and its verdict is the ack or nack. It starts deliveries in
// the order of arrival, at most concurrency at once.
type function struct {
	ctx         context.Context // of the subscription; its values only
	out         chan *message.Message
	sink        dispatch.Sink
	concurrency int
	changed     chan struct{}
	handlers    sync.WaitGroup

	mu      sync.Mutex
	queue   []*delivery.Delivery
	running map[uint64]context.CancelFunc
}

func newFunction(ctx context.Context, concurrency int) *function {
	return &function{
		ctx: context.WithoutCancel(ctx), out: make(chan *message.Message), concurrency: max(concurrency, 1),
		changed: make(chan struct{}), running: map[uint64]context.CancelFunc{},
	}
}

// Deliver queues deliveries.
func (f *function) Deliver(deliveries []*delivery.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, deliveries...)
	f.start()
}

// start starts what may run.
func (f *function) start() {
	for len(f.queue) > 0 && len(f.running) < f.concurrency {
		d := f.queue[0]
		f.queue = f.queue[1:]
		ctx, cancel := context.WithCancel(f.ctx)
		f.running[d.Number] = cancel
		f.handlers.Go(func() { f.handle(ctx, d) })
	}
}

// handle hands a message out, waits for its ack or nack, and tells the role.
func (f *function) handle(ctx context.Context, d *delivery.Delivery) {
	verdict := f.offer(ctx, d)
	f.mu.Lock()
	f.running[d.Number]() // the message's context ends with its ack
	delete(f.running, d.Number)
	f.start()
	f.mu.Unlock()
	f.reply([]uint64{d.Number}, verdict)
}

func (f *function) offer(ctx context.Context, d *delivery.Delivery) delivery.Verdict {
	m := read(&d.Message)
	m.SetContext(ctx)
	select {
	case f.out <- m:
	case <-ctx.Done():
		return delivery.NotStarted
	}
	select {
	case <-m.Acked():
		return delivery.Done
	case <-m.Nacked():
		return delivery.Retry
	case <-ctx.Done():
	}
	select {
	case <-m.Acked(): // before its cancellation, or with it
		return delivery.Done
	default:
		return delivery.Interrupted
	}
}

func (f *function) reply(numbers []uint64, verdict delivery.Verdict) {
	replies := make([]delivery.Reply, len(numbers))
	for i, number := range numbers {
		replies[i] = delivery.Reply{Number: number, Verdict: verdict, Started: verdict != delivery.NotStarted}
	}
	if verdict == delivery.Retry {
		replies[0].Error = delivery.Error{Type: "nack", Message: "nacked"}
	}
	f.sink.Replies(replies)
}

// Cancel ends the contexts of what runs, and answers for what waits.
func (f *function) Cancel(numbers []uint64, _ delivery.Cause) {
	f.mu.Lock()
	for _, number := range numbers {
		if cancel := f.running[number]; cancel != nil {
			cancel()
		}
	}
	var waited []uint64
	f.queue = slices.DeleteFunc(f.queue, func(d *delivery.Delivery) bool {
		waits := slices.Contains(numbers, d.Number)
		if waits {
			waited = append(waited, d.Number)
		}
		return waits
	})
	f.mu.Unlock()
	if len(waited) > 0 {
		f.reply(waited, delivery.NotStarted)
	}
}

// Kill is not called: there is no time limit here for a handler to ignore.
func (f *function) Kill(reason string) { panic("a subscription has no process to kill: " + reason) }

// Loaded is not called: nothing is loaded.
func (*function) Loaded([]delivery.Loaded) {}

// Ready says that it takes deliveries.
func (*function) Ready() bool { return true }

// Changed is never signalled: it is always ready.
func (f *function) Changed() <-chan struct{} { return f.changed }

// Concurrency is how many messages are out at once.
func (f *function) Concurrency() int { return f.concurrency }

// end waits for what still runs after its role has stopped, and closes the channel.
func (f *function) end() {
	f.mu.Lock()
	f.queue = nil
	for _, cancel := range f.running {
		cancel()
	}
	f.mu.Unlock()
	f.handlers.Wait()
	close(f.out)
}

// metadata is what the names of a message's metadata begin with on the stream.
const metadata = "metadata."

// fields are a message as a stream entry.
func fields(m *message.Message, partitionKey string) []string {
	fields := []string{"id", m.UUID}
	if partitionKey != "" {
		fields = append(fields, "partitionkey", partitionKey)
	}
	for name, value := range m.Metadata {
		fields = append(fields, metadata+name, value)
	}
	return append(fields, "data", string(m.Payload))
}

// read is the inverse of fields.
func read(from *delivery.Message) *message.Message {
	m := message.NewMessage(from.ID, message.Payload(from.Data))
	for i := 0; i+1 < len(from.Attributes); i += 2 {
		if name, ok := strings.CutPrefix(from.Attributes[i], metadata); ok {
			m.Metadata.Set(name, from.Attributes[i+1])
		}
	}
	return m
}
