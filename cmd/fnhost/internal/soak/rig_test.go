package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/topology"
)

// patience is how long a soak waits for what has to come, much longer than it
// takes on a busy machine.
const patience = 90 * time.Second

// silence is for the client's log: that a server cannot be reached is what is
// wanted here.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

var keys = topology.Keys{Namespace: "soak"}

// A rig is a redis-server, some hosts, and all that is known of them from
// outside.
type rig struct {
	t       *testing.T
	dir     string
	server  *hosttest.RedisServer
	rdb     *redis.Client
	env     []string
	journal *journal
	history *hosttest.History
	growth  growth
	report  report
	killed  sync.Map // processes that we have ended

	// Faults that would undo each other are kept apart.
	endings sync.Mutex // of hosts
	servers sync.Mutex // the server's

	mu     sync.Mutex
	plans  []plan
	hosts  []*host // by their place; replaced when one is started anew
	gone   []*host // those that were replaced
	births int
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	}
	server := hosttest.Redis(t, hosttest.AppendOnly...)
	r := &rig{
		t: t, dir: dir, server: server, journal: newJournal(filepath.Join(dir, "executions.jsonl")), history: &hosttest.History{},
		// It never adds an entry twice by trying again, and sits out a stalled server.
		rdb: redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2, DisableIdentity: true, MaxRetries: -1, ReadTimeout: patience, WriteTimeout: patience}),
		env: []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + built, "FNHOST_METRICS_ADDR=127.0.0.1:0", "FNHOST_ADMIN_ADDR=off",
			"REDIS_URL=" + server.URL(), "REDIS_NAMESPACE=" + keys.Namespace, "OPS_LEASE_TTL=" + lease.String(),
			"FNHOST_PLUGIN_DIR=" + filepath.Join(dir, "plugins"), "REDIS_RETRY_BACKOFF_MS=50",
		},
	}
	t.Cleanup(func() { _ = r.rdb.Close() })
	for _, name := range []string{"echo", "probe"} {
		r.must(os.MkdirAll(filepath.Join(dir, "plugins"), 0o755))
		r.must(os.Symlink(filepath.Join(built, name), filepath.Join(dir, "plugins", name)))
	}
	settings := fmt.Sprintf("roles:\n  probe:\n    concurrency: 32\n    plugin:\n      settings:\n        executions: %q\n", r.journal.path)
	r.must(os.WriteFile(filepath.Join(dir, "fnhost.yaml"), []byte(settings), 0o600))
	t.Cleanup(r.end)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// start starts a host in a place.
func (r *rig) start(place int) (*host, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.births++
	name := fmt.Sprintf("host-%d-%d", place, r.births)
	h, err := startHost(name, r.dir, append(r.env[:len(r.env):len(r.env)], "FNHOST_STATE_DIR="+filepath.Join(r.dir, "state-"+strconv.Itoa(place))))
	if err != nil {
		return nil, err
	}
	if place == len(r.hosts) {
		r.hosts = append(r.hosts, h)
		return h, nil
	}
	r.gone = append(r.gone, r.hosts[place])
	r.hosts[place] = h
	return h, nil
}

// host gives the host in a place.
func (r *rig) host(place int) *host {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hosts[place]
}

// every gives all hosts that run.
func (r *rig) every() (running []*host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.hosts {
		if h.alive() {
			running = append(running, h)
		}
	}
	return running
}

// end ends what still runs, and shows the logs of a test that has failed.
func (r *rig) end() {
	for _, h := range r.every() {
		h.kill()
	}
	if !r.t.Failed() || *keep != "" {
		return
	}
	for _, h := range append(r.gone, r.hosts...) {
		log, _ := os.ReadFile(filepath.Join(r.dir, h.name+".log"))
		r.t.Logf("end of the log of %s:\n%s", h.name, log[max(0, len(log)-4<<10):])
	}
}

