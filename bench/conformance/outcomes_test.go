package conformance

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// checkOutcomes looks at all that Redis holds: no group has a message with two
// results, or with a result and still pending, or neither decided nor pending
// though it was read; and there is no dead letter, since a nack asks for another
// run.
func (b *bed) checkOutcomes(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // the test's is over
	defer cancel()
	rdb := b.server.Client()
	keys := scan(ctx, t, rdb)
	topics, results := 0, 0
	for _, key := range keys {
		topic := strings.TrimPrefix(key, Namespace+":")
		switch {
		case strings.Contains(topic, ":dlq:"):
			t.Errorf("%s: %d dead letters", key, rdb.XLen(ctx, key).Val())
		case !strings.Contains(topic, ":"):
			topics++
			for _, group := range rdb.XInfoGroups(ctx, key).Val() {
				results += checkGroup(ctx, t, rdb, key, group)
			}
		}
	}
	if topics == 0 || results == 0 {
		t.Errorf("%d topics with %d results: nothing was checked", topics, results)
	}
	t.Logf("%d topics, %d results", topics, results)
}

func scan(ctx context.Context, t *testing.T, rdb *redis.Client) (keys []string) {
	for cursor := uint64(0); ; {
		page, next, err := rdb.ScanType(ctx, cursor, Namespace+":*", 1000, "stream").Result()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, page...)
		if cursor = next; cursor == 0 {
			return keys
		}
	}
}

// checkGroup compares a topic's entries with what one group has made of them,
// and gives the number of its results.
func checkGroup(ctx context.Context, t *testing.T, rdb *redis.Client, topic string, group redis.XInfoGroup) int {
	state := map[string]int{} // of each entry that was read: results, and 1 if it is pending
	results, err := rdb.XRange(ctx, topic+":results:"+group.Name, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range results {
		id := result.Values["entryid"].(string)
		if state[id]++; state[id] > 1 {
			t.Errorf("%s in group %s: entry %s has %d results", topic, group.Name, id, state[id])
		}
	}
	pending, err := rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: topic, Group: group.Name, Start: "-", End: "+", Count: group.Pending + 1}).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pending {
		if state[p.ID]++; state[p.ID] > 1 {
			t.Errorf("%s in group %s: entry %s has its result and is still pending", topic, group.Name, p.ID)
		}
	}
	read, err := rdb.XRange(ctx, topic, "-", group.LastDeliveredID).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range read {
		if state[entry.ID] == 0 {
			t.Errorf("%s in group %s: entry %s is lost: it was read, has no result and is not pending", topic, group.Name, entry.ID)
		}
	}
	return len(results)
}
