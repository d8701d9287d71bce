package main

import (
	"context"
	"errors"
	"os/exec"
	"strconv"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// watermillStream is watermill's router on watermill-redisstream, handler inside
// the process. A subscriber has one message at a time, so that many of one group
// share the work, as watermill advises.
type watermillStream struct{}

const watermillSubscribers = 32

func (watermillStream) Name() string { return "watermill-redisstream" }

func (watermillStream) What() string {
	return "watermill router, " + strconv.Itoa(watermillSubscribers) + " subscribers of one group, handler in process"
}

func (watermillStream) Publish(ctx context.Context, rdb *redis.Client, payload string, n int) ([]string, error) {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = watermill.NewUUID()
	}
	_, err := publishFields(ctx, rdb, tasksKey, n, func(i int) []any {
		return []any{redisstream.UUIDHeaderKey, keys[i], "metadata", "", "payload", payload}
	})
	return keys, err
}

func (w watermillStream) Commands(s Site) ([]*exec.Cmd, error) { return self(s, w.Name()), nil }

func (watermillStream) Results() []string { return []string{resultsKey} }
func (watermillStream) KeyField() string  { return redisstream.UUIDHeaderKey }

// run works until ctx ends.
func (watermillStream) run(ctx context.Context, addr string, _ Purpose) error {
	rdb := redis.NewClient(&redis.Options{Addr: addr, PoolSize: 2 * watermillSubscribers})
	defer rdb.Close()
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: rdb}, nil)
	if err != nil {
		return err
	}
	router, err := message.NewRouter(message.RouterConfig{}, nil)
	if err != nil {
		return err
	}
	for i := range watermillSubscribers {
		name := "echo-" + strconv.Itoa(i)
		subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{Client: rdb, ConsumerGroup: groupName, Consumer: name}, nil)
		if err != nil {
			return err
		}
		router.AddHandler(name, tasksKey, subscriber, resultsKey, publisher, func(m *message.Message) ([]*message.Message, error) {
			return message.Messages{message.NewMessage(m.UUID, m.Payload)}, nil
		})
	}
	if err := router.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
