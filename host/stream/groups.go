package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/topology"
)

// parkedConsumer holds a group's delayed messages, so that looking for idle
// entries never meets them. No host has this name: theirs have a colon.
const parkedConsumer = "parked"

// Created tells of a group that did not exist.
type Created struct {
	topology.Group
	Start   string // the id that it starts after
	Skipped int64  // entries that were there already and will not be read
	Lost    bool   // it had existed before; it starts just below what was undecided
	// Reach is the highest id that it had handed out before, of a lost one; empty
	// if that is not above Start. What is decided of that is handed out again.
	Reach string
}

func (c Created) String() string {
	switch {
	case c.Lost:
		return fmt.Sprintf("group %s on %s was gone; made again, starting after %s: what was decided longer ago than OPS_IDEMP_TTL may run again", c.Group.Group, c.Stream, c.Start)
	case c.Skipped > 0:
		return fmt.Sprintf("group %s on %s made, starting after %s: %d entries that were there already are skipped (REDIS_GROUP_START=0-0 reads them)", c.Group.Group, c.Stream, c.Start, c.Skipped)
	}
	return fmt.Sprintf("group %s on %s made, starting after %s", c.Group.Group, c.Stream, c.Start)
}

// EnsureGroups makes sure that every group exists, and tells which ones it made.
// start is where a group's first creation begins on a stream that has entries:
// `$` or an id; on a stream that does not exist it is always 0-0, and a group
// that had existed before is made again just below its floor.
func (c *Client) EnsureGroups(ctx context.Context, groups []topology.Group, start string) ([]Created, error) {
	calls := make([]call, len(groups))
	for i, g := range groups {
		calls[i] = c.groupCall(g, start)
	}
	var created []Created
	var errs []error
	for i, cmd := range runAll(ctx, c.commands, groupScript, calls) {
		made, err := readCreated(groups[i], cmd)
		if err != nil {
			errs = append(errs, wrap(err, "make group %s on stream %s", groups[i].Group, calls[i].keys[0]))
		} else if made.Start != "" {
			created = append(created, made)
		}
	}
	return created, errors.Join(errs...)
}

// ensureGroup is EnsureGroups for one; of a group that was there Start is empty,
// but its reach is told.
func (c *Client) ensureGroup(ctx context.Context, g topology.Group, start string) (Created, error) {
	return readCreated(g, runAll(ctx, c.commands, groupScript, []call{c.groupCall(g, start)})[0])
}

func (c *Client) groupCall(g topology.Group, start string) call {
	return call{
		keys: []string{c.keys.Stream(g.Stream), c.keys.Floor(g.Stream, g.Group), c.keys.Delayed(g.Stream, g.Group), c.keys.Reach(g.Stream, g.Group)},
		args: []any{g.Group, parkedConsumer, start},
	}
}

// readCreated reads an answer of group.lua; of a group that was there Start is
// empty, but its reach is told.
func readCreated(g topology.Group, cmd *redis.Cmd) (Created, error) {
	reply, err := cmd.Result()
	if err != nil {
		return Created{}, err
	}
	row, err := list(reply, -1)
	if err != nil {
		return Created{}, err
	}
	switch len(row) {
	case 2:
		return Created{Group: g, Reach: text(row[1])}, nil
	case 5:
		return Created{Group: g, Start: text(row[1]), Skipped: number(row[2]), Lost: number(row[3]) == 1, Reach: text(row[4])}, nil
	}
	return Created{}, errShort(len(row), 5)
}

// EnsureOwner records which group is each stream's own, whose locks have the
// short name, and fails with [ErrConfig] where another one is recorded: two
// hosts that disagree would not see each other's locks.
func (c *Client) EnsureOwner(ctx context.Context, subs ...topology.Subscription) error {
	var errs []error
	for _, sub := range subs {
		errs = append(errs, c.ensureOwner(ctx, sub))
	}
	return errors.Join(errs...)
}

func (c *Client) ensureOwner(ctx context.Context, sub topology.Subscription) error {
	key := c.keys.Owner(sub.Stream)
	if sub.Own {
		if err := c.commands.SetNX(ctx, key, sub.Group, 0).Err(); err != nil {
			return wrap(err, "record the own group of stream %s", sub.Stream)
		}
	}
	recorded, err := c.commands.Get(ctx, key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return wrap(err, "ask for the own group of stream %s", sub.Stream)
	}
	if own := recorded == sub.Group; own == sub.Own {
		return nil
	}
	return fmt.Errorf("stream %s: %w: its own group is recorded as %q, this host takes it that group %q of role %s is %s: "+
		"hosts that disagree would run messages twice; give every host the same roles, or, with all hosts stopped, delete key %s",
		sub.Stream, ErrConfig, recorded, sub.Group, sub.Role, ownOrFurther(sub.Own), key)
}

func ownOrFurther(own bool) string {
	if own {
		return "its own"
	}
	return "a further one"
}
