package delivery

import (
	"strings"
	"testing"
	"time"
)

// benchEntry is a message as a producer that knows CloudEvents writes it.
var benchEntry = Entry{ID: "1795546835822-0", Fields: []string{
	"id", "order-17", "type", "echo.say", "source", "/shop", "time", "2026-11-24T19:00:35.822031Z",
	"traceparent", "00-a523373f3a44d8ba29a26bb9a38793e3-4bd4ecfbb6bc452b-01", "datacontenttype", "application/json",
	"partitionkey", "customer-4", "data", strings.Repeat("x", 240),
}}

// BenchmarkRead reads an entry as a message.
func BenchmarkRead(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if m := Read(&benchEntry); m.ID != "order-17" {
			b.Fatalf("got %+v", m)
		}
	}
}

// BenchmarkResultFields writes a result entry.
func BenchmarkResultFields(b *testing.B) {
	d := &Delivery{Stream: "echo:tasks", Entry: benchEntry, Grant: Grant{Fence: 1, Attempt: 1}, Message: Read(&benchEntry)}
	r := Result{Role: "echo", At: time.Now(), Status: StatusOK, Data: []byte(benchEntry.Fields[len(benchEntry.Fields)-1]), ContentType: "application/json"}
	b.ReportAllocs()
	for b.Loop() {
		if fields := r.Fields(d); len(fields) < 10 {
			b.Fatalf("got %q", fields)
		}
	}
}
