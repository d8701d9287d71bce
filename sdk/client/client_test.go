package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

const patience = 2 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type stream = grpc.BidiStreamingServer[fnhostv1.HostFrame, fnhostv1.FunctionFrame]

// function is a function of another make: what it does on its stream is the test's.
type function struct {
	fnhostv1.UnimplementedFunctionServer
	description *fnhostv1.Description
	work        func(stream) error
	health      *health.Server
}

func (f *function) Describe(context.Context, *fnhostv1.DescribeRequest) (*fnhostv1.Description, error) {
	return f.description, nil
}

func (f *function) Work(s stream) error { return f.work(s) }

func dial(t *testing.T, f *function) *grpc.ClientConn {
	t.Helper()
	f.health = health.NewServer()
	server := sdk.GRPCServer(nil)
	fnhostv1.RegisterFunctionServer(server, f)
	grpc_health_v1.RegisterHealthServer(server, f.health)
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
	})
	return conn
}

// sink keeps what it is given.
type sink struct {
	outcomes chan *fnhostv1.Outcome
}

func newSink() *sink { return &sink{make(chan *fnhostv1.Outcome, 1000)} }

func (s *sink) Outcomes(all []*fnhostv1.Outcome) {
	for _, o := range all {
		s.outcomes <- o
	}
}

func (s *sink) Loads([]*fnhostv1.Load) {}

func open(t *testing.T, work func(stream) error) (*client.Worker, *sink) {
	t.Helper()
	s := newSink()
	w, err := client.Work(t.Context(), dial(t, &function{work: work}), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { <-w.Done() })
	return w, s
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

func TestDescribeChecksTheAnswer(t *testing.T) {
	t.Parallel()
	d, err := client.Describe(t.Context(), dial(t, &function{description: &fnhostv1.Description{Role: "rag"}}), "1")
	if err != nil || d.GetName() != "rag" {
		t.Errorf("%v, %v; want the role as name", d, err)
	}
	_, err = client.Describe(t.Context(), dial(t, &function{description: &fnhostv1.Description{Role: "RAG"}}), "1")
	if err == nil || !strings.Contains(err.Error(), `role "RAG"`) {
		t.Errorf("a bad role: %v", err)
	}
}

func TestHealthIsWhatTheFunctionReports(t *testing.T) {
	t.Parallel()
	f := &function{}
	conn := dial(t, f)
	if err := client.Health(t.Context(), conn); err == nil {
		t.Error("a function without the service `plugin` is healthy")
	}
	f.health.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	if err := client.Health(t.Context(), conn); !errors.Is(err, client.ErrUnhealthy) {
		t.Errorf("not serving: %v", err)
	}
	f.health.SetServingStatus("plugin", grpc_health_v1.HealthCheckResponse_SERVING)
	if err := client.Health(t.Context(), conn); err != nil {
		t.Errorf("serving: %v", err)
	}
}

func TestAStreamThatEndsUninvitedIsAnError(t *testing.T) {
	t.Parallel()
	w, _ := open(t, func(s stream) error { _, err := s.Recv(); return err })
	if w.Err() != nil {
		t.Errorf("an error while the stream lives: %v", w.Err())
	}
	w.Deliver(&fnhostv1.Delivery{Number: 1})
	receive(t, "the end", w.Done())
	if !errors.Is(w.Err(), client.ErrUninvited) {
		t.Errorf("ended with %v", w.Err())
	}
	w.Deliver(&fnhostv1.Delivery{Number: 2}) // of no effect, and no harm
	w.CloseSend()
	if !errors.Is(w.Err(), client.ErrUninvited) {
		t.Errorf("after CloseSend: %v", w.Err())
	}
}

func TestTheEndOfTheContextEndsTheStream(t *testing.T) {
	t.Parallel()
	conn := dial(t, &function{work: func(s stream) error { <-s.Context().Done(); return nil }})
	ctx, end := context.WithCancel(t.Context())
	w, err := client.Work(ctx, conn, newSink())
	if err != nil {
		t.Fatal(err)
	}
	end()
	receive(t, "the end", w.Done())
	if w.Err() == nil {
		t.Error("it ended without an error")
	}
}

// The function reads nothing, so that the host's writer waits: the host's calls
// return, and what the function sends is still heard.
func TestTheHostDoesNotWaitForAFunctionThatDoesNotRead(t *testing.T) {
	t.Parallel()
	read, sent := make(chan struct{}), 0
	var got atomic.Int64
	w, s := open(t, func(s stream) error {
		if err := s.Send(&fnhostv1.FunctionFrame{Outcome: []*fnhostv1.Outcome{{Delivery: 7}}}); err != nil {
			return err
		}
		<-read
		for {
			frame, err := s.Recv()
			if err != nil {
				return nil // half-closed
			}
			got.Add(int64(len(frame.GetDeliver())))
		}
	})
	for range 8 {
		w.Deliver(&fnhostv1.Delivery{Data: make([]byte, 1<<20)})
		sent++
	}
	if o := receive(t, "an outcome", s.outcomes); o.GetDelivery() != 7 {
		t.Errorf("outcome %v", o)
	}
	close(read)
	w.CloseSend()
	receive(t, "the end", w.Done())
	if w.Err() != nil || got.Load() != int64(sent) {
		t.Errorf("%d of %d deliveries arrived before the half-close: %v", got.Load(), sent, w.Err())
	}
}

func TestFramesCloseAtOneMiB(t *testing.T) {
	t.Parallel()
	type frame struct{ deliveries, bytes int }
	frames := make(chan frame, 1000)
	w, _ := open(t, func(s stream) error {
		for {
			f, err := s.Recv()
			if err != nil {
				return nil
			}
			size := 0
			for _, d := range f.GetDeliver() {
				size += len(d.GetData())
			}
			frames <- frame{len(f.GetDeliver()), size}
		}
	})
	var all []*fnhostv1.Delivery
	for range 300 {
		all = append(all, &fnhostv1.Delivery{Data: make([]byte, 10<<10)})
	}
	w.Deliver(append(all, &fnhostv1.Delivery{Data: make([]byte, 3<<20)})...)
	w.CloseSend()
	receive(t, "the end", w.Done())
	close(frames)
	count, total := 0, 0
	for f := range frames {
		count, total = count+1, total+f.deliveries
		if f.bytes > 1<<20 && f.deliveries > 1 {
			t.Errorf("a frame of %d deliveries has %d bytes of data", f.deliveries, f.bytes)
		}
	}
	if total != 301 || count != 4 { // 3 MiB of 10 KiB each, and the large one alone
		t.Errorf("%d deliveries in %d frames, want 301 in 4", total, count)
	}
}
