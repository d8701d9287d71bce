package stream

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// maxPromote is the most entries that one run of the script adds.
const maxPromote = 256

// PublishAt keeps an entry until it is due, to the millisecond, for any host that
// knows the stream to add it then. Like [Client.Publish] it is sent once. What is
// due already is kept too, and appears with the next look.
func (c *Client) PublishAt(ctx context.Context, stream string, fields []string, due time.Time) error {
	if len(fields) == 0 || len(fields)%2 != 0 || len(fields) > maxFields {
		return fmt.Errorf("publish later to %s: an entry is names and values in turn, from one of each to %d together; got %d", stream, maxFields, len(fields))
	}
	member := redis.Z{Score: float64(dueMillis(due)), Member: rand.Text() + "\n" + pack(fields)}
	return wrap(c.commands.ZAdd(ctx, c.keys.Later(stream), member).Err(), "publish later to %s", stream)
}

// dueMillis is a time in milliseconds, rounded up: never early.
func dueMillis(t time.Time) int64 {
	return t.Add(time.Millisecond - time.Nanosecond).UnixMilli()
}

// pack writes names and values as promote.lua reads them: their lengths, and
// then they themselves.
func pack(fields []string) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.Itoa(len(f)))
	}
	b.WriteByte('\n')
	for _, f := range fields {
		b.WriteString(f)
	}
	return b.String()
}

// Promoted is what one look at the entries for later has found.
type Promoted struct {
	Added int
	More  bool // more may be due now
	// Stuck says of streams that cannot take their entries why not. The entries
	// are kept.
	Stuck map[string]string
}

// Promote adds to the streams those of their entries for later that are due, in
// the order of their times, by the server's clock; a bounded number. Any number
// of hosts may do so at once, and after an error it may be done again: an entry
// is added once.
func (c *Client) Promote(ctx context.Context, streams []string) (Promoted, error) {
	p, err := c.promote(ctx, streams)
	if !denied(err) {
		return p, wrap(err, "add the entries that are due")
	}
	all := Promoted{Stuck: map[string]string{}}
	for _, stream := range streams { // only those that we may not write are left alone
		p, err := c.promote(ctx, []string{stream})
		if denied(err) {
			all.Stuck[stream] = err.Error()
			continue
		}
		if err != nil {
			return all, wrap(err, "add the entries of %s that are due", stream)
		}
		all.Added, all.More = all.Added+p.Added, all.More || p.More
		if why, stuck := p.Stuck[stream]; stuck {
			all.Stuck[stream] = why
		}
	}
	return all, nil
}

func (c *Client) promote(ctx context.Context, streams []string) (Promoted, error) {
	promote := call{args: []any{maxPromote, maxBatchBytes}}
	for _, stream := range streams {
		promote.keys = append(promote.keys, c.keys.Later(stream), c.keys.Stream(stream))
	}
	reply, err := run(ctx, c.commands, promoteScript, promote)
	if err != nil {
		return Promoted{}, err
	}
	row, err := list(reply, -1)
	if err != nil || len(row) < 2 {
		return Promoted{}, errShort(len(row), 2)
	}
	p := Promoted{Added: int(number(row[0])), More: number(row[1]) == 1, Stuck: map[string]string{}}
	for i := 2; i+1 < len(row); i += 2 {
		p.Stuck[streams[number(row[i])/2]] = text(row[i+1])
	}
	return p, nil
}
