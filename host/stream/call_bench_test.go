package stream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// BenchmarkCommitCall writes the arguments of a commit of 128 messages with a
// result each; an operation is a message. Nothing is sent.
func BenchmarkCommitCall(b *testing.B) {
	c, err := Open(Options{URL: "redis://127.0.0.1:1", Namespace: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	l := c.Log(sub, LogOptions{Owner: me, Lease: time.Minute, DoneTTL: time.Minute})
	commits, out := make([]delivery.Commit, maxBatch), make([]delivery.CommitResult, maxBatch)
	for i := range commits {
		id := fmt.Sprintf("1795546835822-%d", i)
		commits[i] = delivery.Commit{
			Held: delivery.Held{ID: id, Grant: delivery.Grant{Fence: uint64(i + 1), Attempt: 1}}, Outcome: delivery.StatusOK, Latency: time.Millisecond,
			Adds: []delivery.Add{{Stream: sub.Results, Fields: []string{
				"id", sub.Stream + "/" + id, "type", "t.result", "source", "/fnhost/rag", "time", "2026-11-24T19:00:35.827368Z",
				"correlationid", id, "causationid", id, "entryid", id, "status", "ok", "attempt", "1", "data", strings.Repeat("x", 240),
			}}},
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(commits) {
		batches := l.batches(commits, out)
		if call := l.commitCall(commits, batches[0]); len(batches) != 1 || len(call.args) == 0 {
			b.Fatalf("%d batches", len(batches))
		}
	}
}
