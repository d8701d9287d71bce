package main

import (
	"strings"
	"testing"
	"time"
)

func TestBenchRefusesWhatItCannotMeasure(t *testing.T) {
	t.Parallel()
	r := newRunner(t, nowhere)
	for args, stderr := range map[string]string{
		"bench":                                 "wants a role",
		"bench echo --messages 0":               "nothing to measure",
		"bench echo --size 1":                   "2 to 67108864 bytes",
		"bench echo --size 9 --data {}":         "give one of them",
		"bench echo --data {":                   "not JSON",
		"bench echo --rate -1":                  "no such rate",
		"bench echo --timeout 0s":               "no result can come",
		"bench echo --messages many":            "many",
		"bench echo --mesages 10 --rate 100000": "did you mean --messages",
	} {
		r.run(strings.Fields(args)...).want(t, exitUsage, stderr)
	}
	r.run("bench", "rag").want(t, exitRedis, "127.0.0.1:1")
}

func TestBenchRefusesAStreamWithEntries(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	r.run("bench", "ragg").want(t, exitNotFound, "did you mean rag?")
	r.run("bench", "rag").want(t, exitConflict, "no host serves role rag", "fnhost check rag")
	if _, err := client.Publish(t.Context(), "rag:tasks", []string{"type", "work"}); err != nil {
		t.Fatal(err)
	}
	r.run("bench", "rag").want(t, exitConflict, "rag:tasks has 1 entries", "REDIS_NAMESPACE", "--force")
	r.environ = append(r.environ, "OPS_HB_ENABLED=0") // as if served by hosts without heartbeats
	r.run("topology", "init").want(t, exitOK)
	d := r.run("bench", "rag", "--force", "-n", "10", "--timeout", "100ms", "-o", "json")
	d.want(t, exitTimeout, "0 of 10 messages were answered", "fnhost check rag", `"timeout"`, "10 messages, 0 results")
	if n, err := client.Len(t.Context(), "rag:tasks"); err != nil || n != 1 || d.stdout != "" {
		t.Errorf("%d entries, %v; the one of others must be left: stdout %q", n, err, d.stdout)
	}
}

// A host that keeps heartbeats, and whose plugin does not answer, is waited for.
func TestBenchSeesAHost(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	r.run("topology", "init").want(t, exitOK)
	if err := client.Commands().Set(t.Context(), client.Keys().Heartbeat("rag", "host:1"), "1", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	r.run("bench", "rag", "-n", "1", "--timeout", "100ms").want(t, exitTimeout)
}
