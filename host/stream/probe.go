package stream

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/topology"
)

// A PermissionError says what the user of the connection may not do and needs
// to. Without it a commit would be left half done. It is an [ErrConfig].
type PermissionError struct {
	User      string
	Namespace string
	Commands  []string // as `XADD`, `XGROUP CREATE`
	Keys      []string // patterns, as `agentic:ops:idemp:rag:tasks:*`
}

// Error says what is missing and the command that gives it.
func (e *PermissionError) Error() string {
	var lacks, rules []string
	if len(e.Commands) > 0 {
		lacks = append(lacks, "run "+strings.Join(e.Commands, ", "))
		for _, c := range e.Commands {
			rules = append(rules, "+"+strings.ToLower(strings.ReplaceAll(c, " ", "|")))
		}
	}
	if len(e.Keys) > 0 {
		lacks = append(lacks, "read and write keys "+strings.Join(e.Keys, ", "))
		rules = append(rules, "~"+e.Namespace+":*")
	}
	return fmt.Sprintf("redis user %q may not %s, which messages need: give it that, as by ACL SETUSER %s %s",
		e.User, strings.Join(lacks, ", nor "), e.User, strings.Join(rules, " "))
}

// Unwrap is ErrConfig.
func (e *PermissionError) Unwrap() error { return ErrConfig }

// Names of groups, members and parts of keys that nothing has.
const (
	probe   = ".fnhost-probe"
	probeID = "0-0"
)

// A need is a key that scripts use, and the commands that they run on it, in
// forms that change nothing whatever the key holds.
type need struct {
	key, pattern string
	commands     [][]string // the key stands for `@`
}

// tries splits commands that are written with spaces.
func tries(commands ...string) (all [][]string) {
	for _, c := range commands {
		all = append(all, strings.Fields(c))
	}
	return all
}

var (
	probeText   = tries("GET @", "SET @ x NX XX")
	probeLock   = tries("GET @", "MGET @", "SET @ x NX XX", "PEXPIRE @ 1", "DEL @")
	probeBeat   = tries("SET @ x NX XX", "DEL @", "EXISTS @")
	probeIndex  = tries("EXISTS @", "TYPE @", "ZADD @ XX 1 "+probe, "ZREM @ "+probe, "ZRANGE @ 1 0", "ZRANGEBYSCORE @ 1 0")
	probeCounts = tries("HINCRBY @ x x", "EXPIRE @ 1", "HGETALL @")
	probeHash   = tries("TYPE @", "EXISTS @", "HGET @ x", "HMGET @ x", "HGETALL @", "HSET @ x x x", "HDEL @ x", "HLEN @", "DEL @", "PEXPIRE @ 1")
	probeOutput = tries("TYPE @", "XADD @ 0-0 x x", "XDEL @ 0-0", "XLEN @", "XRANGE @ 0-0 0-0")
	probeInput  = append(slices.Clone(probeOutput), tries(
		"XREADGROUP GROUP "+probe+" "+probe+" COUNT 1 STREAMS @ >", "XREAD COUNT 1 STREAMS @ $", "XREVRANGE @ 0-0 0-0",
		"XACK @ "+probe+" 0-0", "XCLAIM @ "+probe+" "+probe+" 0 0-0 JUSTID", "XPENDING @ "+probe,
		"XINFO GROUPS @", "XINFO STREAM @", "XINFO CONSUMERS @ "+probe,
		"XGROUP CREATE @ "+probe+" x", "XGROUP DELCONSUMER @ "+probe+" "+probe, "XTRIM @ MINID 0",
	)...)
)

// needs are the keys of everything that the topology has.
func (c *Client) needs(topo *topology.Topology) []need {
	k := c.keys
	var all []need
	add := func(key string, commands [][]string) {
		pattern := key
		for _, own := range []string{probe, probeID, "197001010000"} {
			if before, found := strings.CutSuffix(key, own); found {
				pattern = before + "*"
			}
		}
		all = append(all, need{key, pattern, commands})
	}
	for _, g := range topo.Groups() {
		add(k.Stream(g.Stream), probeInput)
		add(k.Floor(g.Stream, g.Group), probeText)
		add(k.Reach(g.Stream, g.Group), probeText)
		add(k.Delayed(g.Stream, g.Group), probeIndex)
	}
	for _, stream := range topo.Targets() {
		add(k.Stream(stream), probeOutput)
		add(k.Later(stream), probeIndex)
	}
	for _, role := range topo.Roles() {
		for _, sub := range role.Subscriptions {
			add(k.Lock(sub, probeID), probeLock)
			add(k.Fence(sub.Stream), probeText)
			add(k.Owner(sub.Stream), probeText)
			if sub.Results != "" {
				add(k.Stream(sub.Results), probeOutput)
			}
		}
		if role.DLQ != "" {
			add(k.Stream(role.DLQ), probeOutput)
		}
		add(k.Stats(role.Name, time.Unix(0, 0)), probeCounts)
		add(k.Heartbeat(role.Name, probe), probeBeat)
		add(k.State(role.Name, probe), probeHash)
		add(k.Cache(role.Name, probe), probeHash)
	}
	return all
}

