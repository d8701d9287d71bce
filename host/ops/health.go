package ops

import (
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/topology"
)

// State is how a role does on this host.
type State string

// States of a role.
const (
	Starting State = "starting" // its plugin is being started and checked
	Serving  State = "serving"  // its plugin takes messages
	Paused   State = "paused"   // it has no healthy plugin, or was told to pause; messages wait
	Draining State = "draining" // it reads no more and finishes what it has
	Stopped  State = "stopped"
)

// healthMaxLen is about how many entries `ops:health` keeps.
const healthMaxLen = 10_000

// Health keeps the state of each role and writes its changes to `ops:health` in
// the background: `time role host from to reason`.
type Health struct {
	*queue
	host string

	mu     sync.Mutex
	states map[string]State
}

// NewHealth gives the health of the host with that consumer name. Its changes are
// written once it is started.
func NewHealth(client *redis.Client, keys topology.Keys, host string, log *slog.Logger) *Health {
	return &Health{queue: newQueue(client, keys, log), host: host, states: map[string]State{}}
}

// Set notes the state of a role and why. Setting the state that the role has
// already does nothing.
func (h *Health) Set(role string, to State, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := h.states[role]
	if from == to {
		return
	}
	h.states[role] = to
	h.log.Info("role "+string(to), "role", role, "from", string(from), "reason", reason)
	h.add(entry{topology.OpsHealth, healthMaxLen, change{time.Now(), role, h.host, from, to, reason}})
}

// A change is one entry of `ops:health`.
type change struct {
	at         time.Time
	role, host string
	from, to   State
	reason     string
}

// Fields are the entry's fields.
func (c change) Fields() []string {
	return []string{
		"time", c.at.UTC().Format("2006-01-02T15:04:05.000000Z"), "role", c.role, "host", c.host,
		"from", string(c.from), "to", string(c.to), "reason", c.reason,
	}
}

// States gives the state of each role that ever had one.
func (h *Health) States() map[string]State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.states)
}
