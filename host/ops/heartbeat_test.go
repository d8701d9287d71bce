package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fnhost/fnhost/host/hosttest"
)

// beats records what would be written, with the time since the start.
type beats struct {
	mu      sync.Mutex
	begin   time.Time
	healthy []string
	fail    bool
	got     []string
}

func (b *beats) set(roles ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.healthy = roles
}

func (b *beats) refuse(fail bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail = fail
}

func (b *beats) beat(_ context.Context, healthy, gone []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, fmt.Sprintf("%v +%v -%v", time.Since(b.begin), healthy, gone))
	if b.fail {
		return errors.New("refused")
	}
	return nil
}

func (b *beats) roles() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.healthy)
}

func TestHeartbeatTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &beats{begin: time.Now()}
		var reports []error
		h := newHeartbeats(HeartbeatConfig{
			Interval: 10 * time.Second, TTL: 30 * time.Second, Healthy: b.roles,
			Report: func(err error) { reports = append(reports, err) },
		}, b.beat)
		b.set("cm", "rag")
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		b.set("cm") // rag's plugin dies
		h.Poke()
		synctest.Wait()
		b.refuse(true)
		time.Sleep(6 * time.Second)
		b.set() // cm's too, and Redis does not answer
		time.Sleep(10 * time.Second)
		b.refuse(false)
		time.Sleep(10 * time.Second)
		b.set("rag")
		h.Poke()
		synctest.Wait()
		h.Stop()
		want := []string{
			"0s +[cm rag] -[]",
			"10s +[cm rag] -[]",
			"15s +[cm] -[rag]", // at once, not at the next interval
			"20s +[cm] -[]",    // lost
			"30s +[] -[cm]",    // lost
			"40s +[] -[cm]",    // so again
			"41s +[rag] -[]",
			"41s +[] -[rag]", // the stop
		}
		if !slices.Equal(b.got, want) {
			t.Errorf("beats\n%q\nwant\n%q", b.got, want)
		}
		if len(reports) != len(want) || reports[2] != nil || reports[3] == nil {
			t.Errorf("reports %v", reports)
		}
	})
}

func TestHeartbeatKeys(t *testing.T) {
	t.Parallel()
	client := hosttest.Redis(t).Client()
	b := &beats{}
	b.set("rag", "cm")
	h := NewHeartbeats(client, keys, HeartbeatConfig{Consumer: "host:1", TTL: time.Minute, Interval: time.Hour, Healthy: b.roles})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer h.Stop()
	there := func(role string) bool { return client.Get(t.Context(), keys.Heartbeat(role, "host:1")).Val() == "1" }
	eventually(t, "both roles have a heartbeat", func() bool { return there("rag") && there("cm") })
	if ttl := client.TTL(t.Context(), keys.Heartbeat("rag", "host:1")).Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("the heartbeat lives for %v, want a minute", ttl)
	}
	b.set("cm")
	h.Poke()
	eventually(t, "an unhealthy role has none", func() bool { return !there("rag") })
	if !there("cm") {
		t.Error("the healthy role has lost its heartbeat")
	}
	h.Stop()
	if there("cm") {
		t.Error("a heartbeat is left after the stop")
	}
}
