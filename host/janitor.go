package host

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

const (
	// trimEvery is how often at most old inputs are looked at, if they are to be
	// trimmed, and trimSeldom how often at least.
	trimEvery, trimSeldom = time.Second, 10 * time.Second
	// reapEvery is how often consumers of hosts that are gone are looked for, and
	// groups that are.
	reapEvery = time.Minute
	// tidyTimeout bounds one look.
	tidyTimeout = 10 * time.Second
)

// tidy keeps the input streams of our roles tidy: it trims what is old and needed
// by nobody, and removes the consumers of hosts that are gone; and it makes again
// those groups that nobody of us reads, if they are gone. Every host does so; it
// does no harm twice.
func (h *Host) tidy(ctx context.Context) {
	reap := time.NewTicker(reapEvery)
	defer reap.Stop()
	var trims <-chan time.Time // never, if nothing is to be trimmed
	if h.cfg.TasksRetention > 0 {
		trim := time.NewTicker(min(max(h.cfg.TasksRetention, trimEvery), trimSeldom))
		defer trim.Stop()
		trims = trim.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-trims:
			h.eachInput(func(sub topology.Subscription) { h.trim(ctx, sub) })
		case <-reap.C:
			h.eachInput(func(sub topology.Subscription) { h.reap(ctx, sub) })
			h.regroup(ctx)
		}
	}
}

// eachInput is for every subscription of the roles that we play.
func (h *Host) eachInput(do func(topology.Subscription)) {
	topo := h.topology.Load()
	for _, r := range h.roles {
		played, _ := topo.Role(r.name)
		for _, sub := range played.Subscriptions {
			do(sub)
		}
	}
}

// trim removes old entries, a bounded number at a time.
func (h *Host) trim(ctx context.Context, sub topology.Subscription) {
	var groups []string
	for _, group := range h.topology.Load().Groups() {
		if group.Stream == sub.Stream {
			groups = append(groups, group.Group)
		}
	}
	for more := true; more && ctx.Err() == nil; {
		var trimmed stream.Trimmed
		err := h.briefly(ctx, func(ctx context.Context) (err error) {
			trimmed, err = h.redis.Trim(ctx, sub.Stream, groups, h.cfg.TasksRetention)
			return err
		})
		if err != nil {
			h.untidy(err, "trimming an input stream", sub)
			return
		}
		h.metrics.Role(sub.Role).Trimmed(sub.Stream, trimmed.Removed)
		more = trimmed.More
	}
}

// reap removes consumers of hosts that are gone: they have no heartbeat, if
// there are any, and have done nothing for several leases.
func (h *Host) reap(ctx context.Context, sub topology.Subscription) {
	idle := max(4*h.cfg.LeaseTTL, 2*h.cfg.Heartbeat.TTL)
	var reaped int64
	err := h.briefly(ctx, func(ctx context.Context) (err error) {
		reaped, err = h.redis.Reap(ctx, sub, h.consumer, idle)
		return err
	})
	if err != nil {
		h.untidy(err, "removing consumers of hosts that are gone", sub)
		return
	}
	h.metrics.Role(sub.Role).Reaped(reaped)
}

// regroup makes groups again that are gone. Those that we read are made again at
// once, when the next command misses them; these are readers' from outside, or
// another host's. They had existed, so they skip nothing.
func (h *Host) regroup(ctx context.Context) {
	var made []stream.Created
	err := h.briefly(ctx, func(ctx context.Context) (err error) {
		made, err = h.redis.EnsureGroups(ctx, h.topology.Load().Groups(), "0-0")
		return err
	})
	for _, c := range made {
		h.log.Warn(c.String())
	}
	if err != nil {
		h.untidy(err, "looking for groups that are gone", topology.Subscription{})
	}
}

func (h *Host) briefly(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tidyTimeout)
	defer cancel()
	return do(ctx)
}

// untidy says what could not be done. That Redis does not answer, or that a group
// is gone, others say.
func (h *Host) untidy(err error, doing string, sub topology.Subscription) {
	level := slog.LevelWarn
	if errors.Is(err, stream.ErrUnavailable) || errors.Is(err, stream.ErrNoGroup) || errors.Is(err, context.Canceled) {
		level = slog.LevelDebug
	}
	h.log.Log(context.Background(), level, doing, "stream", sub.Stream, "group", sub.Group, "error", err)
}
