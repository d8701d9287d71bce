package hosttest

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// through gives a client that sends nothing twice, by way of a proxy, and one that
// goes past it.
func through(t *testing.T) (p *Proxy, c, direct *redis.Client) {
	t.Helper()
	s := Redis(t)
	p = NewProxy(t, s.Addr())
	c = redis.NewClient(&redis.Options{Addr: p.Addr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1, ReadTimeout: 2 * time.Second})
	t.Cleanup(func() { _ = c.Close() })
	return p, c, s.Client()
}

func named(name string) func([]string) bool {
	return func(command []string) bool { return command[0] == name }
}

func TestProxyCuts(t *testing.T) {
	t.Parallel()
	p, c, direct := through(t)
	for _, test := range []struct {
		name     string
		fault    Fault
		executed string
	}{
		{"before", CutBefore, ""}, {"after", CutAfter, "1"}, {"mid", CutMid, "1"},
	} {
		direct.Del(t.Context(), "n")
		rule := p.Add(&Rule{Match: named("INCR"), Fault: test.fault, Times: 1})
		err := c.Incr(t.Context(), "n").Err()
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: the client is told %v, want an end of the connection", test.name, err)
		}
		if got := direct.Get(t.Context(), "n").Val(); got != test.executed {
			t.Errorf("%s: n is %q, want %q", test.name, got, test.executed)
		}
		if rule.Done() != 1 {
			t.Errorf("%s: it happened %d times", test.name, rule.Done())
		}
		if err := c.Incr(t.Context(), "n").Err(); err != nil {
			t.Errorf("%s: the next request fails: %v", test.name, err)
		}
	}
}

func TestProxyAnswers(t *testing.T) {
	t.Parallel()
	p, c, direct := through(t)
	rule := p.Add(&Rule{Match: named("SET"), Skip: 1, Fault: Answer("LOADING wait")})
	pipe := c.Pipeline()
	var cmds []redis.Cmder
	for _, key := range []string{"a", "b", "c"} {
		cmds = append(cmds, pipe.Set(t.Context(), key, key, 0), pipe.Get(t.Context(), key))
	}
	_, _ = pipe.Exec(t.Context())
	for i, want := range []string{"", "", "LOADING wait", "redis: nil", "LOADING wait", "redis: nil"} {
		if got := cmds[i].Err(); got != nil && got.Error() != want || got == nil && want != "" {
			t.Errorf("%v: %v, want %q", cmds[i].Args(), got, want)
		}
	}
	p.Remove(rule)
	if err := c.Set(t.Context(), "b", "1", 0).Err(); err != nil {
		t.Error(err)
	}
	if got := direct.Exists(t.Context(), "a", "b", "c").Val(); got != 2 {
		t.Errorf("%d keys, want a and b", got)
	}
	if got := p.Passed("SET"); got != 2 {
		t.Errorf("%d SET were passed on, want 2", got)
	}
}

func TestProxyStandsStill(t *testing.T) {
	t.Parallel()
	p, c, direct := through(t)
	p.Freeze()
	answered := make(chan error, 1)
	go func() { answered <- c.Set(t.Context(), "k", "v", 0).Err() }()
	select {
	case err := <-answered:
		t.Fatalf("it was answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.Thaw()
	if err := <-answered; err != nil {
		t.Errorf("after it went on: %v", err)
	}
	p.Add(&Rule{Match: named("APPEND"), Fault: Swallow, Times: 1})
	if err := c.Append(t.Context(), "k", "w").Err(); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("a request without an answer ends with %v, want a timeout", err)
	}
	if got := direct.Get(t.Context(), "k").Val(); got != "vw" {
		t.Errorf("k is %q", got)
	}
}

func TestProxyLeadsElsewhere(t *testing.T) {
	t.Parallel()
	p, c, _ := through(t)
	if err := c.Set(t.Context(), "k", "here", 0).Err(); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("a proxy that refuses answers")
	}
	p.Refuse(false)
	other := Redis(t)
	p.Retarget(other.Addr())
	var err error
	for range 3 { // the first may meet a connection that was cut
		if err = c.Set(t.Context(), "k", "there", 0).Err(); err == nil {
			break
		}
	}
	if got := other.Client().Get(t.Context(), "k").Val(); got != "there" {
		t.Errorf("the other server has %q: %v", got, err)
	}
}