// Probe tries every command on every key that the topology's roles need, and
// gives a [PermissionError] if the user lacks some permission. It needs no
// permission of its own, and changes nothing: it runs them in forms that fail, or
// that have nothing to act on.
func (c *Client) Probe(ctx context.Context, topo *topology.Topology) error {
	user, restricts := c.user(ctx)
	if !restricts {
		return nil
	}
	needs := c.needs(topo)
	missing := &PermissionError{User: user, Namespace: c.keys.Namespace}
	if err := c.probeTransaction(ctx, missing); err != nil {
		return err
	}
	if err := c.probeCommands(ctx, needs, missing); err != nil {
		return err
	}
	if err := c.probeKeys(ctx, needs, missing); err != nil {
		return err
	}
	if len(missing.Commands)+len(missing.Keys) == 0 {
		return nil
	}
	return missing
}

// probeTransaction tries what cannot be tried in a script.
func (c *Client) probeTransaction(ctx context.Context, missing *PermissionError) error {
	_, err := c.commands.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Ping(ctx).Err() })
	if lacksCommand(err) {
		missing.Commands = append(missing.Commands, "MULTI", "EXEC", "PING")
		return nil
	}
	return wrap(err, "try a transaction")
}

// probeCommands tries the commands, in one script.
func (c *Client) probeCommands(ctx context.Context, needs []need, missing *PermissionError) error {
	var tried []need // one for each command
	args := []any{1, "TIME"}
	for _, n := range needs {
		for _, words := range n.commands {
			tried = append(tried, need{n.key, n.pattern, [][]string{words}})
			args = append(args, len(words))
			for _, word := range words {
				if word == "@" {
					word = n.key
				}
				args = append(args, word)
			}
		}
	}
	reply, err := run(ctx, c.commands, probeScript, call{args: args})
	if lacksCommand(err) {
		missing.addCommand([]string{"EVALSHA"})
		missing.addCommand([]string{"EVAL"})
		return nil
	}
	if err != nil {
		return wrap(err, "try what the user may do")
	}
	answers := texts(reply)
	if len(answers) != len(tried)+1 {
		return errShort(len(answers), len(tried)+1)
	}
	if deniesCommand(answers[0]) {
		missing.addCommand([]string{"TIME"})
	}
	for i, n := range tried {
		switch answer := answers[i+1]; {
		case deniesKey(answer):
			missing.addKey(n.pattern)
		case deniesCommand(answer):
			missing.addCommand(n.commands[0])
		}
	}
	return nil
}

// probeKeys tries to hand the keys to a script, as all of ours are: that takes
// the permission to read and to write each.
func (c *Client) probeKeys(ctx context.Context, needs []need, missing *PermissionError) error {
	if slices.Contains(missing.Commands, "EVAL") {
		return nil
	}
	calls := make([]call, len(needs))
	for i, n := range needs {
		calls[i] = call{keys: []string{n.key}}
	}
	for i, cmd := range runAll(ctx, c.commands, probeScript, calls) {
		err := cmd.Err()
		if err != nil && deniesKey(err.Error()) {
			missing.addKey(needs[i].pattern)
		} else if err != nil {
			return wrap(err, "try whether key %s may be used", needs[i].key)
		}
	}
	return nil
}

func (e *PermissionError) addKey(pattern string) {
	if !slices.Contains(e.Keys, pattern) {
		e.Keys = append(e.Keys, pattern)
	}
}

func (e *PermissionError) addCommand(words []string) {
	name := words[0]
	if name == "XGROUP" || name == "XINFO" {
		name += " " + words[1]
	}
	if !slices.Contains(e.Commands, name) {
		e.Commands = append(e.Commands, name)
	}
}

func lacksCommand(err error) bool { return err != nil && deniesCommand(err.Error()) }

// deniesCommand and deniesKey know the words of the servers, which differ
// between versions, and within and outside of scripts.
func deniesCommand(answer string) bool {
	return !deniesKey(answer) && (strings.Contains(answer, "can't run this command") || strings.Contains(answer, "permissions to run"))
}

func deniesKey(answer string) bool {
	return strings.Contains(answer, "can't access at least one of the keys") || strings.Contains(answer, "permissions to access")
}

// user is the connection's own user, as the server says or, where it does not,
// as the settings do. restricts is false for a server without users, as the
// embedded one: it lacks other commands too.
func (c *Client) user(ctx context.Context) (name string, restricts bool) {
	name, err := c.commands.Do(ctx, "ACL", "WHOAMI").Text()
	if err == nil {
		return name, true
	}
	if kindOf(err) == ErrConfig && !lacksCommand(err) {
		err = c.commands.Do(ctx, "CLIENT", "UNBLOCK", "0").Err()
		restricts = err == nil || lacksCommand(err)
	} else {
		restricts = true
	}
	return cmp.Or(c.base.Username, "default"), restricts
}
