package stream

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
)

const (
	shortBlock = 250 * time.Millisecond
	// unblockTimeout bounds how long Unblock tries; a Read that has not ended by
	// then is not waiting in Redis but for Redis.
	unblockTimeout = 2 * time.Second
	unblockEvery   = 5 * time.Millisecond
	reconcilePage  = 1000
)

// connected learns the id of the reader's connection, by which Unblock names it.
// A server that does not tell is asked in short waits instead.
func (l *Log) connected(ctx context.Context, conn *redis.Conn) error {
	id, err := conn.ClientID(ctx).Result()
	if err != nil && kindOf(err) == ErrUnavailable {
		return err
	}
	if err != nil {
		slog.DebugContext(ctx, "redis does not tell connection ids; reads wait briefly", "err", err)
		l.block.Store(int64(shortBlock))
	}
	l.connID.Store(id)
	return nil
}

// Read waits for new entries, up to count, and gives none when its own waiting
// time has passed, ctx has ended, or Unblock was called. After an error entries
// may have been handed to us whose answer was lost: Reconcile finds them.
func (l *Log) Read(ctx context.Context, count int) ([]delivery.Entry, error) {
	done := make(chan struct{})
	l.mu.Lock()
	l.read = done
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.read = nil
		l.mu.Unlock()
		close(done)
	}()
	if l.asked.Swap(false) || ctx.Err() != nil || count <= 0 {
		return nil, ctx.Err()
	}
	defer context.AfterFunc(ctx, l.Unblock)()
	// A cancelled context would not interrupt the wait, only lose the answer.
	return l.readGroup(context.WithoutCancel(ctx), count)
}

func (l *Log) readGroup(ctx context.Context, count int) ([]delivery.Entry, error) {
	block := time.Duration(l.block.Load())
	reply, err := l.reader.Do(ctx, "XREADGROUP", "GROUP", l.sub.Group, l.o.Owner,
		"COUNT", count, "BLOCK", block.Milliseconds(), "STREAMS", l.stream, ">").Result()
	l.asked.Store(false)
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, l.failed(ctx, err, "read new messages")
	}
	_, found := streams(reply)
	if len(found) == 0 {
		return nil, nil
	}
	return found[0], nil
}

// Unblock ends a Read that waits, or the next one if none does yet.
func (l *Log) Unblock() {
	l.asked.Store(true) // before the look: a Read that begins now sees the one or we the other
	l.mu.Lock()
	done := l.read
	l.mu.Unlock()
	if done == nil || l.o.ShortBlock {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), unblockTimeout)
	defer cancel()
	tick := time.NewTicker(unblockEvery)
	defer tick.Stop()
	for { // it may not be connected, or not wait, yet
		if n, err := l.c.commands.ClientUnblock(ctx, l.connID.Load()).Result(); err == nil && n == 1 {
			return
		}
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Reconcile gives the entries that the group counts as handed to us and that
// held does not know.
func (l *Log) Reconcile(ctx context.Context, held func(id string) bool) ([]delivery.Entry, error) {
	var found []delivery.Entry
	for from := "-"; ; {
		rows, err := l.c.commands.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: l.stream, Group: l.sub.Group, Start: from, End: "+", Count: reconcilePage, Consumer: l.o.Owner,
		}).Result()
		if err != nil {
			return nil, l.failed(ctx, err, "look for messages handed to us")
		}
		var missing []redis.XPendingExt
		for _, row := range rows {
			if !held(row.ID) {
				missing = append(missing, row)
			}
		}
		bodies, err := l.bodies(ctx, missing)
		if err != nil {
			return nil, l.failed(ctx, err, "fetch %d messages handed to us", len(missing))
		}
		found = append(found, bodies...)
		if len(rows) < reconcilePage {
			return found, nil
		}
		from = following(rows[len(rows)-1].ID)
	}
}

// bodies fetches entries. It does not claim them: another host may have taken
// one over meanwhile. One that is deleted is left for Reclaim to report.
func (l *Log) bodies(ctx context.Context, rows []redis.XPendingExt) ([]delivery.Entry, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.Cmd, len(rows))
	_, err := l.c.commands.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, row := range rows {
			cmds[i] = p.Do(ctx, "XRANGE", l.stream, row.ID, row.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var found []delivery.Entry
	for i, cmd := range cmds {
		for _, e := range entries(cmd.Val()) {
			e.Delivered = rows[i].RetryCount
			found = append(found, e)
		}
	}
	return found, nil
}
