package dispatch

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// BenchmarkCompose makes the commit of a message that is done, with and without
// its audit.
func BenchmarkCompose(b *testing.B) {
	topo, err := topology.New([]topology.Role{topology.Default("work")})
	if err != nil {
		b.Fatal(err)
	}
	for name, sampled := range map[string]bool{"audit=0": false, "audit=1": true} {
		b.Run(name, func(b *testing.B) {
			sub := topo.Roles()[0].Subscriptions[0]
			r := New(Config{
				Role: "work", Host: "test:1", Function: newFakeFunction(nil, 4), DLQ: "work:dlq", Observer: nobody{}, Logger: slog.New(slog.DiscardHandler),
				Subscriptions: []Subscription{{Subscription: sub, Log: newFakeLog()}}, Topology: func() *topology.Topology { return topo },
				Lease: 15 * time.Second, Timeout: 30 * time.Second, Sampled: func(string, string) bool { return sampled },
			})
			d := &delivery.Delivery{Stream: sub.Stream, Grant: delivery.Grant{Fence: 1, Attempt: 1},
				Entry: delivery.Entry{ID: "1795546835822-0", Fields: []string{"type", "bench.echo", "data", strings.Repeat("x", 240)}}}
			d.Message = delivery.Read(&d.Entry)
			d.Trace = r.trace(d)
			reply := delivery.Reply{Verdict: delivery.Done, Result: []byte(d.Message.Data), ContentType: "application/json", Took: time.Millisecond}
			b.ReportAllocs()
			for b.Loop() {
				if c, status := r.compose(d, delivery.Outcome{Kind: delivery.KindDone}, reply); len(c.Adds) != 1 || status != delivery.StatusOK {
					b.Fatalf("got %+v, %s", c, status)
				}
			}
		})
	}
}
