package plugin

import (
	"sync/atomic"

	"github.com/fnhost/fnhost/host/delivery"
)

// A slot is where a generation is in service, or none.
type slot struct {
	sink    *atomic.Pointer[Sink]
	active  atomic.Pointer[generation] // nil: none is ready
	changed chan struct{}
}

func newSlot(sink *atomic.Pointer[Sink]) slot {
	return slot{sink: sink, changed: make(chan struct{}, 1)}
}

// Deliver hands deliveries over. Each gets exactly one reply through the sink: at
// once and with the verdict Died, not started, if no generation is ready.
func (s *slot) Deliver(deliveries []*delivery.Delivery) {
	if g := s.active.Load(); g != nil && g.deliver(deliveries) {
		return
	}
	replies := make([]delivery.Reply, len(deliveries))
	for i, d := range deliveries {
		replies[i] = died(d.Number, false, "no process of the plugin is ready", "")
	}
	(*s.sink.Load()).Replies(replies)
}

// Cancel asks for the end of deliveries; each still gets its one reply.
func (s *slot) Cancel(numbers []uint64, cause delivery.Cause) {
	if g := s.active.Load(); g != nil {
		g.cancel(numbers, cause)
	}
}

// Loaded answers loads that came through the sink; others are ignored.
func (s *slot) Loaded(loaded []delivery.Loaded) {
	if g := s.active.Load(); g != nil {
		g.loaded(loaded)
	}
}

// Kill kills the active process, as one that ignores a cancel. Its deliveries
// are answered with Died, and a new generation is started.
func (s *slot) Kill(reason string) {
	if g := s.active.Load(); g != nil {
		g.kill(reason)
	}
}

// Ready says whether a generation can take deliveries.
func (s *slot) Ready() bool { return s.active.Load() != nil }

// Changed is signalled when Ready may have changed. It is for one receiver.
func (s *slot) Changed() <-chan struct{} { return s.changed }

// put makes a generation, or none, the active one.
func (s *slot) put(g *generation) { s.active.Store(g) }

// signal tells that it has changed.
func (s *slot) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
