package sdk_test

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// patience is the deadline of everything that a test waits for.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(childKey) != "" {
		child() // this process is the plugin of a process-level test
	}
	goleak.VerifyTestMain(m)
}

// host is the host's half of a test: it keeps what the function sends.
type host struct {
	t        *testing.T
	function *sdk.Server
	conn     *grpc.ClientConn
	worker   *client.Worker
	loads    chan *fnhostv1.Load

	mu       sync.Mutex
	outcomes map[uint64]*fnhostv1.Outcome
	order    []uint64
	changed  chan struct{} // closed and replaced at each frame
}

// serve serves the function over gRPC in memory; nothing has been called yet.
func serve(t *testing.T, f sdk.Function) *host {
	t.Helper()
	if f.Role == "" {
		f.Role = "test"
	}
	function, err := sdk.NewServer(f)
	if err != nil {
		t.Fatal(err)
	}
	server := sdk.GRPCServer(nil)
	function.Register(server)
	listener := bufconn.Listen(1 << 20)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///function", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		<-served
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := function.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return &host{t: t, function: function, conn: conn, loads: make(chan *fnhostv1.Load, 100),
		outcomes: map[uint64]*fnhostv1.Outcome{}, changed: make(chan struct{})}
}

// start serves the function and opens its stream.
func start(t *testing.T, f sdk.Function, concurrency uint32) *host {
	t.Helper()
	h := serve(t, f)
	h.configure(concurrency)
	worker, err := client.Work(t.Context(), h.conn, h)
	if err != nil {
		t.Fatal(err)
	}
	h.worker = worker
	t.Cleanup(func() { <-worker.Done() }) // t.Context() has ended by then
	return h
}

func (h *host) configure(concurrency uint32) {
	h.t.Helper()
	if err := client.Configure(h.t.Context(), h.conn, &fnhostv1.ConfigureRequest{Concurrency: concurrency}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) Outcomes(outcomes []*fnhostv1.Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range outcomes {
		if h.outcomes[o.GetDelivery()] != nil {
			h.t.Errorf("a second outcome for delivery %d", o.GetDelivery())
		}
		h.outcomes[o.GetDelivery()] = o
		h.order = append(h.order, o.GetDelivery())
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *host) Loads(loads []*fnhostv1.Load) {
	for _, l := range loads {
		h.loads <- l
	}
}

// outcome waits for a delivery's outcome.
func (h *host) outcome(number uint64) *fnhostv1.Outcome {
	h.t.Helper()
	deadline := time.After(patience)
	for {
		h.mu.Lock()
		o, changed := h.outcomes[number], h.changed
		h.mu.Unlock()
		if o != nil {
			return o
		}
		select {
		case <-changed:
		case <-h.worker.Done():
			h.t.Fatalf("the stream ended before the outcome of %d: %v", number, h.worker.Err())
		case <-deadline:
			h.t.Fatalf("no outcome of %d", number)
		}
	}
}

func (h *host) has(number uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.outcomes[number] != nil
}

// deliver sends deliveries from..to whose data is their number's low byte.
func (h *host) deliver(from, to uint64) {
	var all []*fnhostv1.Delivery
	for n := from; n <= to; n++ {
		all = append(all, delivery(n))
	}
	h.worker.Deliver(all...)
}

func delivery(n uint64) *fnhostv1.Delivery {
	return &fnhostv1.Delivery{Number: n, Stream: "test:tasks", EntryId: "7-0", Data: []byte{byte(n)}, Attempt: 1, Fence: n}
}

func receive[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatalf("waited too long for %s", what)
	}
	return v
}

func handler(f func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error)) sdk.Function {
	return sdk.Function{Handler: sdk.HandlerFunc(f)}
}
