package ops

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/lifecycle"
	"github.com/fnhost/fnhost/host/topology"
)

// HeartbeatConfig says whose heartbeats are kept, and how.
type HeartbeatConfig struct {
	Consumer string          // the host's consumer name
	TTL      time.Duration   // of a heartbeat
	Interval time.Duration   // between two; less than the TTL
	Healthy  func() []string // the roles that are healthy now; must not block
	Report   func(error)     // told of every beat, nil if it succeeded; may be nil
}

// Heartbeats keeps `ops:hb:{role}:{consumer}` for every healthy role, and removes
// it at once when the role is not healthy any more, and at the stop.
type Heartbeats struct {
	lifecycle.Base
	config HeartbeatConfig
	beat   func(ctx context.Context, healthy, gone []string) error
	poke   chan struct{}
}

// NewHeartbeats gives heartbeats that beat once they are started.
func NewHeartbeats(client *redis.Client, keys topology.Keys, config HeartbeatConfig) *Heartbeats {
	return newHeartbeats(config, func(ctx context.Context, healthy, gone []string) error {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, role := range healthy {
				p.Set(ctx, keys.Heartbeat(role, config.Consumer), "1", config.TTL)
			}
			for _, role := range gone {
				p.Del(ctx, keys.Heartbeat(role, config.Consumer))
			}
			return nil
		})
		return err
	})
}

func newHeartbeats(config HeartbeatConfig, beat func(ctx context.Context, healthy, gone []string) error) *Heartbeats {
	if config.Report == nil {
		config.Report = func(error) {}
	}
	return &Heartbeats{config: config, beat: beat, poke: make(chan struct{}, 1)}
}

// Start beats at once and then at every interval.
func (h *Heartbeats) Start(ctx context.Context) error { return h.Go(ctx, nil, h.run) }

// Poke makes the next beat come now: the health of a role has changed.
func (h *Heartbeats) Poke() {
	select {
	case h.poke <- struct{}{}:
	default:
	}
}

func (h *Heartbeats) run(ctx context.Context) {
	ticker := time.NewTicker(h.config.Interval)
	defer ticker.Stop()
	var beating []string // roles whose key may be there
	for {
		beating = h.once(ctx, beating, h.config.Healthy())
		select {
		case <-ticker.C:
		case <-h.poke:
		case <-ctx.Done():
			h.once(context.WithoutCancel(ctx), beating, nil)
			return
		}
	}
}

// once beats for the healthy and removes the others of those that beat before. It
// gives the roles whose key may be there now.
func (h *Heartbeats) once(ctx context.Context, before, healthy []string) []string {
	gone := slices.DeleteFunc(slices.Clone(before), func(role string) bool { return slices.Contains(healthy, role) })
	if len(gone)+len(healthy) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, min(h.config.Interval, writeLimit))
	defer cancel()
	err := h.beat(ctx, healthy, gone)
	h.config.Report(err)
	if err != nil {
		return append(gone, healthy...)
	}
	return healthy
}
