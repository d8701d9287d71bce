package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	goretry "github.com/sethvargo/go-retry"

	"github.com/fnhost/fnhost/host/config"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

// prepareTimeout bounds one try to prepare Redis.
const prepareTimeout = 10 * time.Second

// awaitRedis waits until Redis answers and every group is there. What cannot be
// mended by waiting (a key of another type, a wrong password) is an error.
func (h *Host) awaitRedis(ctx context.Context) error {
	pauses := goretry.WithCappedDuration(2*time.Second, goretry.NewExponential(50*time.Millisecond))
	said := false
	err := goretry.Do(ctx, pauses, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
		defer cancel()
		err := h.prepareRedis(ctx)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, stream.ErrConfig):
			return err
		}
		h.wait("waiting for Redis: " + err.Error())
		if !said {
			said = true
			h.log.Warn("Redis does not answer; waiting for it", "redis", h.redis.String(), "error", err)
		}
		return goretry.RetryableError(err)
	})
	if err == nil && said {
		h.log.Info("Redis answers", "redis", h.redis.String())
	}
	return err
}

// prepareRedis makes every group of the topology before any reader starts.
func (h *Host) prepareRedis(ctx context.Context) error {
	if err := h.redis.Ping(ctx); err != nil {
		return err
	}
	info, err := h.redis.Info(ctx)
	if err != nil {
		return err
	}
	for _, warning := range info.Warnings {
		h.log.Warn(warning)
	}
	// A server that cannot end a blocked read for us (the embedded one, or a proxy)
	// is read with short waits, so that a drain need not wait for it.
	h.shortBlock = h.redis.Commands().Do(ctx, "CLIENT", "UNBLOCK", "0").Err() != nil
	topo := h.topology.Load()
	if err := h.redis.Probe(ctx, topo); err != nil {
		return err
	}
	if err := h.checkDurability(ctx); err != nil {
		return err
	}
	created, err := h.redis.EnsureGroups(ctx, topo.Groups(), h.cfg.GroupStart)
	if err != nil {
		return fmt.Errorf("creating the consumer groups: %w", err)
	}
	for _, c := range created {
		level := slog.LevelInfo
		if c.Lost || c.Skipped > 0 {
			level = slog.LevelWarn
		}
		h.log.Log(ctx, level, c.String())
	}
	var subs []topology.Subscription
	for _, role := range topo.Roles() {
		subs = append(subs, role.Subscriptions...)
	}
	if err := h.redis.EnsureOwner(ctx, subs...); err != nil {
		return fmt.Errorf("recording the streams' own groups: %w", err)
	}
	return nil
}

// checkDurability refuses a durability that the server cannot give, and warns of
// replicas that are not there now.
func (h *Host) checkDurability(ctx context.Context) error {
	lacking, err := h.redis.CheckDurability(ctx, durabilityOf(h.cfg.Durability))
	if err == nil && lacking > 0 {
		h.log.Warn("redis has too few replicas now: commits wait until they are there", "FNHOST_DURABILITY", h.cfg.Durability.String(), "lacking", lacking)
	}
	return err
}

func durabilityOf(d config.Durability) stream.Durability {
	return stream.Durability{Replicas: d.Replicas, AOF: d.Mode == "waitaof"}
}
