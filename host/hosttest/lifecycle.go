package hosttest

import (
	"sync"
	"testing"

	"github.com/fnhost/fnhost/host/lifecycle"
)

// Stress checks that a part keeps the contract of [lifecycle.Part]: it may be
// stopped without a start and twice, started again, and started and stopped by
// many at once. The part is stopped when Stress returns.
func Stress(t *testing.T, part lifecycle.Part) {
	t.Helper()
	part.Stop()
	for range 3 {
		if err := part.Start(t.Context()); err != nil {
			t.Fatalf("starting %T: %v", part, err)
		}
		<-part.Started()
		if err := part.Start(t.Context()); err != nil {
			t.Fatalf("starting %T while it runs: %v", part, err)
		}
		part.Stop()
		part.Stop()
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := part.Start(t.Context()); err != nil {
				t.Errorf("starting %T among others: %v", part, err)
			}
			part.Stop()
		})
	}
	wg.Wait()
	part.Stop()
}
