package host

import (
	"context"
	"time"

	"github.com/fnhost/fnhost/host/stream"
)

const (
	// promoteEvery is how often a host looks for entries that are due.
	promoteEvery = time.Second
	// promoteTimeout bounds one look.
	promoteTimeout = 10 * time.Second
)

// promote adds entries that were kept for later to their streams when they are
// due. Every host does so for every stream that it knows: one that lives is
// enough, and an entry is added once.
func (h *Host) promote(ctx context.Context) {
	ticker := time.NewTicker(promoteEvery)
	defer ticker.Stop()
	stuck := map[string]string{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for more := true; more && ctx.Err() == nil; {
			p, err := h.promoteOnce(ctx)
			if err != nil {
				h.log.Debug("entries for later", "error", err) // that Redis does not answer, others say
				break
			}
			h.tellStuck(p.Stuck, stuck)
			stuck, more = p.Stuck, p.More
		}
	}
}

func (h *Host) promoteOnce(ctx context.Context) (stream.Promoted, error) {
	ctx, cancel := context.WithTimeout(ctx, promoteTimeout)
	defer cancel()
	return h.redis.Promote(ctx, h.topology.Load().Targets())
}

// tellStuck logs what is new about streams that cannot take their entries.
func (h *Host) tellStuck(now, before map[string]string) {
	for name, why := range now {
		if before[name] != why {
			h.log.Error("entries that are due cannot be added to their stream; they are kept and tried again", "stream", name, "reason", why)
		}
	}
}
