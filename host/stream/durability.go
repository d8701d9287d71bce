package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Durability is what a commit waits for before it counts. The zero value waits
// for nothing: a commit counts as soon as Redis has run it.
type Durability struct {
	Replicas int  // that have it; 0: none need to
	AOF      bool // the server's append-only file has it, on disk
}

// confirmTimeout bounds one wait for replicas or the disk. An append-only file
// that is synced every second needs that long, and a little more.
const confirmTimeout = 3 * time.Second

// ErrUnconfirmed: the commits were run, but it is not known that they are as
// durable as they are to be. They may be repeated, and are then confirmed.
var ErrUnconfirmed = errors.New("not confirmed in time")

func (d Durability) none() bool { return d == Durability{} }

func (d Durability) String() string {
	switch {
	case d.AOF:
		return "the append-only file"
	case d.Replicas > 0:
		return fmt.Sprintf("%d replicas", d.Replicas)
	}
	return "nothing"
}

// command asks the server to wait for what the connection has written.
func (d Durability) command(ctx context.Context, p redis.Pipeliner) *redis.Cmd {
	if d.AOF {
		return p.Do(ctx, "WAITAOF", 1, 0, confirmTimeout.Milliseconds())
	}
	return p.Do(ctx, "WAIT", d.Replicas, confirmTimeout.Milliseconds())
}

// confirmed reads its answer: how many have it.
func (d Durability) confirmed(cmd *redis.Cmd) error {
	reply, err := cmd.Result()
	if err != nil {
		return err
	}
	have, wanted := number(reply), int64(d.Replicas)
	if d.AOF {
		row, err := list(reply, 2)
		if err != nil {
			return err
		}
		have, wanted = number(row[0]), 1
	}
	if have < wanted {
		return fmt.Errorf("%w: %w: after %s, %d of %d have it (FNHOST_DURABILITY waits for %s)", ErrUnavailable, ErrUnconfirmed, confirmTimeout, have, wanted, d)
	}
	return nil
}

// runDurably is runAll and then waits until what the calls wrote is durable. All
// of it goes through one connection: Redis waits for what that one has written.
func runDurably(ctx context.Context, rdb *redis.Client, s *redis.Script, calls []call, d Durability) ([]*redis.Cmd, error) {
	run := func(of func(redis.Pipeliner, call) *redis.Cmd, calls []call) ([]*redis.Cmd, error) {
		cmds := make([]*redis.Cmd, len(calls))
		var wait *redis.Cmd
		_, _ = rdb.Pipelined(ctx, func(p redis.Pipeliner) error { // each command holds its own error
			for i, c := range calls {
				cmds[i] = of(p, c)
			}
			wait = d.command(ctx, p)
			return nil
		})
		return cmds, d.confirmed(wait)
	}
	cmds, err := run(func(p redis.Pipeliner, c call) *redis.Cmd {
		cmd := evalSha(ctx, s, c)
		_ = p.Process(ctx, cmd)
		return cmd
	}, calls)
	var unknown []int
	var again []call
	for i, cmd := range cmds {
		if e := cmd.Err(); e != nil && strings.HasPrefix(e.Error(), "NOSCRIPT") {
			unknown, again = append(unknown, i), append(again, calls[i])
		}
	}
	if err != nil || len(again) == 0 {
		return cmds, err
	}
	known, err := run(func(p redis.Pipeliner, c call) *redis.Cmd { return s.Eval(ctx, p, c.keys, c.args...) }, again)
	for n, i := range unknown {
		cmds[i] = known[n]
	}
	return cmds, err
}

// CheckDurability says why the server cannot give the durability: an [ErrConfig]
// that says what to do. lacking is how many of the replicas are missing now;
// commits wait for them.
func (c *Client) CheckDurability(ctx context.Context, d Durability) (lacking int, err error) {
	if d.none() {
		return 0, nil
	}
	var wait *redis.Cmd
	if d.AOF {
		wait = c.commands.Do(ctx, "WAITAOF", 1, 0, 1)
	} else {
		wait = c.commands.Do(ctx, "WAIT", d.Replicas, 1)
	}
	reply, err := wait.Result()
	var answer redis.Error
	switch {
	case err == nil && d.AOF:
		return 0, nil
	case err == nil:
		return max(d.Replicas-int(number(reply)), 0), nil
	case errors.As(err, &answer) && d.AOF && strings.Contains(err.Error(), "appendonly"):
		return 0, fmt.Errorf("FNHOST_DURABILITY=waitaof: %w: the server has no append-only file: set appendonly yes there, or FNHOST_DURABILITY=none: %w", ErrConfig, err)
	case errors.As(err, &answer) && d.AOF && kindOf(err) == ErrConfig:
		return 0, fmt.Errorf("FNHOST_DURABILITY=waitaof: %w: it takes Redis 7.2 or later and a user who may run WAITAOF: use such a server, or FNHOST_DURABILITY=wait:N or none: %w", ErrConfig, err)
	}
	return 0, wrap(err, "ask redis whether it can wait for %s", d)
}
