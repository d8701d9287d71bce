package stream

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
)

// GroupStatus is the state of a consumer group. Ages are by the server's clock.
type GroupStatus struct {
	Exists        bool
	Consumers     int64
	Pending       int64 // handed out and undecided, without those that wait until they are due
	Parked        int64 // waiting until they are due
	LastDelivered string
	Lag           *int64 // entries not handed out yet; nil: not known
	// OldestPendingAge is since the oldest pending message was published; 0: none.
	OldestPendingAge time.Duration
	// OldestUndeliveredAge is since the oldest message not handed out was published; 0: none.
	OldestUndeliveredAge time.Duration
}

// GroupStatus asks for the state of a group; of one that does not exist it is
// empty, and no error.
func (c *Client) GroupStatus(ctx context.Context, stream, group string) (GroupStatus, error) {
	key := c.keys.Stream(stream)
	reply, err := c.commands.Do(ctx, "XINFO", "GROUPS", key).Result()
	if err != nil && strings.Contains(err.Error(), "no such key") {
		return GroupStatus{}, nil
	}
	if err != nil {
		return GroupStatus{}, wrap(err, "ask for the groups of stream %s", stream)
	}
	groups, _ := reply.([]any)
	for _, g := range groups {
		if info := fieldMap(g); text(info["name"]) == group {
			s, err := c.groupStatus(ctx, key, group, info)
			return s, wrap(err, "ask for group %s on stream %s", group, stream)
		}
	}
	return GroupStatus{}, nil
}

func (c *Client) groupStatus(ctx context.Context, key, group string, info map[string]any) (GroupStatus, error) {
	s := GroupStatus{Exists: true, Consumers: number(info["consumers"]), LastDelivered: text(info["last-delivered-id"])}
	pipe := c.commands.Pipeline()
	now := pipe.Time(ctx)
	pending := pipe.XPending(ctx, key, group)
	unread := pipe.Do(ctx, "XRANGE", key, following(s.LastDelivered), "+", "COUNT", 1)
	end := pipe.Do(ctx, "XREVRANGE", key, "+", "-", "COUNT", 1)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return s, err
	}
	if p := pending.Val(); p != nil {
		s.Parked = p.Consumers[parkedConsumer]
		s.Pending = p.Count - s.Parked
	}
	if first := entries(unread.Val()); len(first) > 0 {
		s.OldestUndeliveredAge = since(now.Val(), first[0].ID)
	}
	s.Lag = lag(info, entries(end.Val()), s.LastDelivered)
	if s.Pending == 0 {
		return s, nil
	}
	oldest, err := c.oldestPending(ctx, key, group, pending.Val().Consumers)
	if oldest != "" {
		s.OldestPendingAge = since(now.Val(), oldest)
	}
	return s, err
}

// lag is the server's own count where it can be trusted: a group made at some id
// has none, and servers differ in what they say then.
func lag(info map[string]any, end []delivery.Entry, delivered string) *int64 {
	n := int64(0)
	switch {
	case len(end) == 0 || delivery.CompareIDs(end[0].ID, delivered) <= 0:
	case info["entries-read"] == nil || info["lag"] == nil:
		return nil
	default:
		n = number(info["lag"])
	}
	return &n
}

// oldestPending is the lowest id that some host holds or held.
func (c *Client) oldestPending(ctx context.Context, key, group string, consumers map[string]int64) (string, error) {
	oldest := ""
	for name := range consumers {
		if name == parkedConsumer {
			continue
		}
		rows, err := c.commands.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: group, Start: "-", End: "+", Count: 1, Consumer: name}).Result()
		if err != nil {
			return "", err
		}
		if len(rows) > 0 && (oldest == "" || delivery.CompareIDs(rows[0].ID, oldest) < 0) {
			oldest = rows[0].ID
		}
	}
	return oldest, nil
}

// since is the age of an entry; ids may be ahead of the clock.
func since(now time.Time, id string) time.Duration {
	return max(now.Sub(delivery.IDTime(id)), 0)
}
