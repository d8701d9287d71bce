package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/stream"
)

// letterFields are those of a dead letter, after the message's own.
func letterFields(origin, id, problem, fingerprint string, message ...string) []string {
	return append(slices.Clone(message), "dlqreason", "permanent", "dlqerror", problem, "dlqerrortype", "permanent", "dlqfingerprint", fingerprint,
		"dlqstream", origin, "dlqid", id, "dlqattempts", "3", "dlqtime", time.Now().UTC().Format(time.RFC3339Nano))
}

// withLetters gives a Redis whose rag:dlq has n letters, of two kinds.
func withLetters(t *testing.T, n int) (*runner, *stream.Client, []string) {
	t.Helper()
	r, client := onRedis(t)
	r.run("topology", "init").want(t, exitOK)
	ids := make([]string, n)
	for i := range ids {
		kind := i % 2
		id, err := client.Publish(t.Context(), "rag:dlq", letterFields("rag:tasks", fmt.Sprintf("%d-0", i+1),
			fmt.Sprintf("problem %d", kind), fmt.Sprintf("fp%d", kind), "type", fmt.Sprintf("t%d", kind), "id", fmt.Sprint("m", i), "data", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id
	}
	return r, client, ids
}

func TestDLQListAndGroup(t *testing.T) {
	t.Parallel()
	r, _, ids := withLetters(t, 5)
	all := decode[list[letter]](t, r.run("dlq", "list", "rag", "-o", "json").stdout).Items
	if len(all) != 5 || all[0].ID != ids[4] || all[0].Error != "problem 0" || all[0].Attempts != 3 {
		t.Errorf("list: got %+v", all)
	}
	for filter, want := range map[string]int{"--type t1": 2, "--group fp0": 3, "--text PROBLEM": 5, "--error PROBLEM": 5, "--error {}": 0, "--text {}": 5, "--stream rag": 5, "--stream persist:tasks": 0, "--until 1h": 0, "--since 2d --until 0s --type t0": 3, "--since 1h": 5, "--reason poison": 0, "--limit 2": 2} {
		args := append([]string{"dlq", "list", "rag", "-o", "json"}, strings.Fields(filter)...)
		if got := decode[list[letter]](t, r.run(args...).stdout).Items; len(got) != want {
			t.Errorf("%s: %d letters, want %d", filter, len(got), want)
		}
	}
	groups := decode[list[letterGroup]](t, r.run("dlq", "group", "rag:dlq", "-o", "json").stdout).Items
	if len(groups) != 2 || groups[0].Fingerprint != "fp0" || groups[0].Count != 3 || groups[1].Count != 2 {
		t.Errorf("group: got %+v", groups)
	}
	for _, command := range []string{"list", "group"} {
		if out := r.run("dlq", command, "rag").stdout; !strings.Contains(out, "problem 1") || !strings.Contains(out, "fp1") {
			t.Errorf("dlq %s as a table:\n%s", command, out)
		}
	}
	if out := r.run("dlq", "list", "persist").stdout; !strings.Contains(out, "no dead letters in persist:dlq") {
		t.Errorf("an empty one says %q", out)
	}
}

func TestDLQRequeue(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, 5)
	length := func(stream string, want int64) {
		t.Helper()
		if n, err := client.Len(t.Context(), stream); err != nil || n != want {
			t.Errorf("%s has %d entries, %v; want %d", stream, n, err, want)
		}
	}
	r.run("dlq", "requeue", "rag").want(t, exitUsage, "--all")
	r.run("dlq", "requeue", "rag", ids[0], "--all").want(t, exitUsage, "exclude each other")
	r.run("dlq", "requeue", "rag", "--all", "--dry-run").want(t, exitOK)
	length("rag:dlq", 5)
	length("rag:tasks", 0)
	r.run("dlq", "requeue", "rag", ids[0]).want(t, exitOK)
	length("rag:dlq", 4)
	length("rag:tasks", 1)
	r.run("dlq", "requeue", "rag", ids[0]).want(t, exitNotFound, "none of the 1")
	d := r.run("dlq", "requeue", "rag", ids[0], ids[1], "-o", "json")
	d.want(t, exitPartly, "1 of 2")
	if rows := decode[list[requeue]](t, d.stdout).Items; len(rows) != 2 || rows[0].Error == "" || rows[1].New == "" || rows[1].To != "rag:tasks" {
		t.Errorf("got %+v", rows)
	}
	r.run("dlq", "redrive", "rag", "--group", "fp0").want(t, exitConfirm, "2 dead letters", "--yes")
	length("rag:dlq", 3)
	r.run("dlq", "redrive", "rag", "--group", "fp0", "--yes").want(t, exitOK)
	length("rag:dlq", 1)
	r.run("dlq", "requeue", "rag", "--all", "--to", "persist", "-y").want(t, exitOK)
	length("rag:dlq", 0)
	length("persist:tasks", 1)
	first, err := client.Range(t.Context(), "rag:tasks", "-", "+", 1)
	if err != nil || delivery.Read(&first[0]).ID != "m0" || strings.Contains(strings.Join(first[0].Fields, " "), "dlq") {
		t.Errorf("the message must come back as it was: %v, %v", first, err)
	}
}

func TestDLQDiscard(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, 4)
	r.run("dlq", "discard", "rag", "--type", "t1", "--dry-run").want(t, exitOK)
	r.run("dlq", "discard", "rag", "--type", "t1").want(t, exitConfirm, "2 dead letters", "--yes")
	r.run("dlq", "discard", "rag", ids[0]).want(t, exitConfirm, "1 dead letter of")
	d := r.run("dlq", "discard", "rag", "--type", "t1", "-o", "json", "--yes")
	d.want(t, exitOK)
	if got := decode[discarded](t, d.stdout); got.Discarded != 2 {
		t.Errorf("got %+v", got)
	}
	r.run("dlq", "discard", "rag", ids[1], "-y").want(t, exitNotFound)
	r.run("dlq", "discard", "rag", ids[0], ids[1], "-y").want(t, exitPartly)
	if n, err := client.Len(t.Context(), "rag:dlq"); err != nil || n != 1 {
		t.Errorf("%d left, %v", n, err)
	}
}

