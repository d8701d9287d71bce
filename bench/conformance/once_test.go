package conformance

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/hosttest"
)

const (
	onceTopic      = "once"
	onceHosts      = 3
	oncePublishers = 8
	onceNacks      = 0.2 // of deliveries
	oncePatience   = 3 * time.Minute
)

// TestOnce compares what consumers have seen of every message with what the host
// has published of it, with a fifth of all deliveries nacked, at random. When
// nothing breaks, a message is delivered once and then once more for each nack.
func TestOnce(t *testing.T) {
	t.Parallel()
	o := newOnce(t)
	stop := o.hosts(math.MaxInt)
	o.publish()
	o.await()
	stop()
	if len(o.left) > 0 {
		t.Errorf("closing: %v", o.left)
	}
	results := o.results()
	for id, seen := range o.seen {
		attempts := results[id]
		if len(attempts) != 1 || attempts[0] != seen.nacks+1 || seen.acks != 1 || seen.deliveries != seen.nacks+1 {
			t.Errorf("message %s: delivered %d times, acked %d, nacked %d; results with attempts %v", id, seen.deliveries, seen.acks, seen.nacks, attempts)
		}
	}
}

// TestOnceThroughFaults kills Redis three times, and has consumers close their
// subscriptions, and open them again, all the time. Every entry has exactly one
// result still, and no attempt is charged but for a nack.
func TestOnceThroughFaults(t *testing.T) {
	t.Parallel()
	o := newOnce(t, hosttest.AppendOnly...)
	messages := len(o.seen)
	stop := o.hosts(messages / 10)
	published := make(chan struct{})
	go func() {
		defer close(published)
		o.publish()
	}()
	for quarter := 1; quarter <= 3; quarter++ {
		o.awaitResults(func(results, _ int64) bool { return results >= int64(quarter*messages/4) })
		o.bed.server.Kill()
		o.bed.server.Restart()
	}
	<-published
	o.await()
	stop()
	entries := o.entries()
	results := o.results()
	for id, seen := range o.seen {
		if entries[id] == 0 || len(results[id]) != entries[id] { // a publisher that does not know repeats itself
			t.Errorf("message %s: %d entries, %d results", id, entries[id], len(results[id]))
		}
		charged := -len(results[id])
		for _, attempt := range results[id] {
			charged += attempt
		}
		if seen.acks < entries[id] || charged > seen.nacks {
			t.Errorf("message %s: %d entries, acked %d times, nacked %d times, %d attempts charged", id, entries[id], seen.acks, seen.nacks, charged)
		}
	}
}

// once is one topic with its publishers and consumers.
type once struct {
	t   *testing.T
	bed *bed
	rdb *redis.Client

	mu   sync.Mutex
	seen map[string]*seen // by message id
	left []error          // of subscribers that closed
}

// seen is what consumers have seen of a message, and told of it.
type seen struct{ deliveries, acks, nacks int }

func newOnce(t *testing.T, redisArgs ...string) *once {
	bed := newBed(t, Options{Concurrency: 16}, redisArgs...)
	o := &once{t: t, bed: bed, rdb: bed.server.Client(), seen: map[string]*seen{}}
	messages := 10_000
	if testing.Short() {
		messages = 2_000
	}
	for range messages {
		o.seen[watermill.NewUUID()] = &seen{}
	}
	sub := o.subscriber()
	defer o.close(sub)
	if err := sub.SubscribeInitialize(onceTopic); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *once) subscriber() *Subscriber {
	sub, err := NewSubscriber(o.bed.o)
	if err != nil {
		panic(err) // of a URL only
	}
	return sub
}

// close notes messages that had to be left to their leases: while Redis is down
// they cannot be handed back.
func (o *once) close(sub *Subscriber) {
	if err := sub.Close(); err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.left = append(o.left, err)
	}
}

// publish publishes all messages, each until Redis says that it has it.
func (o *once) publish() {
	pub, err := NewPublisher(o.bed.o)
	if err != nil {
		o.t.Error(err)
		return
	}
	ids := make(chan string)
	var publishers sync.WaitGroup
	for range oncePublishers {
		publishers.Go(func() {
			for id := range ids {
				for pub.Publish(onceTopic, message.NewMessage(id, message.Payload("x"))) != nil {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	for id := range o.seen {
		ids <- id
	}
	close(ids)
	publishers.Wait()
	if err := pub.Close(); err != nil {
		o.t.Error(err)
	}
}

// hosts keeps subscribers open, each for so many messages, until stop is called.
func (o *once) hosts(life int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var hosts sync.WaitGroup
	for range onceHosts {
		hosts.Go(func() {
			for ctx.Err() == nil {
				o.host(ctx, life)
			}
		})
	}
	return func() {
		cancel()
		hosts.Wait()
	}
}

// host consumes until it has had life messages or ctx ends; then it closes, with
// messages still out.
func (o *once) host(ctx context.Context, life int) {
	sub := o.subscriber()
	messages, err := sub.Subscribe(context.Background(), onceTopic)
	if err != nil { // Redis is down
		o.close(sub)
		time.Sleep(10 * time.Millisecond)
		return
	}
	ctx, end := context.WithCancel(ctx)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		o.close(sub)
	}()
	for m := range messages {
		o.judge(m)
		if life--; life == 0 {
			end()
		}
	}
	end()
	<-closed
}

func (o *once) judge(m *message.Message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.seen[m.UUID]
	if s == nil {
		o.t.Errorf("message %q was never published", m.UUID)
		s = &seen{}
		o.seen[m.UUID] = s
	}
	s.deliveries++
	if rand.Float64() < onceNacks {
		s.nacks++
		m.Nack()
		return
	}
	s.acks++
	m.Ack()
}

// await waits until every entry has a result, once all are published.
func (o *once) await() {
	o.awaitResults(func(results, entries int64) bool { return results >= entries })
}

func (o *once) awaitResults(enough func(results, entries int64) bool) {
	o.t.Helper()
	var state string
	for deadline := time.Now().Add(oncePatience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		results, err := o.rdb.XLen(o.t.Context(), resultsKey).Result()
		entries, err2 := o.rdb.XLen(o.t.Context(), entriesKey).Result()
		if err == nil && err2 == nil && enough(results, entries) {
			return
		}
		state = fmt.Sprintf("%d results, %d entries, %v, %v", results, entries, err, err2)
	}
	o.t.Fatalf("after %s: %s", oncePatience, state)
}

const (
	entriesKey = Namespace + ":" + onceTopic
	resultsKey = entriesKey + ":results:" + OwnGroup
)

// entries counts the entries of each message.
func (o *once) entries() map[string]int {
	counts := map[string]int{}
	for _, entry := range o.read(entriesKey) {
		counts[entry.Values["id"].(string)]++
	}
	return counts
}

// results are the attempts in the results of each message.
func (o *once) results() map[string][]int {
	results := map[string][]int{}
	for _, result := range o.read(resultsKey) {
		id := result.Values["causationid"].(string)
		attempt, err := strconv.Atoi(result.Values["attempt"].(string))
		if err != nil {
			o.t.Errorf("result of %s: %v", id, err)
		}
		results[id] = append(results[id], attempt)
	}
	return results
}

func (o *once) read(key string) []redis.XMessage {
	found, err := o.rdb.XRange(o.t.Context(), key, "-", "+").Result()
	if err != nil {
		o.t.Fatal(err)
	}
	return found
}
