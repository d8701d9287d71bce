package stream

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

const (
	// watchBlock is how long one look without a group waits; a cancelled context
	// is noticed this late.
	watchBlock = 500 * time.Millisecond
	watchCount = 100
)

// A Watch reads streams from where they ended when it was made, without a group.
type Watch struct {
	c       *Client
	streams []string // without the namespace
	last    []string // id read last of each
}

// Watch remembers where the streams end now. Make it before the publish whose
// answer is to be watched for. Of streams in which one commit puts several
// entries, the first named is looked at first.
func (c *Client) Watch(ctx context.Context, streams ...string) (*Watch, error) {
	w := &Watch{c: c, streams: streams, last: make([]string, len(streams))}
	for i, name := range streams {
		rows, err := c.commands.XRevRangeN(ctx, c.keys.Stream(name), "+", "-", 1).Result()
		if err != nil {
			return nil, wrap(err, "find the end of stream %s", name)
		}
		w.last[i] = "0-0"
		if len(rows) > 0 {
			w.last[i] = rows[0].ID
		}
	}
	return w, nil
}

// For waits for the first entry that match accepts. It ends with ctx.
func (w *Watch) For(ctx context.Context, match func(stream string, e delivery.Entry) bool) (stream string, e delivery.Entry, err error) {
	for ctx.Err() == nil {
		found, err := w.next(ctx)
		if err != nil {
			return "", delivery.Entry{}, err
		}
		for i, list := range found {
			for _, e := range list {
				w.last[i] = e.ID
				if match(w.streams[i], e) {
					return w.streams[i], e, nil
				}
			}
		}
	}
	return "", delivery.Entry{}, ctx.Err()
}

// next waits for entries of any stream; the lists are in the order of w.streams.
// Redis ends a wait with the first stream that has something, and leaves out what
// the same commit has put into others: so they are looked at again, all at once.
func (w *Watch) next(ctx context.Context) ([][]delivery.Entry, error) {
	found, err := w.look(ctx, watchBlock)
	if err != nil || found == nil || len(w.streams) == 1 {
		return found, err
	}
	return w.look(ctx, 0)
}

// look gives the entries of all streams; if there are none it waits for one.
func (w *Watch) look(ctx context.Context, wait time.Duration) ([][]delivery.Entry, error) {
	args := make([]any, 0, 6+2*len(w.streams))
	args = append(args, "XREAD", "COUNT", watchCount)
	if wait > 0 {
		args = append(args, "BLOCK", wait.Milliseconds())
	}
	args = append(args, "STREAMS")
	at := make(map[string]int, len(w.streams))
	for i, name := range w.streams {
		key := w.c.keys.Stream(name)
		args = append(args, key)
		at[key] = i
	}
	for _, id := range w.last {
		args = append(args, id)
	}
	reply, err := w.c.waits.Do(context.WithoutCancel(ctx), args...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap(err, "read streams %v", w.streams)
	}
	names, lists := streams(reply)
	found := make([][]delivery.Entry, len(w.streams))
	for i, name := range names {
		found[at[name]] = lists[i]
	}
	return found, nil
}

// An Answer is what became of a message: its result, or its dead letter.
type Answer struct {
	Stream string
	Entry  delivery.Entry
	Dead   bool // a dead letter
}

// WatchAnswers remembers where a subscription's results and dead letters (either
// may be empty) end now. Make it before the publish.
func (c *Client) WatchAnswers(ctx context.Context, sub topology.Subscription, dlq string) (*Watch, error) {
	var names []string
	for _, name := range []string{dlq, sub.Results} {
		if name != "" {
			names = append(names, name)
		}
	}
	return c.Watch(ctx, names...)
}

// Await waits for the answer to the subscription's message with that entry id.
// Of a message that died it is the dead letter, where there is one.
func (w *Watch) Await(ctx context.Context, sub topology.Subscription, dlq, entryID string) (Answer, error) {
	name, e, err := w.For(ctx, func(name string, e delivery.Entry) bool {
		if name == dlq {
			return field(e, "dlqid") == entryID && field(e, "dlqstream") == sub.Stream
		}
		return field(e, "entryid") == entryID && field(e, "id") == sub.Stream+"/"+entryID
	})
	if err != nil {
		return Answer{}, err
	}
	return Answer{Stream: name, Entry: e, Dead: name == dlq}, nil
}

// field is the last value of that name: ours come after a message's own.
func field(e delivery.Entry, name string) string {
	for i := len(e.Fields) - 2; i >= 0; i -= 2 {
		if e.Fields[i] == name {
			return e.Fields[i+1]
		}
	}
	return ""
}

// Tail gives a stream's entries after the id from (`0`: all, `$`: only new ones)
// to fn, in order; with follow it goes on until ctx ends, without it until there
// is no more. An error of fn ends it.
func (c *Client) Tail(ctx context.Context, stream, from string, follow bool, fn func(delivery.Entry) error) error {
	w := &Watch{c: c, streams: []string{stream}, last: []string{from}}
	if from == "$" || from == "" {
		at, err := c.Watch(ctx, stream)
		if err != nil {
			return err
		}
		w = at
	}
	for ctx.Err() == nil {
		batch, err := w.page(ctx, follow)
		if err != nil {
			return err
		}
		for _, e := range batch {
			w.last[0] = e.ID
			if err := fn(e); err != nil {
				return err
			}
		}
		if !follow && len(batch) == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// page is the next piece of a single stream; with wait it waits for one.
func (w *Watch) page(ctx context.Context, wait bool) ([]delivery.Entry, error) {
	if wait {
		found, err := w.next(ctx)
		if len(found) == 0 {
			return nil, err
		}
		return found[0], err
	}
	reply, err := w.c.waits.Do(ctx, "XREAD", "COUNT", watchCount, "STREAMS", w.c.keys.Stream(w.streams[0]), w.last[0]).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap(err, "read stream %s", w.streams[0])
	}
	_, lists := streams(reply)
	if len(lists) == 0 {
		return nil, nil
	}
	return lists[0], nil
}

// Range gives up to count entries from start to end (`-` and `+`: the first and
// the last), oldest first.
func (c *Client) Range(ctx context.Context, stream, start, end string, count int64) ([]delivery.Entry, error) {
	return c.span(ctx, "XRANGE", stream, start, end, count)
}

// RangeBack gives up to count entries from end to start, newest first.
func (c *Client) RangeBack(ctx context.Context, stream, end, start string, count int64) ([]delivery.Entry, error) {
	return c.span(ctx, "XREVRANGE", stream, end, start, count)
}

func (c *Client) span(ctx context.Context, command, stream, a, b string, count int64) ([]delivery.Entry, error) {
	reply, err := c.commands.Do(ctx, command, c.keys.Stream(stream), a, b, "COUNT", count).Result()
	return entries(reply), wrap(err, "read stream %s", stream)
}

// Len is how many entries a stream has; 0 if it does not exist.
func (c *Client) Len(ctx context.Context, stream string) (int64, error) {
	n, err := c.commands.XLen(ctx, c.keys.Stream(stream)).Result()
	return n, wrap(err, "count stream %s", stream)
}
