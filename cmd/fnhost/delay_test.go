package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

func TestPublishForLater(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	r.run("publish", "rag", "--data", "{}", "--delay", "-1s").want(t, exitUsage, "before now")
	r.run("publish", "rag", "--data", "{}", "--delay", "1s", "--wait").want(t, exitUsage, "--wait", "--delay")
	before := time.Now()
	d := r.run("publish", "rag", "--type", "rag.query", "--data", `{"query":"x"}`, "--delay", "2s", "-o", "json")
	d.want(t, exitOK)
	p := decode[publication](t, d.stdout)
	if p.Entry != "" || p.ID == "" || p.Due.Before(before.Add(1900*time.Millisecond)) {
		t.Errorf("publish says %+v", p)
	}
	if d := r.run("publish", "rag", "--data", "{}", "--delay", "1h"); !strings.Contains(d.stdout, "due 2") {
		t.Errorf("publish says:\n%s", d.stdout)
	}
	if n, err := client.Len(t.Context(), "rag:tasks"); err != nil || n != 0 {
		t.Errorf("%d entries at once, %v", n, err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		promoted, err := client.Promote(t.Context(), []string{"rag:tasks"})
		if err != nil {
			t.Fatal(err)
		}
		if promoted.Added > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it never appeared")
		}
	}
	entries, err := client.Range(t.Context(), "rag:tasks", "-", "+", 10)
	if err != nil || len(entries) != 1 {
		t.Fatalf("entries %v, %v", entries, err)
	}
	if m := delivery.Read(&entries[0]); m.ID != p.ID || m.Type != "rag.query" || m.Data != `{"query":"x"}` {
		t.Errorf("on the stream: %+v", m)
	}
}