// until waits for a condition; what says how far it is.
func (r *rig) until(limit time.Duration, what func() string, holds func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(limit); !holds(); {
		select {
		case <-tick.C:
		case <-late:
			return fmt.Errorf("after %s: %s", limit, what())
		case <-r.t.Context().Done():
			return r.t.Context().Err()
		}
	}
	return nil
}

// publish adds a message for each plan, and gives the ids of those that are
// known to be in the stream. If an answer is lost the message is sent again:
// then the stream may have it twice, as two messages.
func (r *rig) publish(ctx context.Context, plans []plan) (ids []string) {
	for len(plans) > 0 && ctx.Err() == nil {
		added, err := r.add(ctx, plans)
		ids = append(ids, added...)
		plans = plans[len(added):]
		if err != nil {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return ids
}

// add adds messages until one fails.
func (r *rig) add(ctx context.Context, plans []plan) (ids []string, err error) {
	r.mu.Lock()
	first := len(r.plans)
	r.plans = append(r.plans, plans...)
	r.mu.Unlock()
	cmds, _ := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error { // each has its own error
		for i, plan := range plans {
			p.XAdd(ctx, &redis.XAddArgs{Stream: keys.Stream("probe:tasks"), Values: plan.entry("soak-" + strconv.Itoa(first+i))})
		}
		return nil
	})
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			return ids, err
		}
		id := cmd.(*redis.StringCmd).Val()
		r.history.Published(id)
		ids = append(ids, id)
	}
	return ids, nil
}

// load publishes n messages in bursts, evenly over a time. which is how many of
// kinds are in question.
func (r *rig) load(ctx context.Context, rnd *rand.Rand, which, n int, over time.Duration, poisons int) {
	begun, every := time.Now(), n
	if poisons > 0 {
		every = n / (poisons + 1)
	}
	for done := 0; done < n && ctx.Err() == nil; {
		burst := make([]plan, min(n-done, 1+rnd.IntN(60)))
		for i := range burst {
			burst[i] = drawn(rnd, which)
			if at := done + i; poisons > 0 && at%every == every-1 {
				burst[i] = plan{data: map[string]any{}}
				poisonous(&burst[i])
				poisons--
			}
		}
		r.publish(ctx, burst)
		done += len(burst)
		due := begun.Add(time.Duration(int64(over) * int64(done) / int64(n)))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
		}
	}
}

// settle waits until nothing waits any more.
func (r *rig) settle() error {
	left, begun := "nothing was looked at", time.Now()
	defer func() { r.report.say("nothing waited any more after %s", time.Since(begun).Round(time.Millisecond)) }()
	return r.until(3*patience, func() string { return "messages wait: " + left }, func() bool {
		var n int64
		n, left = r.waiting()
		return n == 0
	})
}

// waiting counts what has no outcome yet, in both roles.
func (r *rig) waiting() (total int64, what string) {
	ctx := r.t.Context()
	for _, role := range []string{"probe", "echo"} {
		stream, group := role+":tasks", role+"-workers"
		infos, err := r.rdb.XInfoGroups(ctx, keys.Stream(stream)).Result()
		if err != nil || len(infos) != 1 {
			return 1, fmt.Sprintf("%v %v", infos, err)
		}
		// Not the group's lag: after a kill -9 a server of 7.0 counts it wrong.
		unread, err0 := r.rdb.XRangeN(ctx, keys.Stream(stream), "("+infos[0].LastDeliveredID, "+", 1).Result()
		later, err1 := r.rdb.ZCard(ctx, keys.Later(stream)).Result()
		parked, err2 := r.rdb.ZCard(ctx, keys.Delayed(stream, group)).Result()
		if err := errors.Join(err0, err1, err2); err != nil {
			return 1, err.Error()
		}
		total += infos[0].Pending + int64(len(unread)) + later + parked
		what += fmt.Sprintf("%s: pending %d, unread %t, for later %d, parked %d; ", stream, infos[0].Pending, len(unread) > 0, later, parked)
	}
	return total, what
}
