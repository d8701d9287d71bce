package plugin

import (
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// BenchmarkConvert writes deliveries for the wire, a frame of 128 at a time, and
// reads their outcomes; an operation is a message.
func BenchmarkConvert(b *testing.B) {
	frame := make([]*delivery.Delivery, 128)
	for i := range frame {
		d := &delivery.Delivery{Number: uint64(i + 1), Stream: "echo:tasks", Grant: delivery.Grant{Fence: 1, Attempt: 1},
			Entry: delivery.Entry{ID: "1795546835822-0", Fields: []string{"type", "bench.echo", "source", "/shop", "data", strings.Repeat("x", 240)}}}
		d.Message = delivery.Read(&d.Entry)
		frame[i] = d
	}
	outcome := &fnhostv1.Outcome{Delivery: 1, Verdict: &fnhostv1.Outcome_Done{Done: &fnhostv1.Done{Result: []byte(strings.Repeat("x", 240))}}}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(frame) {
		for range toWire(frame) {
			if r, err := fromWire(outcome); err != nil || r.Verdict != delivery.Done {
				b.Fatal(r, err)
			}
		}
	}
}
