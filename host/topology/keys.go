package topology

import (
	"cmp"
	"strings"
	"time"
)

// DefaultIdempPrefix is the first part of a lock's name.
const DefaultIdempPrefix = "ops:idemp"

// opsKinds are the second parts of the host's own names that begin with `ops:`,
// but for the locks'.
var opsKinds = []string{"delayed", "fence", "floor", "hb", "health", "later", "owner", "reach", "stats"}

// Keys gives the name of every key in Redis.
type Keys struct {
	Namespace   string // `agentic`; in a cluster with braces, `{agentic}`
	IdempPrefix string // empty: DefaultIdempPrefix
}

func (k Keys) key(parts ...string) string {
	return k.Namespace + ":" + strings.Join(parts, ":")
}

// Stream is the key of a stream.
func (k Keys) Stream(name string) string { return k.key(name) }

// Name is the inverse of Stream; ok is false for a key outside the namespace.
func (k Keys) Name(key string) (name string, ok bool) { return strings.CutPrefix(key, k.Namespace+":") }

// LockPrefix is what all lock names of a subscription begin with; the entry's
// id follows.
func (k Keys) LockPrefix(sub Subscription) string {
	if sub.Own {
		return k.key(k.idempPrefix(), sub.Stream) + ":"
	}
	return k.key(k.idempPrefix(), sub.Stream, sub.Group) + ":"
}

func (k Keys) idempPrefix() string { return cmp.Or(k.IdempPrefix, DefaultIdempPrefix) }

// Lock is the lock and done mark of one entry.
func (k Keys) Lock(sub Subscription, id string) string { return k.LockPrefix(sub) + id }

// Fence is the fencing counter of a stream.
func (k Keys) Fence(stream string) string { return k.key("ops:fence", stream) }

// Floor is the lowest undecided id of a group.
func (k Keys) Floor(stream, group string) string { return k.key("ops:floor", stream, group) }

// Reach is the highest id that a group ever handed out.
func (k Keys) Reach(stream, group string) string { return k.key("ops:reach", stream, group) }

// Delayed is the index by due time of a group's parked messages.
func (k Keys) Delayed(stream, group string) string { return k.key("ops:delayed", stream, group) }

// Later has, by due time, the entries that are to be added to a stream later.
func (k Keys) Later(stream string) string { return k.key("ops:later", stream) }

// Stats is the hash of a role's counts in the minute of at (UTC).
func (k Keys) Stats(role string, at time.Time) string {
	return k.key("ops:stats", role, "m", at.UTC().Format("200601021504"))
}

// Heartbeat is the sign of life of a role on a host.
func (k Keys) Heartbeat(role, consumer string) string { return k.key("ops:hb", role, consumer) }

// Heartbeats is the pattern of all heartbeats of a role.
func (k Keys) Heartbeats(role string) string { return k.key("ops:hb", role, "*") }

// Owner records which group is the stream's own.
func (k Keys) Owner(stream string) string { return k.key("ops:owner", stream) }

// State is a key of a role's keyed state.
func (k Keys) State(role, key string) string { return k.key("state", role, key) }

// Cache is a key of a role's cache.
func (k Keys) Cache(role, key string) string { return k.key("cache", role, key) }
