package ops

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// Counts are what became of messages in some time, on all hosts together.
type Counts struct {
	At                                     time.Time // start of the first minute, UTC
	OK, Error, Dropped, Discarded, Retried int64
	Trimmed                                int64 // dead letters dropped by REDIS_STREAM_MAXLEN
	Latency                                Latency
}

// Finished is how many messages got their outcome.
func (c Counts) Finished() int64 { return c.OK + c.Error + c.Dropped + c.Discarded }

// Latency is how long messages took from their entry in the stream to their
// outcome.
type Latency struct {
	Sum   time.Duration
	Count int64
	// Buckets has the count of each of delivery.StatsBuckets, not cumulative, and
	// last that of all slower messages.
	Buckets []int64
}

// Mean is 0 if nothing was measured.
func (l Latency) Mean() time.Duration {
	if l.Count == 0 {
		return 0
	}
	return l.Sum / time.Duration(l.Count)
}

// Percentile estimates the latency that the share p (0 to 1) of messages kept
// below, by even spread within a bucket. It is 0 if nothing was measured, and the
// last bound for what is slower than that.
func (l Latency) Percentile(p float64) time.Duration {
	var total int64
	for _, n := range l.Buckets {
		total += n
	}
	rank := p * float64(total)
	var below int64
	lower := int64(0)
	for i, upper := range delivery.StatsBuckets {
		if i >= len(l.Buckets) {
			break
		}
		n := l.Buckets[i]
		if n > 0 && float64(below+n) >= rank {
			share := (rank - float64(below)) / float64(n)
			return time.Duration(math.Round((float64(lower) + share*float64(upper-lower)) * float64(time.Millisecond)))
		}
		below, lower = below+n, upper
	}
	if total == 0 {
		return 0
	}
	return time.Duration(lower) * time.Millisecond
}

// Sum adds up counts; At is that of the first.
func Sum(counts []Counts) Counts {
	var sum Counts
	for i, c := range counts {
		if i == 0 {
			sum.At = c.At
		}
		sum.OK += c.OK
		sum.Error += c.Error
		sum.Dropped += c.Dropped
		sum.Discarded += c.Discarded
		sum.Retried += c.Retried
		sum.Trimmed += c.Trimmed
		sum.Latency = sum.Latency.plus(c.Latency)
	}
	return sum
}

func (l Latency) plus(other Latency) Latency {
	sum := Latency{Sum: l.Sum + other.Sum, Count: l.Count + other.Count, Buckets: make([]int64, len(delivery.StatsBuckets)+1)}
	for _, buckets := range [][]int64{l.Buckets, other.Buckets} {
		for i, n := range buckets {
			sum.Buckets[i] += n
		}
	}
	return sum
}

// Stats reads a role's counts of the minutes that end with the one of until,
// oldest first; a minute in which nothing happened has zeroes. They are kept for
// 48 hours.
func Stats(ctx context.Context, client redis.Cmdable, keys topology.Keys, role string, until time.Time, minutes int) ([]Counts, error) {
	first := until.UTC().Truncate(time.Minute).Add(-time.Duration(minutes-1) * time.Minute)
	hashes := make([]*redis.MapStringStringCmd, minutes)
	_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range hashes {
			hashes[i] = p.HGetAll(ctx, keys.Stats(role, first.Add(time.Duration(i)*time.Minute)))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the stats of role %q: %w", role, err)
	}
	counts := make([]Counts, minutes)
	for i, hash := range hashes {
		counts[i] = readCounts(first.Add(time.Duration(i)*time.Minute), hash.Val())
	}
	return counts, nil
}

func readCounts(at time.Time, hash map[string]string) Counts {
	number := func(field string) int64 {
		n, _ := strconv.ParseInt(hash[field], 10, 64) // absent, or not ours: 0
		return n
	}
	c := Counts{
		At: at, OK: number(delivery.StatusOK), Error: number(delivery.StatusError), Dropped: number(delivery.StatusDropped),
		Discarded: number(delivery.StatusDiscarded), Retried: number("retried"), Trimmed: number("trimmed"),
	}
	c.Latency = Latency{
		Sum: time.Duration(number("latency_us_sum")) * time.Microsecond, Count: number("latency_count"),
		Buckets: make([]int64, len(delivery.StatsBuckets)+1),
	}
	for i, ms := range delivery.StatsBuckets {
		c.Latency.Buckets[i] = number(delivery.StatsBucket(time.Duration(ms) * time.Millisecond))
	}
	c.Latency.Buckets[len(delivery.StatsBuckets)] = number(delivery.StatsBucket(math.MaxInt64))
	return c
}
