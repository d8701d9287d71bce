package stream

import (
	"context"
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/*.lua
var sources embed.FS

var (
	beginScript    = load("begin", true)
	renewScript    = load("renew", true)
	rerunScript    = load("rerun", true)
	handBackScript = load("handback", true)
	commitScript   = load("commit", true)
	scanScript     = load("scan", true)
	takeoverScript = load("takeover", true)
	groupScript    = load("group", false)
	promoteScript  = load("promote", false)
)

// load reads a script, behind the common part if it works on a subscription.
func load(name string, common bool) *redis.Script {
	text := source(name)
	if common {
		text = source("common") + text
	}
	return redis.NewScript(text)
}

func source(name string) string {
	b, err := sources.ReadFile("lua/" + name + ".lua")
	if err != nil { // embedded at build
		panic(err)
	}
	return string(b)
}

// A call is one run of a script.
type call struct {
	keys []string
	args []any
}

// run runs a script once.
func run(ctx context.Context, rdb *redis.Client, s *redis.Script, c call) (any, error) {
	return s.Run(ctx, rdb, c.keys, c.args...).Result()
}

// runAll runs a script several times in one round trip. A server that does not
// know the script, after a restart or SCRIPT FLUSH, is given it with those calls
// that it refused.
func runAll(ctx context.Context, rdb *redis.Client, s *redis.Script, calls []call) []*redis.Cmd {
	if len(calls) == 1 {
		return []*redis.Cmd{s.Run(ctx, rdb, calls[0].keys, calls[0].args...)}
	}
	cmds := make([]*redis.Cmd, len(calls))
	_, _ = rdb.Pipelined(ctx, func(p redis.Pipeliner) error { // each command holds its own error
		for i, c := range calls {
			cmds[i] = s.EvalSha(ctx, p, c.keys, c.args...)
		}
		return nil
	})
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			cmds[i] = s.Run(ctx, rdb, calls[i].keys, calls[i].args...)
		}
	}
	return cmds
}
