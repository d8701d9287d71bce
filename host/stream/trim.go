package stream

import (
	"context"
	"time"
)

// maxTrim bounds what one run of the script removes: it holds up Redis for
// everyone.
const maxTrim = 10_000

// Trimmed is what one look at a stream's old entries has done.
type Trimmed struct {
	Removed int64
	More    bool // more may be removed now
}

// Trim removes entries of the stream that are older than age and that no group
// still needs, about: Redis removes whole pieces of a stream, so up to some
// hundred of them stay. groups are those of the stream that we know; all others
// that Redis has count too. At most maxTrim entries are removed in a call.
func (c *Client) Trim(ctx context.Context, stream string, groups []string, age time.Duration) (Trimmed, error) {
	trim := call{keys: []string{c.keys.Stream(stream)}, args: []any{age.Milliseconds(), maxTrim}}
	for _, group := range groups {
		trim.keys = append(trim.keys, c.keys.Floor(stream, group), c.keys.Delayed(stream, group))
		trim.args = append(trim.args, group)
	}
	reply, err := run(ctx, c.commands, trimScript, trim)
	if err != nil {
		return Trimmed{}, wrap(err, "trim stream %s", stream)
	}
	row, err := list(reply, 2)
	if err != nil {
		return Trimmed{}, err
	}
	return Trimmed{Removed: number(row[0]), More: number(row[1]) == 1}, nil
}
