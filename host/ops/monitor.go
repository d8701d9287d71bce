package ops

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/lifecycle"
	"github.com/fnhost/fnhost/host/topology"
)

const (
	// monitorInterval is the time between two looks of a [Monitor].
	monitorInterval = 5 * time.Second
	// monitorRetry is the same after one that failed: readiness waits for the next.
	monitorRetry = time.Second
)

// Gauges take what a [Monitor] sees. Roles of groups that no role reads are empty.
type Gauges interface {
	// Stream gives a stream's length; added is negative if Redis does not know.
	Stream(role, stream string, entries, added int64)
	// Group gives ages of 0 where there is no such entry.
	Group(role, stream, group string, pending, consumers int64, oldestPending, oldestUndelivered time.Duration)
	// GroupLag gives how many entries the group has not read, if that is known.
	GroupLag(role, stream, group string, lag int64, known bool)
	DeadLetters(role string, entries int64, oldest time.Duration)
	// Collected is told at the end of each look how long it took and how it ended.
	Collected(took time.Duration, err error)
}

// Monitor looks at all groups, streams and dead-letter queues every five seconds,
// in one round trip; every second while that fails.
type Monitor struct {
	lifecycle.Base
	client   *redis.Client
	keys     topology.Keys
	topology func() *topology.Topology
	gauges   Gauges

	mu  sync.Mutex
	err error
}

// NewMonitor gives a monitor of the topology, which is asked for at each look: it
// may have grown.
func NewMonitor(client *redis.Client, keys topology.Keys, topology func() *topology.Topology, gauges Gauges) *Monitor {
	return &Monitor{client: client, keys: keys, topology: topology, gauges: gauges}
}

// Start looks at once, and then every five seconds.
func (m *Monitor) Start(ctx context.Context) error { return m.Go(ctx, nil, m.run) }

// Err is how the last look ended: nil if Redis answered.
func (m *Monitor) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *Monitor) run(ctx context.Context) {
	for {
		m.look(ctx)
		next := time.NewTimer(monitorInterval)
		if m.Err() != nil {
			next.Reset(monitorRetry)
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}

func (m *Monitor) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, monitorInterval)
	defer cancel()
	topo, start := m.topology(), time.Now()
	survey, err := Look(ctx, m.client, m.keys, streamsOf(topo))
	if err == nil {
		m.show(topo, survey)
	} else if errors.Is(context.Cause(ctx), lifecycle.ErrStop) {
		return
	}
	m.gauges.Collected(time.Since(start), err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// streamsOf are all streams with a group, and all dead-letter queues.
func streamsOf(topo *topology.Topology) []string {
	var streams []string
	for _, group := range topo.Groups() {
		streams = append(streams, group.Stream)
	}
	for _, role := range topo.Roles() {
		if role.DLQ != "" {
			streams = append(streams, role.DLQ)
		}
	}
	slices.Sort(streams)
	return slices.Compact(streams)
}

func (m *Monitor) show(topo *topology.Topology, survey Survey) {
	readers := readersOf(topo)
	shown := map[string]bool{}
	for _, group := range topo.Groups() {
		stream := survey.Streams[group.Stream]
		if !shown[group.Stream] {
			m.gauges.Stream(readers[group], group.Stream, stream.Length, stream.Added)
			shown[group.Stream] = true
		}
		g, ok := stream.Groups[group.Group]
		if !ok {
			g.Lag = -1
		}
		m.gauges.Group(readers[group], group.Stream, group.Group, g.Pending, g.Consumers, survey.Age(g.OldestPending), survey.Age(g.OldestUndelivered))
		m.gauges.GroupLag(readers[group], group.Stream, group.Group, g.Lag, g.Lag >= 0)
	}
	for _, role := range topo.Roles() {
		if role.DLQ != "" {
			dlq := survey.Streams[role.DLQ]
			m.gauges.DeadLetters(role.Name, dlq.Length, survey.Age(dlq.FirstID))
		}
	}
}

// readersOf names the role that reads in each group.
func readersOf(topo *topology.Topology) map[topology.Group]string {
	readers := map[topology.Group]string{}
	for _, role := range topo.Roles() {
		for _, sub := range role.Subscriptions {
			readers[topology.Group{Stream: sub.Stream, Group: sub.Group}] = role.Name
		}
	}
	return readers
}
