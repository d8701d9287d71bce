package stream

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest"
)

// replicated gives a primary with a replica that follows it.
func replicated(t *testing.T) (*world, *hosttest.RedisServer) {
	t.Helper()
	w := onReal(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(w.srv.Addr())
	replica := hosttest.Redis(t, "--replicaof", host+" "+port)
	w.eventually("the replica follows", func() bool {
		return strings.Contains(w.rdb.Info(t.Context(), "replication").Val(), "state=online")
	})
	return w, replica
}

func TestACommitWaitsForItsReplica(t *testing.T) {
	t.Parallel()
	w, replica := replicated(t)
	l := w.log(me, time.Minute)
	l.o.Durability = Durability{Replicas: 1}
	w.publish(300)
	held := w.begun(l, 300)
	there := replica.Client()
	w.do("SCRIPT", "FLUSH") // a script that is not known is no way around
	var commits []delivery.Commit
	for _, h := range held[:299] { // several scripts
		commits = append(commits, done(h))
	}
	w.commit(l, commits...)
	if n := there.XLen(t.Context(), w.c.keys.Stream(sub.Results)).Val(); n != 299 {
		t.Errorf("the replica has %d results, want 299", n)
	}

	replica.Pause()
	_, err := l.Commit(t.Context(), []delivery.Commit{done(held[299])})
	if !errors.Is(err, ErrUnconfirmed) || !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "FNHOST_DURABILITY") {
		t.Fatalf("with the replica stopped: %v, want ErrUnconfirmed", err)
	}
	if _, err = l.Commit(t.Context(), []delivery.Commit{done(held[299])}); !errors.Is(err, ErrUnconfirmed) {
		t.Errorf("asked again: %v, want ErrUnconfirmed: a repetition is no confirmation", err)
	}
	replica.Resume()
	results := w.commit(l, done(held[299]))
	w.wantStatuses(results, delivery.Committed)
	if all := there.XRange(t.Context(), w.c.keys.Stream(sub.Results), results[0].Entry, "+").Val(); len(all) != 1 {
		t.Errorf("the replica has %d entries from the last result on, want 1", len(all))
	}
	if n := len(w.results()); n != 300 {
		t.Errorf("%d results, want 300", n)
	}
}

func TestDurabilityIsCheckedAtTheStart(t *testing.T) {
	t.Parallel()
	w, replica := replicated(t)
	for replicas, want := range map[int]int{0: 0, 1: 0, 3: 2} {
		w.eventually("the replicas are counted", func() bool {
			lacking, err := w.c.CheckDurability(t.Context(), Durability{Replicas: replicas})
			return err == nil && lacking == want
		})
	}
	replica.Kill()
	if info, _ := w.c.Info(t.Context()); strings.HasPrefix(info.Version, "6.") || strings.HasPrefix(info.Version, "7.0") {
		_, err := w.c.CheckDurability(t.Context(), Durability{AOF: true})
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "Redis 7.2") {
			t.Errorf("waitaof on redis %s: %v", info.Version, err)
		}
		return
	}
	if _, err := w.c.CheckDurability(t.Context(), Durability{AOF: true}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "appendonly") {
		t.Errorf("waitaof without an append-only file: %v", err)
	}
}

// On a server that does not know WAITAOF a commit never counts as durable: the
// host refuses to start there, and says why.
func TestACommitWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	w := onReal(t, "--appendonly", "yes", "--appendfsync", "everysec")
	l := w.log(me, time.Minute)
	l.o.Durability = Durability{AOF: true}
	_, unknown := w.c.CheckDurability(t.Context(), l.o.Durability)
	w.publish(1)
	held := w.begun(l, 1)
	if errors.Is(unknown, ErrConfig) {
		if results, err := l.Commit(t.Context(), []delivery.Commit{done(held[0])}); err == nil {
			t.Errorf("a commit that cannot wait: %+v, %v", results, err)
		}
		return
	}
	w.wantStatuses(w.commit(l, done(held[0])), delivery.Committed)
	w.srv.Kill()
	w.srv.Restart()
	if n := len(w.results()); n != 1 {
		t.Errorf("%d results after a crash, want 1", n)
	}
}

func TestTheAnswerOfWAITAOF(t *testing.T) {
	t.Parallel()
	for answer, confirmed := range map[[2]int64]bool{{1, 0}: true, {1, 2}: true, {0, 0}: false, {0, 2}: false} {
		cmd := redis.NewCmd(t.Context())
		cmd.SetVal([]any{answer[0], answer[1]}) // on this server's disk, and on replicas'
		err := Durability{AOF: true}.confirmed(cmd)
		if (err == nil) != confirmed || err != nil && !errors.Is(err, ErrUnconfirmed) {
			t.Errorf("%v: %v", answer, err)
		}
	}
}
