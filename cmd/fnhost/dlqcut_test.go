package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/stream"
)

// spawn runs a command line in a process of its own.
func (r *runner) spawn(args ...string) (cmd *exec.Cmd, stderr *strings.Builder) {
	r.t.Helper()
	cmd = exec.CommandContext(r.t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Env = append(cmd.Env, r.environ...)
	cmd.Dir = r.dir
	stderr = &strings.Builder{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return cmd, stderr
}

// buried is a Redis whose rag:dlq has n letters, m0 to m(n-1); some have more
// fields than a script can add.
func buried(t *testing.T, n int) (*runner, *stream.Client) {
	t.Helper()
	r, client := onRedis(t)
	r.run("topology", "init").want(t, exitOK)
	var many []string
	for i := range 4000 {
		many = append(many, "f", strconv.Itoa(i))
	}
	for i := range n {
		message := []string{"id", fmt.Sprint("m", i)}
		if i%100 == 7 {
			message = append(message, many...)
		}
		if _, err := client.Publish(t.Context(), "rag:dlq", letterFields("rag:tasks", fmt.Sprintf("%d-0", i+1), "boom", "fp", message...)); err != nil {
			t.Fatal(err)
		}
	}
	return r, client
}

// census counts how often each message is in the stream and in the queue
// together: each must be there once.
func census(t *testing.T, client *stream.Client, want int) (inStream, inQueue int) {
	t.Helper()
	seen := map[string]int{}
	count := func(name string) (n int) {
		for last := "-"; ; {
			entries, err := client.Range(t.Context(), name, last, "+", 200)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				seen[e.Fields[1]]++
				n, last = n+1, "("+e.ID
			}
			if len(entries) == 0 {
				return n
			}
		}
	}
	// What is moved while we count is seen in the stream, or in both, never in none.
	inQueue, inStream = count("rag:dlq"), count("rag:tasks")
	for id, n := range seen {
		if n != 1 {
			t.Errorf("message %s is there %d times", id, n)
		}
	}
	if len(seen) != want {
		t.Errorf("%d messages are there, want %d", len(seen), want)
	}
	return inStream, inQueue
}

// awaits waits for a condition.
func awaits(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			t.Fatal("waited in vain until " + what)
		case <-time.After(time.Millisecond):
		}
	}
}

// queued is how many letters there are.
func queued(t *testing.T, client *stream.Client) int {
	t.Helper()
	n, err := client.Len(t.Context(), "rag:dlq")
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// A requeue that is killed at any moment has lost nothing and doubled nothing.
func TestKilledRequeue(t *testing.T) {
	t.Parallel()
	const n = 300
	r, client := buried(t, n)
	kills := 0
	for ; kills < 5; kills++ {
		before := queued(t, client)
		cmd, _ := r.spawn("dlq", "requeue", "rag", "--all", "--yes", "--rate", "3000")
		awaits(t, "the requeue is under way", func() bool { return queued(t, client) <= max(0, before-1-7*kills) })
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err == nil {
			break // on a busy machine it was faster
		}
	}
	if kills == 0 {
		t.Error("it was never killed")
	}
	r.run("dlq", "requeue", "rag", "--all", "--yes").want(t, exitOK)
	if inStream, inQueue := census(t, client, n); inStream != n || inQueue != 0 {
		t.Errorf("%d in the stream, %d in the queue", inStream, inQueue)
	}
}

// Ctrl-C says how far it is, and the next run does the rest.
func TestInterruptedRequeue(t *testing.T) {
	t.Parallel()
	const n = 60
	r, client := buried(t, n)
	cmd, stderr := r.spawn("dlq", "requeue", "rag", "--all", "--yes", "--rate", "50/s")
	awaits(t, "the requeue is under way", func() bool { return queued(t, client) <= n-5 })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code says it
	inStream, _ := census(t, client, n)
	if want := fmt.Sprintf("interrupted: %d requeued of %d dead letters", inStream, n); cmd.ProcessState.ExitCode() != exitInterrupted || !strings.Contains(stderr.String(), want) {
		t.Errorf("exit code %d, want 130 and %q:\n%s", cmd.ProcessState.ExitCode(), want, stderr)
	}
	r.run("dlq", "requeue", "rag", "--all", "--yes").want(t, exitOK)
	if inStream, inQueue := census(t, client, n); inStream != n || inQueue != 0 {
		t.Errorf("%d in the stream, %d in the queue", inStream, inQueue)
	}
}

func TestTwoRequeuesAtOnce(t *testing.T) {
	t.Parallel()
	const n = 200
	r, client := buried(t, n)
	a, aErr := r.spawn("dlq", "requeue", "rag", "--all", "--yes")
	b, bErr := r.spawn("dlq", "redrive", "rag", "--reason", "permanent", "--yes")
	_ = a.Wait()
	_ = b.Wait()
	if inStream, inQueue := census(t, client, n); inStream != n || inQueue != 0 {
		t.Errorf("%d in the stream, %d in the queue\n%s\n%s", inStream, inQueue, aErr, bErr)
	}
}

func TestRequeueMayNot(t *testing.T) {
	t.Parallel()
	r, client, _ := withLetters(t, 3)
	if err := client.Commands().Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">pw", "+@all", "%R~agentic:*").Err(); err != nil {
		t.Fatal(err)
	}
	r.environ = append(r.environ, strings.Replace(r.environ[len(r.environ)-1], "redis://", "redis://reader:pw@", 1))
	r.run("dlq", "list", "rag").want(t, exitOK)
	r.run("dlq", "requeue", "rag", "--all", "--yes").want(t, exitConfirm, "may not", "every command")
	r.run("dlq", "discard", "rag", "--all", "--yes").want(t, exitConfirm, "may not", "every command")
	if n := queued(t, client); n != 3 {
		t.Errorf("%d letters are left", n)
	}
}
