package main

import (
	"strings"
	"testing"

	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/ops"
)

// rowsOf are the rows about the server that `check` gives.
func rowsOf(t *testing.T, r *runner) map[string]checked {
	t.Helper()
	rows := map[string]checked{}
	for _, row := range decode[list[checked]](t, r.run("check", "rag", "-o", "json").stdout).Items {
		if row.Subject == "redis" {
			rows[row.Check] = row
		}
	}
	return rows
}

func TestCheckOfTheServerItself(t *testing.T) {
	t.Parallel()
	srv := hosttest.Redis(t, "--maxmemory-policy", "volatile-lru")
	client := srv.Client()
	if err := client.Do(t.Context(), "ACL", "SETUSER", "bob", "on", ">secret", "~agentic:*", "+@all", "-xclaim").Err(); err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, "REDIS_URL="+srv.URL(), "FNHOST_DURABILITY=wait:1", "OPS_HB_ENABLED=0")
	r.run("topology", "init", "rag").want(t, exitOK)
	rows := rowsOf(t, r)
	for check, want := range map[string]struct {
		status ops.Status
		detail string
	}{
		"permissions": {ops.OK, ""},
		"eviction":    {ops.Warn, "volatile-lru"},
		"durability":  {ops.Critical, "1 replicas are missing"},
	} {
		if got := rows[check]; got.Status != want.status || !strings.Contains(got.Detail, want.detail) {
			t.Errorf("%s: %+v, want %v", check, got, want)
		}
	}
	r.environ = []string{"REDIS_URL=redis://bob:secret@" + srv.Addr()}
	if got := rowsOf(t, r)["permissions"]; got.Status != ops.Critical || !strings.Contains(got.Detail, "XCLAIM") || !strings.Contains(got.Detail, "bob") {
		t.Errorf("of a user who may not claim: %+v", got)
	}
}