func TestChangesAreConfirmed(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, manyLetters+1)
	left := func(want int64) {
		t.Helper()
		if n, err := client.Len(t.Context(), "rag:dlq"); err != nil || n != want {
			t.Errorf("%d left, %v; want %d", n, err, want)
		}
	}
	r.run("dlq", "discard", "rag", "--all").want(t, exitConfirm, "101", "--yes")
	left(manyLetters + 1)
	r.tty, r.stdin = true, "no\n"
	r.run("dlq", "requeue", "rag", "--all").want(t, exitConfirm, "Type rag:dlq", "101  to rag:tasks", "problem", "nothing was changed")
	r.stdin = "y\n"
	r.run("dlq", "requeue", "rag", "--all").want(t, exitConfirm)
	left(manyLetters + 1)
	r.run("dlq", "requeue", "rag", "--type", "t0").want(t, exitOK, "Go on? [y/N]", "51 dead letters")
	left(50)
	r.stdin = "\n"
	r.run("dlq", "requeue", "rag", ids[1], ids[3]).want(t, exitConfirm, "2 dead letters")
	r.run("dlq", "discard", "rag", ids[1]).want(t, exitConfirm)
	left(50)
	r.run("dlq", "requeue", "rag", ids[1]).want(t, exitOK) // one: not asked
	r.stdin = "yes\n"
	r.run("dlq", "requeue", "rag", "-n", "5").want(t, exitOK)
	left(44)
	r.run("dlq", "discard", "rag", "--all", "--yes").want(t, exitOK)
	left(0)
}
