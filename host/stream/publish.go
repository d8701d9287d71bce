package stream

import (
	"context"
	"fmt"
)

// Publish adds an entry and gives its id. It is sent once: after
// [ErrUnavailable] the entry may be there or not, and a second call may add it
// twice. Streams of messages are never trimmed by it.
func (c *Client) Publish(ctx context.Context, stream string, fields []string) (id string, err error) {
	if len(fields) == 0 || len(fields)%2 != 0 {
		return "", fmt.Errorf("publish to %s: an entry is names and values in turn, at least one of each; got %d", stream, len(fields))
	}
	args := make([]any, 0, 3+len(fields))
	args = append(args, "XADD", c.keys.Stream(stream), "*")
	for _, f := range fields {
		args = append(args, f)
	}
	id, err = c.commands.Do(ctx, args...).Text()
	return id, wrap(err, "publish to %s", stream)
}
