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
	lookScript     = load("look", false)
	scanScript     = load("scan", true)
	takeoverScript = load("takeover", true)
	groupScript    = load("group", false)
	promoteScript  = load("promote", false)
	trimScript     = load("trim", false)
	reapScript     = load("reap", false)
	probeScript    = load("probe", false)
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

// evalSha makes the command that runs a script which the server knows. Its
// arguments are pointers where they can be: they are many, and a value in an
// `any` is a copy on the heap.
func evalSha(ctx context.Context, s *redis.Script, c call) *redis.Cmd {
	args := make([]any, 0, 3+len(c.keys)+len(c.args))
	args = append(args, "evalsha", s.Hash(), len(c.keys))
	for i := range c.keys {
		args = append(args, &c.keys[i])
	}
	return redis.NewCmd(ctx, append(args, c.args...)...)
}

// run runs a script once.
func run(ctx context.Context, rdb *redis.Client, s *redis.Script, c call) (any, error) {
	return runAll(ctx, rdb, s, []call{c})[0].Result()
}

// runAll runs a script several times in one round trip. A server that does not
// know the script, after a restart or SCRIPT FLUSH, is given it with those calls
// that it refused.
func runAll(ctx context.Context, rdb *redis.Client, s *redis.Script, calls []call) []*redis.Cmd {
	cmds := make([]*redis.Cmd, len(calls))
	for i, c := range calls {
		cmds[i] = evalSha(ctx, s, c)
	}
	if len(cmds) == 1 {
		_ = rdb.Process(ctx, cmds[0])
	} else {
		_, _ = rdb.Pipelined(ctx, func(p redis.Pipeliner) error { // each command holds its own error
			for _, cmd := range cmds {
				_ = p.Process(ctx, cmd)
			}
			return nil
		})
	}
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			cmds[i] = s.Eval(ctx, rdb, calls[i].keys, calls[i].args...)
		}
	}
	return cmds
}
