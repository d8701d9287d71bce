package main

import (
	"context"
	"os/exec"
	"slices"

	"github.com/redis/go-redis/v9"
)

// Purpose is what a contender is set up for, where its own documentation tells
// the two apart.
type Purpose string

// The purposes.
const (
	Throughput Purpose = "throughput"
	Latency    Purpose = "latency"
)

// A Site is where a contender runs, for one run.
type Site struct {
	Addr    string // of the private redis-server, host:port
	Dir     string // an empty directory of its own
	Bin     Binaries
	Purpose Purpose
}

// A Contender is a system that takes messages from Redis and answers each with
// one entry on a results stream. It runs in processes of its own.
type Contender interface {
	// Name is what the report calls it.
	Name() string
	// What says in a few words how it is set up.
	What() string
	// Publish queues n messages with the payload, and gives the key of each, by
	// which its result is known.
	Publish(ctx context.Context, rdb *redis.Client, payload string, n int) (keys []string, err error)
	// Commands are the processes that do the work; they end on SIGTERM.
	Commands(s Site) ([]*exec.Cmd, error)
	// Results are the keys of the results streams.
	Results() []string
	// KeyField is the field of a result entry that holds the message's key.
	KeyField() string
}

// Keys of the contenders that this program brings itself.
const (
	tasksKey   = "bench:tasks"
	resultsKey = "bench:results"
	groupName  = "bench-workers"
)

// contenders are all there are, in the order of the report. The first is what
// the ratios are to.
func contenders() []Contender {
	return []Contender{
		floor{},
		floor{lean: true},
		fnhost{name: "fnhost", concurrency: 2048},
		fnhost{name: "fnhost-audit", concurrency: 2048, audit: true},
		fnhost{name: "fnhost-defaults"},
		watermillStream{},
		asynqQueue{},
	}
}

// distinct leaves out variants of which the plain form is there as well: they say
// nothing new but of drains.
func distinct(chosen []Contender) []Contender {
	plain := map[string]string{"floor-lean": "floor", "fnhost-defaults": "fnhost"}
	return slices.DeleteFunc(slices.Clone(chosen), func(c Contender) bool {
		return slices.ContainsFunc(chosen, func(other Contender) bool { return other.Name() == plain[c.Name()] })
	})
}

// publishFields adds n entries with the fields in one round trip for each
// thousand, and gives their ids.
func publishFields(ctx context.Context, rdb *redis.Client, key string, n int, fields func(i int) []any) ([]string, error) {
	ids := make([]string, 0, n)
	for len(ids) < n {
		cmds := make([]*redis.Cmd, min(n-len(ids), 1000))
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range cmds {
				cmds[i] = p.Do(ctx, append([]any{"XADD", key, "*"}, fields(len(ids)+i)...)...)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, cmd := range cmds {
			id, _ := cmd.Val().(string)
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// task is a message's fields in fnhost's form.
func task(payload string) func(int) []any {
	return func(int) []any { return []any{"type", "bench.echo", "data", payload} }
}

// self is this program again, as the one process of a contender.
func self(s Site, contender string) []*exec.Cmd {
	cmd := exec.Command(s.Bin.Self, "child", contender, s.Addr, string(s.Purpose))
	cmd.Dir = s.Dir
	return []*exec.Cmd{cmd}
}
