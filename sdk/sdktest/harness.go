// Package sdktest runs a function in a test: in this process, over real gRPC,
// with the server options of production and the host's own half of the wire.
//
//	h := sdktest.New(t, function)
//	r := h.Deliver("", sdktest.JSON(query), sdktest.Type("rag.query"))
//	r.RequireDone(t)
//
// The harness plays the host: it answers loads of keyed state and cache from
// memory, applies what a done message writes, and runs a message again whose
// state another one changed meanwhile. It does not retry failed messages: give
// [Attempt] to see what a later attempt does.
package sdktest

import (
	"context"
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// patience is how long the harness waits for an outcome, or for the function's
// end, before it fails the test.
const patience = time.Minute

// A Harness is a function under test. Its methods may be called from several
// goroutines.
type Harness struct {
	t           testing.TB
	role        string
	description *fnhostv1.Description
	worker      *client.Worker
	store       *store

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan *fnhostv1.Outcome
}

// A HarnessOption changes how the function is configured.
type HarnessOption func(*fnhostv1.ConfigureRequest)

// Settings gives the function its `plugin.settings`, as JSON of v.
func Settings(v any) HarnessOption {
	return func(r *fnhostv1.ConfigureRequest) { r.Settings = JSON(v) }
}

// Concurrency is how many handlers run at once; 16 unless it is given.
func Concurrency(n int) HarnessOption {
	return func(r *fnhostv1.ConfigureRequest) { r.Concurrency = uint32(n) }
}

// StateDir gives the function this directory, in place of a temporary one.
func StateDir(dir string) HarnessOption {
	return func(r *fnhostv1.ConfigureRequest) { r.StateDir = dir }
}

// New starts the function, and stops it when the test ends. It fails the test
// if the function is not valid or rejects its settings.
func New(t testing.TB, fn sdk.Function, opts ...HarnessOption) *Harness {
	t.Helper()
	h := &Harness{t: t, store: newStore(), waiting: map[uint64]chan *fnhostv1.Outcome{}}
	conn := h.serve(fn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h.check(client.Health(ctx, conn))
	description, err := client.Describe(ctx, conn, "sdktest")
	h.check(err)
	h.description, h.role = description, description.GetRole()
	request := &fnhostv1.ConfigureRequest{Settings: []byte("{}"), Concurrency: 16}
	for _, o := range opts {
		o(request)
	}
	if request.StateDir == "" {
		request.StateDir = t.TempDir()
	}
	h.check(client.Configure(ctx, conn, request))
	h.worker, err = client.Work(context.Background(), conn, sink{h})
	h.check(err)
	t.Cleanup(h.finish)
	return h
}

// check fails the test.
func (h *Harness) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("sdktest: %v", err)
	}
}

// serve runs the function's server until the test ends.
func (h *Harness) serve(fn sdk.Function) *grpc.ClientConn {
	h.t.Helper()
	function, err := sdk.NewServer(fn)
	h.check(err)
	server := sdk.GRPCServer(nil)
	function.Register(server)
	healthy := health.NewServer()
	healthy.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, healthy)
	listener := bufconn.Listen(1 << 20)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///function",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	h.check(err)
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := function.Stop(ctx); err != nil {
			h.t.Errorf("sdktest: %v", err)
		}
		_ = conn.Close()
		server.Stop()
		<-served
	})
	return conn
}

// finish half-closes the stream and sees the function finish what it has.
func (h *Harness) finish() {
	h.worker.CloseSend()
	select {
	case <-h.worker.Done():
		if err := h.worker.Err(); err != nil {
			h.t.Errorf("sdktest: %v", err)
		}
	case <-time.After(patience):
		h.t.Errorf("sdktest: the function did not finish within %s: a handler has not returned", patience)
	}
}

// Describe gives the function's description as a host sees it.
func (h *Harness) Describe() *fnhostv1.Description { return h.description }

// Raw gives data as it is; nil is a message without data.
func Raw(data []byte) []byte { return data }

// JSON gives v as JSON. It panics if v has none.
func JSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("sdktest: " + err.Error())
	}
	return data
}

// sink hands outcomes to those who wait for them and loads to the store.
type sink struct{ h *Harness }

func (s sink) Outcomes(outcomes []*fnhostv1.Outcome) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	for _, o := range outcomes {
		to, ok := s.h.waiting[o.GetDelivery()]
		if !ok {
			s.h.t.Errorf("sdktest: an outcome for delivery %d, which has none due", o.GetDelivery())
			continue
		}
		delete(s.h.waiting, o.GetDelivery())
		to <- o
	}
}

func (s sink) Loads(loads []*fnhostv1.Load) {
	answers := make([]*fnhostv1.Loaded, len(loads))
	for i, l := range loads {
		answers[i] = s.h.store.load(l)
	}
	s.h.worker.Loaded(answers...)
}
