package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDLQFlagsAreChecked(t *testing.T) {
	t.Parallel()
	r, _, ids := withLetters(t, 1)
	for args, stderr := range map[string]string{
		"list rag --since yesterday":                      "2026-11-24",
		"list rag --since 1h --until 2h":                  "--since is the earlier one",
		"list rag -n 0":                                   "-n 1 or more",
		"list rag --cursor here":                          "next_cursor",
		"list rag --cursor persist:dlq/1-0":               "next_cursor",
		"list rag 1-0":                                    `not "1-0"`,
		"list rag --all-roles":                            "takes no role",
		"list":                                            "wants a role",
		"requeue rag 12-x":                                `"12-x"`,
		"requeue rag --all --rate fast":                   "50/s",
		"requeue rag --all --rate 5/day":                  "50/s",
		"requeue rag --all --rate 0":                      "50/s",
		"requeue rag -n -1":                               "-n 1 or more",
		"discard --all-roles --all":                       "-all-roles",
		"show rag":                                        "prints the ids",
		"show rag now":                                    `"now"`,
		"export rag --resume":                             "--file",
		"export rag --file f --resume --cursor " + ids[0]: "--resume",
	} {
		r.run(append([]string{"dlq"}, strings.Fields(args)...)...).want(t, exitUsage, stderr)
	}
}

func TestDLQPages(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, 5)
	for i := range 3 {
		if _, err := client.Publish(t.Context(), "persist:dlq", letterFields("persist:tasks", fmt.Sprintf("%d-0", i+1), "p", "fp")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		role string
		want int
	}{{"rag", 5}, {"--all-roles", 8}} {
		for _, order := range []string{"", "--oldest"} {
			var seen []string
			cursor := ""
			for {
				args := []string{"dlq", "list", c.role, "-n", "2", "-o", "json"}
				if order != "" {
					args = append(args, order)
				}
				if cursor != "" {
					args = append(args, "--cursor", cursor)
				}
				d := r.run(args...)
				d.want(t, exitOK)
				page := decode[letterPage](t, d.stdout)
				for _, l := range page.Items {
					seen = append(seen, l.Queue+l.ID)
				}
				if page.Truncated != (page.Next != "") || len(page.Items) > 2 {
					t.Fatalf("page %+v", page)
				}
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			slices.Sort(seen)
			if len(slices.Compact(seen)) != c.want {
				t.Errorf("%s %s: %v", c.role, order, seen)
			}
		}
	}
	d := r.run("dlq", "list", "rag", "-n", "2")
	d.want(t, exitOK, "2 entries looked at", "--cursor "+ids[3])
	d = r.run("dlq", "group", "--all-roles")
	if !strings.Contains(d.stdout, "rag:dlq\n") || !strings.Contains(d.stdout, "persist:dlq\n") {
		t.Errorf("groups of all roles:\n%s", d.stdout)
	}
}

// Tables fit a terminal of 80 columns, whatever is in the letters.
func TestDLQTablesAreNarrow(t *testing.T) {
	t.Parallel()
	r, client, _ := withLetters(t, 2)
	if _, err := client.Publish(t.Context(), "rag:dlq", letterFields("rag:tasks", "9-0", strings.Repeat("long ünd wide\n\x1b[31m ", 40), "0123456789ab",
		"type", "a.type.with.many.parts.and.names", "data", "\xff\xfe")); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"list rag", "group rag", "requeue rag --all --dry-run", "list --all-roles"} {
		d := r.run(append([]string{"dlq"}, strings.Fields(args)...)...)
		d.want(t, exitOK)
		for line := range strings.Lines(d.stdout + d.stderr) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 || strings.Contains(line, "\x1b") {
				t.Errorf("%s: a line of %d: %s", args, n, line)
			}
		}
	}
}

