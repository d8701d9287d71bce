package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// floor is the least that must be done in Redis for a message, by one process
// with the handler inside: it reads a batch, takes the locks in one pipeline,
// and adds the results, sets the done marks and acknowledges in another. Nothing
// is fenced, renewed, retried or counted. Its result entries have the fields
// that fnhost's have; lean ones have the entry's id and the data alone.
type floor struct{ lean bool }

const (
	floorBatch = 256
	floorLoops = 2 // one uses a core while Redis waits, and the other way round
	floorTTL   = 60_000
)

func (f floor) Name() string {
	if f.lean {
		return "floor-lean"
	}
	return "floor"
}

func (f floor) What() string {
	entries := "result entries as fnhost's"
	if f.lean {
		entries = "result entries of two fields"
	}
	return fmt.Sprintf("in-process loops (%d) over batches of up to %d: XREADGROUP; SET NX; XADD, SET, XACK; %s", floorLoops, floorBatch, entries)
}

func (floor) Publish(ctx context.Context, rdb *redis.Client, payload string, n int) ([]string, error) {
	return publishFields(ctx, rdb, tasksKey, n, task(payload))
}

func (f floor) Commands(s Site) ([]*exec.Cmd, error) { return self(s, f.Name()), nil }

func (floor) Results() []string { return []string{resultsKey} }
func (floor) KeyField() string  { return "entryid" }

// run works until ctx ends.
func (f floor) run(ctx context.Context, addr string, _ Purpose) error {
	rdb := client(addr)
	defer rdb.Close()
	err := rdb.XGroupCreateMkStream(ctx, tasksKey, groupName, "0").Err()
	if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return err
	}
	var loops sync.WaitGroup
	errs := make([]error, floorLoops)
	for i := range floorLoops {
		loops.Go(func() { errs[i] = f.loop(ctx, rdb, "floor-"+strconv.Itoa(i)) })
	}
	loops.Wait()
	return errors.Join(errs...)
}

func (f floor) loop(ctx context.Context, rdb *redis.Client, consumer string) error {
	for ctx.Err() == nil {
		reply, err := rdb.Do(ctx, "XREADGROUP", "GROUP", groupName, consumer, "COUNT", floorBatch, "BLOCK", 200, "STREAMS", tasksKey, ">").Slice()
		if errors.Is(err, redis.Nil) || ctx.Err() != nil {
			continue
		}
		if err != nil {
			return err
		}
		entries := reply[0].([]any)[1].([]any)
		mine, err := f.lock(ctx, rdb, consumer, entries)
		if err != nil {
			return err
		}
		if err := f.finish(ctx, rdb, consumer, mine); err != nil {
			return err
		}
	}
	return nil
}

// lock takes the locks, and gives the entries whose lock was free.
func (f floor) lock(ctx context.Context, rdb *redis.Client, consumer string, entries []any) ([]any, error) {
	cmds := make([]*redis.Cmd, len(entries))
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, e := range entries {
			cmds[i] = p.Do(ctx, "SET", lockKey(e), consumer, "NX", "PX", floorTTL)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	mine := make([]any, 0, len(entries))
	for i, cmd := range cmds {
		if cmd.Err() == nil {
			mine = append(mine, entries[i])
		}
	}
	return mine, nil
}

func lockKey(entry any) string { return "bench:idemp:" + entry.([]any)[0].(string) }

// finish publishes the results, marks the messages as done, and acknowledges.
func (f floor) finish(ctx context.Context, rdb *redis.Client, consumer string, entries []any) error {
	if len(entries) == 0 {
		return nil
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	acks := []any{"XACK", tasksKey, groupName}
	_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range entries {
			id := e.([]any)[0].(string)
			p.Do(ctx, f.result(id, now, e.([]any)[1].([]any))...)
			p.Do(ctx, "SET", lockKey(e), "done", "PX", floorTTL)
			acks = append(acks, id)
		}
		p.Do(ctx, acks...)
		return nil
	})
	return err
}

// result is the handler: it answers with the data it got.
func (f floor) result(id, now string, fields []any) []any {
	data := fields[len(fields)-1]
	if f.lean {
		return []any{"XADD", resultsKey, "*", "entryid", id, "data", data}
	}
	return []any{
		"XADD", resultsKey, "*", "id", tasksKey + "/" + id, "type", "bench.echo.result", "source", "/fnhost/echo", "time", now,
		"correlationid", id, "causationid", id, "entryid", id, "status", "ok", "attempt", "1", "data", data,
	}
}
