package bench

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var sub = topology.Default("echo").Subscriptions[0]

func open(t *testing.T) *stream.Client {
	t.Helper()
	c, err := stream.Open(stream.Options{URL: hosttest.Redis(t).URL(), Namespace: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := c.EnsureGroups(t.Context(), []topology.Group{{Stream: sub.Stream, Group: sub.Group}}, "0-0"); err != nil {
		t.Fatal(err)
	}
	return c
}

func plan(n int) Plan {
	return Plan{Sub: sub, DLQ: "echo:dlq", Type: "t", Data: []byte(`"x"`), ContentType: "application/json", Messages: n, Patience: time.Minute}
}

// serve plays a host that reads in the group: what it does with a message is
// answer's to say. It ends with the test.
func serve(t *testing.T, c *stream.Client, answer func(ctx context.Context, m delivery.Message, entry string) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	l := c.Log(sub, stream.LogOptions{Owner: "host:1", Lease: time.Minute, DoneTTL: time.Minute, Block: 100 * time.Millisecond})
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			entries, err := l.Read(ctx, 10)
			for i := range entries {
				if err == nil {
					err = answer(ctx, delivery.Read(&entries[i]), entries[i].ID)
				}
			}
			if err != nil && ctx.Err() == nil {
				ended <- err
				return
			}
		}
		ended <- nil
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the host of the test: %v", err)
		}
	})
}

func result(m delivery.Message, entry, status string) []string {
	return []string{"id", sub.Stream + "/" + entry, "causationid", m.ID, "entryid", entry, "status", status, "data", m.Data}
}

func length(t *testing.T, c *stream.Client, name string, want int64) {
	t.Helper()
	if n, err := c.Len(t.Context(), name); err != nil || n != want {
		t.Errorf("stream %s has %d entries, %v; want %d", name, n, err, want)
	}
}

// What is there of others stays; what is ours goes, with the streams that came
// into being through us.
func TestItTakesAwayItsOwnAndNothingElse(t *testing.T) {
	t.Parallel()
	c := open(t)
	foreign := []string{"id", "theirs", "causationid", "bench-x-1", "status", "ok"}
	if _, err := c.Publish(t.Context(), sub.Results, foreign); err != nil {
		t.Fatal(err)
	}
	n := 0
	serve(t, c, func(ctx context.Context, m delivery.Message, entry string) error {
		n++
		if n == 5 { // another's result comes between ours
			_, err := c.Publish(ctx, sub.Results, foreign)
			if err != nil {
				return err
			}
		}
		if n%10 == 0 {
			letter := []string{"id", m.ID, "dlqreason", "permanent", "dlqstream", sub.Stream, "dlqid", entry}
			if _, err := c.Publish(ctx, "echo:dlq", letter); err != nil {
				return err
			}
			_, err := c.Publish(ctx, sub.Results, result(m, entry, "error"))
			return err
		}
		if err := c.Commands().Set(ctx, c.Keys().Lock(sub, entry), "D", time.Minute).Err(); err != nil {
			return err
		}
		_, err := c.Publish(ctx, sub.Results, result(m, entry, "ok"))
		return err
	})
	r, err := Run(t.Context(), c, plan(50))
	if err != nil {
		t.Fatal(err)
	}
	if r.Published != 50 || r.OK != 45 || r.Errors != 5 || r.Answered() != 50 || r.Duplicates != 0 || r.Took <= 0 || r.Percentile(0.5) <= 0 {
		t.Errorf("got %+v", r)
	}
	if want := (Removed{Messages: 50, Results: 50, DeadLetters: 5, DoneMarks: 45}); r.Removed != want {
		t.Errorf("removed %+v, want %+v", r.Removed, want)
	}
	length(t, c, sub.Stream, 0)
	length(t, c, sub.Results, 2)
	if keys, err := c.Commands().Keys(t.Context(), "*").Result(); err != nil || slices.Contains(keys, c.Keys().Stream("echo:dlq")) || slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(k, "idemp") }) {
		t.Errorf("left behind: %v, %v", keys, err)
	}
}

