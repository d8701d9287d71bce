package embedded

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) (*Server, *redis.Client) {
	t.Helper()
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	o, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatalf("its URL cannot be used: %v", err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s, c
}

func TestKeysExpireByThemselves(t *testing.T) {
	_, c := start(t)
	if err := c.Set(t.Context(), "k", "v", 20*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := c.Get(t.Context(), "k").Result(); errors.Is(err, redis.Nil) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a key with a life of 20 ms is still there after 10 s")
		}
	}
}

func TestItsClockMoves(t *testing.T) {
	_, c := start(t)
	first, err := c.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	if off := time.Since(first); off < 0 || off > time.Minute {
		t.Errorf("its clock is off by %s", off)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if now := c.Time(t.Context()).Val(); now.After(first) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("TIME stands still")
		}
	}
}

func TestAnAddressInUseIsAnErrorThatNamesIt(t *testing.T) {
	s, _ := start(t)
	if _, err := StartAt(s.Addr()); err == nil || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("error is %v; want one that names %s", err, s.Addr())
	}
}
