package stream

import (
	"context"
	"regexp"
	"time"

	"github.com/fnhost/fnhost/host/topology"
)

// incarnation is the form of a host's consumer name. Names of any other form are
// somebody else's, and left alone.
var incarnation = regexp.MustCompile(`^.+:[0-9a-f]{12}$`)

// Reap removes from the subscription's group the consumers of hosts that are
// gone: those that have done nothing for idle, have no heartbeat and nothing
// pending. own is never removed. It gives how many were. (A host that only looks
// dead loses nothing: its next read makes its consumer again.)
func (c *Client) Reap(ctx context.Context, sub topology.Subscription, own string, idle time.Duration) (int64, error) {
	key := c.keys.Stream(sub.Stream)
	reply, err := c.commands.Do(ctx, "XINFO", "CONSUMERS", key, sub.Group).Result()
	if err != nil {
		return 0, wrap(err, "ask for the consumers of group %s on stream %s", sub.Group, sub.Stream)
	}
	reap := call{keys: []string{key}, args: []any{sub.Group}}
	consumers, _ := reply.([]any)
	for _, each := range consumers {
		info := fieldMap(each)
		name := text(info["name"])
		if name == own || !incarnation.MatchString(name) || number(info["pending"]) > 0 || number(info["idle"]) < idle.Milliseconds() {
			continue
		}
		reap.keys = append(reap.keys, c.keys.Heartbeat(sub.Role, name))
		reap.args = append(reap.args, name)
	}
	if len(reap.args) == 1 {
		return 0, nil
	}
	reply, err = run(ctx, c.commands, reapScript, reap)
	return number(reply), wrap(err, "remove consumers of group %s on stream %s", sub.Group, sub.Stream)
}