func TestDLQShow(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, 1)
	binary := "\x00\xff\r\n" + strings.Repeat("b", 5000)
	fields := append(letterFields("rag:tasks", "1700000000000-0", "boom", "fp", "id", "m9", "type", "t", "tag", "\xff", "data", binary),
		"dlqstderr", "panic: boom\n\tmain.go:17", "dlqplugin", "rag v1 "+strings.Repeat("a", 64))
	id, err := client.Publish(t.Context(), "rag:dlq", fields)
	if err != nil {
		t.Fatal(err)
	}
	if d := r.run("dlq", "show", "rag", id, "--raw"); d.stdout != binary {
		t.Errorf("--raw gives %q", d.stdout)
	}
	w := decode[whole](t, r.run("dlq", "show", "rag", id, "-o", "json").stdout)
	if string(w.DataBase64) != binary || string(w.Data) != "null" || w.Queue != "rag:dlq" || w.MessageID != "m9" || len(w.FieldsBase64) != 8 || string(w.FieldsBase64[5]) != "\xff" || w.Stderr == "" {
		t.Errorf("%.400s", fmt.Sprintf("%+v", w))
	}
	out := r.run("dlq", "inspect", "rag", id).stdout
	for _, want := range []string{"permanent, after 3 attempts", "boom", "rag:tasks, entry 1700000000000-0", "rag v1 sha256 aaaaaaaaaaaa", `"\xff"`,
		"00000000  00 ff 0d 0a", "more: see --raw", "      main.go:17", "fnhost dlq requeue rag " + id} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if w := decode[whole](t, r.run("dlq", "show", "rag:dlq", ids[0], "-o", "json").stdout); string(w.Data) != "{}" || len(w.Fields) != 6 {
		t.Errorf("%+v", w)
	}
	r.run("dlq", "show", "rag", "1-1").want(t, exitNotFound, "no dead letter 1-1", "dlq list rag")
}

// exportedLines reads an export, and gives the ids.
func exportedLines(t *testing.T, text string) (lines []exported, ids []string) {
	t.Helper()
	for line := range strings.Lines(text) {
		e := decode[exported](t, line)
		lines, ids = append(lines, e), append(ids, e.ID)
	}
	return lines, ids
}

func TestDLQExport(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, 4)
	odd := letterFields("rag:tasks", "9-0", "boom \xff", "fp", "tag", "\x00\xff", "tag", "", "data", strings.Repeat("x", 100<<10))
	id, err := client.Publish(t.Context(), "rag:dlq", odd)
	if err != nil {
		t.Fatal(err)
	}
	ids = append(ids, id)
	d := r.run("dlq", "export", "rag")
	d.want(t, exitOK, "5 dead letters")
	lines, got := exportedLines(t, d.stdout)
	if !slices.Equal(got, ids) {
		t.Fatalf("exported %v, want %v", got, ids)
	}
	raw := make([]string, len(lines[4].EntryBase64))
	for i, b := range lines[4].EntryBase64 {
		raw[i] = string(b)
	}
	if !slices.Equal(raw, odd) || lines[0].Entry[0] != "type" || lines[0].EntryBase64 != nil {
		t.Errorf("the entries are not as they are: %.300q", raw)
	}
	_, got = exportedLines(t, r.run("dlq", "export", "rag", "--cursor", ids[1], "--type", "t1", "-q").stdout)
	if !slices.Equal(got, ids[3:4]) {
		t.Errorf("after %s of type t1: %v", ids[1], got)
	}
}

// An export that was cut off in the middle of a line goes on with that letter.
func TestDLQExportResumes(t *testing.T) {
	t.Parallel()
	r, client, ids := withLetters(t, 3)
	for i := range 2 {
		id, err := client.Publish(t.Context(), "persist:dlq", letterFields("persist:tasks", fmt.Sprintf("%d-0", i+1), "p", "fp", "data", strings.Repeat("x", 200<<10)))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	path := filepath.Join(r.dir, "letters.jsonl")
	r.run("dlq", "export", "--all-roles", "-f", "letters.jsonl").want(t, exitOK, "5 dead letters of all roles")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	r.run("dlq", "export", "--all-roles", "-f", "letters.jsonl").want(t, exitConflict, "--resume")
	for _, size := range []int{0, 10, len(whole) / 7, len(whole) / 2, len(whole) - 1, len(whole)} {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		r.run("dlq", "export", "--all-roles", "-f", "letters.jsonl", "--resume").want(t, exitOK)
		if again, err := os.ReadFile(path); err != nil || string(again) != string(whole) {
			t.Errorf("cut at %d of %d: %d bytes, %v", size, len(whole), len(again), err)
		}
	}
	if _, got := exportedLines(t, string(whole)); len(got) != 5 {
		t.Errorf("%v", got)
	}
	if err := os.WriteFile(path, []byte("{\"other\": 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.run("dlq", "export", "rag", "-f", "letters.jsonl", "--resume").want(t, exitConflict, "no export")
}
