// Package conformance runs watermill's universal Pub/Sub suite over the host's
// own message path: a publisher that adds to a stream, and a subscriber that is a
// role at work (host/dispatch on host/stream, on a real Redis), whose function
// hands the message to whoever reads the subscription's channel. An ack is Done,
// a nack is Retry, and nothing is kept, or repeated, by the adapter itself.
//
// What the suite cannot ask, the tests here do: every entry has exactly one
// result, and no dead letter.
package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/fnhost/fnhost/host/dispatch"
	"github.com/fnhost/fnhost/host/retry"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/telemetry"
	"github.com/fnhost/fnhost/host/topology"
)

const (
	// Namespace is the first part of every key.
	Namespace = "watermill"
	// OwnGroup is the group of a topic whose locks have the short name.
	OwnGroup = "watermill-workers"

	lease   = 3 * time.Second
	doneTTL = time.Minute
	// closing is what messages that were handed out get for their ack when a
	// subscription is closed; after it they are handed back, uncharged.
	closing = 100 * time.Millisecond
	// grace is what a cancelled handler gets on a loaded machine.
	grace = 10 * time.Second
	// calls bounds a call to Redis.
	calls = 10 * time.Second
)

// ErrClosed is given by a publisher or subscriber that is closed.
var ErrClosed = errors.New("closed")

// Options of a [Publisher] and a [Subscriber].
type Options struct {
	URL string // of Redis
	// Group that the subscriber reads in; empty: OwnGroup.
	Group string
	// Concurrency is how many messages of a subscription are out at once.
	Concurrency int
	// InOrder gives all messages of a topic the same partition key: within one
	// host, the next one runs when the one before it has its outcome.
	InOrder bool
}

// A Publisher adds each message to the topic's stream.
type Publisher struct {
	redis   *stream.Client
	inOrder bool
	close   func() error

	mu     sync.RWMutex // held for reading while publishing
	closed bool
}

// NewPublisher connects on its first call.
func NewPublisher(o Options) (*Publisher, error) {
	redis, err := open(o)
	if err != nil {
		return nil, err
	}
	return &Publisher{redis: redis, inOrder: o.InOrder, close: sync.OnceValue(redis.Close)}, nil
}

func open(o Options) (*stream.Client, error) {
	return stream.Open(stream.Options{URL: o.URL, Namespace: Namespace, ClientName: "watermill"})
}

// Publish adds the messages one after another. After an error the first of them
// that was not added, and that one only, may be there all the same.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return fmt.Errorf("publish to %s: %w", topic, ErrClosed)
	}
	for _, m := range messages {
		key := ""
		if p.inOrder {
			key = topic
		}
		ctx, cancel := context.WithTimeout(m.Context(), calls)
		_, err := p.redis.Publish(ctx, topic, fields(m, key))
		cancel()
		if err != nil {
			return fmt.Errorf("publish message %s: %w", m.UUID, err)
		}
	}
	return nil
}

// Close waits for what is being published. It may be called again.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return p.close()
}

// A Subscriber is a host with a role for each subscription.
type Subscriber struct {
	o     Options
	redis *stream.Client

	mu            sync.Mutex
	closed        bool
	subscriptions []*subscription
}

// NewSubscriber connects on its first call.
func NewSubscriber(o Options) (*Subscriber, error) {
	if o.Group == "" {
		o.Group = OwnGroup
	}
	redis, err := open(o)
	if err != nil {
		return nil, err
	}
	return &Subscriber{o: o, redis: redis}, nil
}

// SubscribeInitialize makes the topic's stream and the group, from its first
// entry on.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	_, _, err := s.prepare(context.Background(), topic)
	return err
}

// prepare does what a host does before it reads.
func (s *Subscriber) prepare(ctx context.Context, topic string) (*topology.Topology, topology.Role, error) {
	ctx, cancel := context.WithTimeout(ctx, calls)
	defer cancel()
	topo, role, err := layout(topic, s.o.Group)
	if err != nil {
		return nil, role, err
	}
	sub := role.Subscriptions[0]
	if _, err := s.redis.EnsureGroups(ctx, []topology.Group{{Stream: sub.Stream, Group: sub.Group}}, "0-0"); err != nil {
		return nil, role, err
	}
	return topo, role, s.redis.EnsureOwner(ctx, sub)
}

// layout is the topology as every subscriber of the topic sees it: the role that
// reads it in its own group and, if the group is another, a further role.
func layout(topic, group string) (*topology.Topology, topology.Role, error) {
	roles := []topology.Role{role("watermill", topic, OwnGroup)}
	if group != OwnGroup {
		roles = append(roles, role("further", topic, group))
	}
	topo, err := topology.New(roles)
	if err != nil {
		return nil, topology.Role{}, err
	}
	return topo, topo.Roles()[len(roles)-1], nil
}

func role(name, topic, group string) topology.Role {
	return topology.Role{Name: name, DLQ: topic + ":dlq:" + group, Subscriptions: []topology.Subscription{{
		Role: name, Stream: topic, Group: group, Results: topic + ":results:" + group,
	}}}
}

// Subscribe begins to read the topic in the subscriber's group. The channel is
// closed when ctx ends or the subscriber is closed.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	topo, role, err := s.prepare(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, ErrClosed)
	}
	sub := s.subscribe(ctx, topo, role)
	s.subscriptions = append(s.subscriptions, sub)
	context.AfterFunc(ctx, func() { _ = sub.close() }) // Close tells the error
	return sub.function.out, nil
}

// subscribe puts a role to work. It has a consumer name of its own, as a host
// has at every start.
func (s *Subscriber) subscribe(ctx context.Context, topo *topology.Topology, role topology.Role) *subscription {
	consumer := "watermill:" + rand.Text()
	f := newFunction(ctx, s.o.Concurrency)
	work := dispatch.New(dispatch.Config{
		Role: role.Name, Host: consumer, Function: f, DLQ: role.DLQ,
		Subscriptions: []dispatch.Subscription{{
			Subscription: role.Subscriptions[0],
			Log:          s.redis.Log(role.Subscriptions[0], stream.LogOptions{Owner: consumer, Lease: lease, DoneTTL: doneTTL}),
		}},
		Topology: func() *topology.Topology { return topo },
		Policy:   retry.Policy{MaxRetries: math.MaxInt}, // a nack is never the last word
		Grace:    grace, Lease: lease,
		Observer: telemetry.New("").Role(role.Name), Logger: slog.Default(),
	})
	f.sink = work
	work.Start(ctx)
	sub := &subscription{role: work, function: f}
	sub.close = sync.OnceValue(sub.end)
	return sub
}

// Close ends all subscriptions: what was not acked is handed back, for another
// subscriber to take at once. It may be called again.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := make([]error, len(s.subscriptions))
	var ends sync.WaitGroup
	for i, sub := range s.subscriptions {
		ends.Go(func() { errs[i] = sub.close() })
	}
	ends.Wait()
	if !s.closed {
		s.closed = true
		errs = append(errs, s.redis.Close())
	}
	return errors.Join(errs...)
}

// subscription is a role at work and its function.
type subscription struct {
	role     *dispatch.Role
	function *function
	close    func() error // end, once
}

func (s *subscription) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	err := s.role.Drain(ctx)
	s.role.Stop()
	s.function.end()
	return err
}
