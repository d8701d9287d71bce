package sdk_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// credit is a sink that gives the host a place in its window back for each outcome.
type credit chan struct{}

func (c credit) Outcomes(all []*fnhostv1.Outcome) {
	for range all {
		c <- struct{}{}
	}
}

func (c credit) Loads([]*fnhostv1.Load) {}

// BenchmarkEcho is one message of 256 bytes there and back, over a unix socket,
// with a window of 1024, which the host refills as outcomes come.
func BenchmarkEcho(b *testing.B) {
	f := handler(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) { return &sdk.Reply{Data: m.Data}, nil })
	f.Role = "echo"
	function, err := sdk.NewServer(f)
	if err != nil {
		b.Fatal(err)
	}
	server := sdk.GRPCServer(nil)
	function.Register(server)
	path := filepath.Join(b.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if err := client.Configure(b.Context(), conn, &fnhostv1.ConfigureRequest{Concurrency: 64}); err != nil {
		b.Fatal(err)
	}
	const window, batch = 1024, 128
	places := make(credit, window)
	worker, err := client.Work(b.Context(), conn, places)
	if err != nil {
		b.Fatal(err)
	}
	for range window {
		places <- struct{}{}
	}
	data := make([]byte, 256)
	b.ReportAllocs()
	for n := 0; b.Loop(); n += batch {
		frame := make([]*fnhostv1.Delivery, 0, batch)
		for i := range batch {
			<-places
			frame = append(frame, &fnhostv1.Delivery{
				Number: uint64(n + i), Stream: "echo:tasks", EntryId: "1700000000000-0", Data: data, Attempt: 1, TimeoutMs: 30000,
				Attributes: fields("id", "0123456789abcdef", "type", "echo", "source", "/bench", "time", "2026-02-03T04:05:06Z"),
			})
		}
		worker.Deliver(frame...)
	}
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "msg/s")
	worker.CloseSend()
	for range window {
		<-places
	}
	<-worker.Done()
}
