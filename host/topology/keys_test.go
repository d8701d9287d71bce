package topology

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	k := Keys{Namespace: "agentic"}
	older := Keys{Namespace: "{agentic}", IdempPrefix: "locks:idemp"}
	own := Subscription{Stream: "rag:tasks", Group: "rag-workers", Own: true}
	further := Subscription{Stream: "rag:tasks", Group: "spies"}
	at := time.Date(2026, 3, 4, 5, 6, 59, 0, time.FixedZone("", 3600))
	for _, tt := range []struct{ got, want string }{
		{k.Stream("rag:tasks"), "agentic:rag:tasks"},
		{k.Lock(own, "5-1"), "agentic:ops:idemp:rag:tasks:5-1"},
		{k.Lock(further, "5-1"), "agentic:ops:idemp:rag:tasks:spies:5-1"},
		{k.LockPrefix(own), "agentic:ops:idemp:rag:tasks:"},
		{older.Lock(own, "5-1"), "{agentic}:locks:idemp:rag:tasks:5-1"},
		{k.Fence("rag:tasks"), "agentic:ops:fence:rag:tasks"},
		{k.Floor("rag:tasks", "rag-workers"), "agentic:ops:floor:rag:tasks:rag-workers"},
		{k.Delayed("rag:tasks", "rag-workers"), "agentic:ops:delayed:rag:tasks:rag-workers"},
		{k.Later("rag:tasks"), "agentic:ops:later:rag:tasks"},
		{k.Stats("rag", at), "agentic:ops:stats:rag:m:202603040406"},
		{k.Heartbeat("rag", "host-1:ab12"), "agentic:ops:hb:rag:host-1:ab12"},
		{k.Heartbeats("rag"), "agentic:ops:hb:rag:*"},
		{k.Owner("rag:tasks"), "agentic:ops:owner:rag:tasks"},
		{k.State("rag", "a:b"), "agentic:state:rag:a:b"},
		{k.Cache("rag", "chunks:d1"), "agentic:cache:rag:chunks:d1"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	if name, ok := k.Name("agentic:rag:tasks"); !ok || name != "rag:tasks" {
		t.Errorf("Name gives %q, %v", name, ok)
	}
	if _, ok := k.Name("agentical:rag:tasks"); ok {
		t.Error("a key of another namespace has a name in ours")
	}
}

// names are chosen to collide: each is another with a part more or less.
var (
	nastyRoles    = []string{"a", "b", "m", "tasks", "idemp"}
	nastyStreams  = []string{"a", "a:b", "a:b:c", "b", "b:c", "a:1-0", "m", "a:m", "idemp", "idemp:a", "idemp:a:b", "idemp:a:1-0", "a-b", "hb:a", "later:a"}
	takenStreams  = []string{"state:a:a", "ops:fence:a", "audit:events", "cache:b:a"}
	nastyGroups   = []string{"a", "b", "c", "1-0", "m", "a-b"}
	nastyPrefixes = []string{"", "idemp", "idemp:a", "locks:idemp", "ops:x", "a", "a:b", "ops", "ops:hb", "state"}
)

// FuzzKeysNeverCollide makes topologies of such names, and lists every key of
// those that New and CheckKeys let pass: no two things may have the same key.
func FuzzKeysNeverCollide(f *testing.F) {
	for seed := range uint64(3000) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		topo, k, ok := randomTopology(rand.New(rand.NewPCG(seed, 0)))
		if !ok {
			t.Skip()
		}
		owners := map[string]string{}
		visitKeys(topo, k, func(key, owner string) {
			if first, taken := owners[key]; taken && first != owner {
				t.Errorf("%s and %s have the same key %q (prefix %q, roles %+v)", first, owner, key, k.IdempPrefix, topo.Roles())
			}
			owners[key] = owner
		})
	})
}

// TestTheFuzzedTopologiesPass keeps the fuzz test from proving nothing.
func TestTheFuzzedTopologiesPass(t *testing.T) {
	t.Parallel()
	valid, further := 0, 0
	for seed := range uint64(3000) {
		topo, _, ok := randomTopology(rand.New(rand.NewPCG(seed, 0)))
		if !ok {
			continue
		}
		valid++
		for sub := range topo.subscriptions() {
			if !sub.Own {
				further++
			}
		}
	}
	if valid < 200 || further < 20 {
		t.Errorf("only %d valid topologies with %d further groups", valid, further)
	}
}

func randomTopology(r *rand.Rand) (*Topology, Keys, bool) {
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	stream := func() string {
		if r.IntN(20) == 0 {
			return pick(takenStreams)
		}
		return pick(nastyStreams)
	}
	var roles []Role
	for range 1 + r.IntN(3) {
		role := Default(pick(nastyRoles))
		role.Subscriptions = nil
		for range 1 + r.IntN(2) {
			role.Subscriptions = append(role.Subscriptions, Subscription{Stream: stream(), Group: pick(nastyGroups), Results: stream()})
		}
		if r.IntN(2) == 0 {
			role.DLQ = stream()
		}
		roles = append(roles, role)
	}
	k := Keys{Namespace: "n", IdempPrefix: pick(nastyPrefixes)}
	topo, err := New(roles, stream())
	if err != nil || topo.CheckKeys(k) != nil {
		return nil, k, false
	}
	return topo, k, true
}

// visitKeys names every key that a host would use for the topology.
func visitKeys(topo *Topology, k Keys, visit func(key, owner string)) {
	for _, stream := range append(topo.streams(), AuditEvents, AuditSpans, OpsHealth) {
		if stream != "" {
			visit(k.Stream(stream), "stream "+stream)
			visit(k.Later(stream), "later "+stream)
		}
	}
	for sub := range topo.subscriptions() {
		visit(k.Fence(sub.Stream), "fence "+sub.Stream)
		visit(k.Owner(sub.Stream), "owner "+sub.Stream)
		visit(k.Floor(sub.Stream, sub.Group), fmt.Sprintf("floor %q %q", sub.Stream, sub.Group))
		visit(k.Delayed(sub.Stream, sub.Group), fmt.Sprintf("delayed %q %q", sub.Stream, sub.Group))
		for _, id := range []string{"1-0", "2-0"} {
			visit(k.Lock(*sub, id), fmt.Sprintf("lock %q %q %s", sub.Stream, sub.Group, id))
		}
	}
	for _, role := range topo.Roles() {
		visit(k.Stats(role.Name, time.Unix(0, 0)), "stats "+role.Name)
		for _, x := range []string{"a", "a:b", "m:197001010000", "tasks", "1-0", "b:1-0"} {
			visit(k.Heartbeat(role.Name, x), fmt.Sprintf("heartbeat %q %q", role.Name, x))
			visit(k.State(role.Name, x), fmt.Sprintf("state %q %q", role.Name, x))
			visit(k.Cache(role.Name, x), fmt.Sprintf("cache %q %q", role.Name, x))
		}
	}
}