// Messages are due at their rate, however long an answer takes; and a stall is
// seen by all that it held up.
func TestAStallCountsForAllThatItHeldUp(t *testing.T) {
	t.Parallel()
	c := open(t)
	const stall = 500 * time.Millisecond
	first := true
	serve(t, c, func(ctx context.Context, m delivery.Message, entry string) error {
		if first {
			first = false
			time.Sleep(stall) // the function is busy
		}
		_, err := c.Publish(ctx, sub.Results, result(m, entry, "ok"))
		return err
	})
	p := plan(60)
	p.Rate = 200 // so all are due within 300 ms
	r, err := Run(t.Context(), c, p)
	if err != nil || r.Answered() != 60 {
		t.Fatalf("got %+v, %v", r, err)
	}
	if least := r.Latencies[0]; least < stall-300*time.Millisecond {
		t.Errorf("the fastest took %s, though all had to wait at least %s", least, stall-300*time.Millisecond)
	}
	if r.Percentile(1) < stall {
		t.Errorf("the slowest took %s; the first had to wait %s", r.Percentile(1), stall)
	}
}

func TestASecondResultIsTold(t *testing.T) {
	t.Parallel()
	c := open(t)
	serve(t, c, func(ctx context.Context, m delivery.Message, entry string) error {
		for range 2 {
			if _, err := c.Publish(ctx, sub.Results, result(m, entry, "ok")); err != nil {
				return err
			}
		}
		return nil
	})
	r, err := Run(t.Context(), c, plan(3))
	if err != nil || r.Duplicates < 2 || r.Answered() != 3 { // the last one's may come too late to be seen
		t.Errorf("got %+v, %v", r, err)
	}
}

// Nobody serves: what was published is taken back, so that no host that comes
// later runs it.
func TestWithoutAHostNothingIsLeft(t *testing.T) {
	t.Parallel()
	c := open(t)
	p := plan(1500)
	p.Patience = time.Second
	r, err := Run(t.Context(), c, p)
	if !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v, want that no result came", err)
	}
	if r.Published == 0 || r.Removed != (Removed{Messages: int64(r.Published)}) {
		t.Errorf("got %+v", r)
	}
	length(t, c, sub.Stream, 0)
	if n, err := c.Commands().DBSize(t.Context()).Result(); err != nil || n > 3 { // stream, fence or owner of the group
		t.Errorf("%d keys are left, %v", n, err)
	}
}

// What a host has when we are interrupted is not taken from it.
func TestInterruptedItLeavesWhatAHostHas(t *testing.T) {
	t.Parallel()
	c := open(t)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	n := 0
	serve(t, c, func(ctx context.Context, m delivery.Message, entry string) error {
		if n++; n > 15 {
			interrupt()
			<-ctx.Done() // it never answers these
			return nil
		}
		_, err := c.Publish(ctx, sub.Results, result(m, entry, "ok"))
		return err
	})
	r, err := Run(ctx, c, plan(500))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	left := r.Removed.Left
	if left < 1 || left > 10 || r.Removed.Results != 15 || r.Removed.Messages != int64(r.Published)-left {
		t.Errorf("got %+v; the host has at most 10 in hand, and answered 15", r)
	}
	length(t, c, sub.Stream, left)
	length(t, c, sub.Results, 0)
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	r := Report{}
	for i := range 1000 {
		r.Latencies = append(r.Latencies, time.Duration(i+1)*time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		if got := r.Percentile(q); got != want*time.Millisecond {
			t.Errorf("percentile %v of 1 to 1000 ms is %s", q, got)
		}
	}
	if got := (&Report{}).Percentile(0.5); got != 0 {
		t.Errorf("of nothing: %s", got)
	}
}
