package sdk_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// A message costs both ends together few allocations: those of what its handler
// may keep (message, attributes, texts, data), its reply and its outcome. The rest
// is shared by a frame. Not parallel: it counts those of the whole process.
func TestAllocationsOfAMessage(t *testing.T) {
	h := serve(t, handler(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) { return &sdk.Reply{Data: m.Data}, nil }))
	h.configure(64)
	const frames, batch = 100, 128
	places := make(credit, batch)
	worker, err := client.Work(t.Context(), h.conn, places)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*fnhostv1.Delivery, batch)
	for i := range all {
		all[i] = delivery(uint64(i))
		all[i].TimeoutMs, all[i].Data = 30000, make([]byte, 240)
		all[i].Attributes = fields("id", "0123456789abcdef", "type", "echo", "source", "/test", "time", "2026-02-03T04:05:06Z")
	}
	var before, after runtime.MemStats
	for n := range frames + 1 {
		if n == 1 { // workers and buffers are there now
			runtime.ReadMemStats(&before)
		}
		worker.Deliver(all...)
		for range batch {
			<-places
		}
	}
	runtime.ReadMemStats(&after)
	worker.CloseSend()
	<-worker.Done()
	if got := float64(after.Mallocs-before.Mallocs) / (frames * batch); got > 10 {
		t.Errorf("%.1f allocations a message, want about 7", got)
	} else {
		t.Logf("%.1f allocations, %d bytes a message", got, (after.TotalAlloc-before.TotalAlloc)/(frames*batch))
	}
}
