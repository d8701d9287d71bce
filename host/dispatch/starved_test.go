package dispatch

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// A handler that fails because the store did not answer when it asked for state
// is not to blame: it has one attempt here, and an outage does not cost it.
func TestAnOutageOfTheStoreCostsNoAttempt(t *testing.T) {
	for name, transient := range map[string]bool{"the store does not answer": true, "it answers with an error": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var b *bundle
				b = start(t, func(_ context.Context, d *delivery.Delivery) delivery.Reply {
					asked := len(b.fn.answers())
					b.role.Loads([]delivery.Load{{Request: d.Number, Delivery: d.Number, Key: "k"}})
					time.Sleep(time.Second)
					if b.fn.answers()[asked].Err != nil {
						return delivery.Reply{Verdict: delivery.Retry, Error: delivery.Error{Type: "state", Message: "no state"}}
					}
					return done("")
				}, func(c *Config) { c.Policy.MaxRetries = 0 })
				b.log.publish(1, "data", "x")
				pass(500 * time.Millisecond) // it has asked
				b.log.set(func() { b.log.loadErr, b.log.refusesLoads = errors.New("no answer"), !transient })
				b.log.publish(2, "data", "y")
				pass(5 * time.Second)
				b.log.set(func() { b.log.loadErr = nil })
				pass(5 * time.Second)
				want := map[bool]int{true: 0, false: 1}[transient]
				if letters, results := b.log.entries("work:dlq"), b.log.entries("work:results"); len(letters) != want || len(results) != 2 {
					t.Errorf("%d dead letters and %d results, want %d and 2: %v", len(letters), len(results), want, letters)
				}
				b.stop(t)
			})
		})
	}
}

func (f *fakeFunction) answers() []delivery.Loaded {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loaded
}
