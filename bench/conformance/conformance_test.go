package conformance

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/fnhost/fnhost/host/hosttest"
)

// features are what the message path promises. ExactlyOnceDelivery is not: a
// handler runs at least once, and it is the outcome that is published once. The
// suite means deliveries by it, and would leave out its tests of closing.
var features = tests.Features{
	ConsumerGroups: true,
	Persistent:     true,
}

// suite is TestPubSub, or its stress test; with restarts, Redis is killed and
// started again under one of its tests.
var (
	suite    = tests.TestPubSub
	restarts = !underRace
)

// TestPubSub has all subscribers share the topic's own group, and many messages
// out at once.
func TestPubSub(t *testing.T) {
	t.Parallel()
	bed := newBed(t, Options{Concurrency: 16}, hosttest.AppendOnly...)
	f := features
	if restarts {
		f.RestartServiceCommand = restartCommand(t, bed.server)
	}
	suite(t, f, bed.pubSub, bed.pubSubInGroup)
}

// TestPubSubInOrder has the messages of a topic run one after another, by their
// partition key. That is order within a host: of several subscribers that share
// a group, each is a host of its own.
func TestPubSubInOrder(t *testing.T) {
	t.Parallel()
	bed := newBed(t, Options{Concurrency: 16, InOrder: true})
	f := features
	f.GuaranteedOrder, f.GuaranteedOrderWithSingleSubscriber = true, true
	suite(t, f, bed.pubSub, bed.pubSubInGroup)
}

// TestPubSubForEach gives each subscriber a group of its own, so that it receives
// all that the topic has ever had, in order, since one message is out at a time.
func TestPubSubForEach(t *testing.T) {
	t.Parallel()
	bed := newBed(t, Options{Concurrency: 1})
	f := features
	f.NewSubscriberReceivesOldMessages, f.RequireSingleInstance, f.GuaranteedOrder = true, true, true
	suite(t, f, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return bed.pubSubInGroup(t, "each-"+watermill.NewUUID())
	}, bed.pubSubInGroup)
}

// bed is a private Redis, and what is in it when the test has ended.
type bed struct {
	server *hosttest.RedisServer
	o      Options
}

func newBed(t *testing.T, o Options, redisArgs ...string) *bed {
	server := hosttest.Redis(t, redisArgs...)
	o.URL = server.URL()
	b := &bed{server, o}
	t.Cleanup(func() { b.checkOutcomes(t) })
	return b
}

// pubSub gives a publisher, and a subscriber in the topic's own group.
func (b *bed) pubSub(t *testing.T) (message.Publisher, message.Subscriber) {
	return b.pubSubInGroup(t, OwnGroup)
}

// pubSubInGroup closes with the test what the suite leaves open.
func (b *bed) pubSubInGroup(t *testing.T, group string) (message.Publisher, message.Subscriber) {
	o := b.o
	o.Group = group
	pub, err := NewPublisher(o)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := NewSubscriber(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []interface{ Close() error }{pub, sub} {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return pub, sub
}
