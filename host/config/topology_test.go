package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/topology"
)

func role(t *testing.T, c *Config, name string, extra ...topology.Role) topology.Role {
	t.Helper()
	topo, err := c.Topology(extra...)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := topo.Role(name)
	if !ok {
		t.Fatalf("there is no role %s", name)
	}
	return r
}

// line says a role's names in one line.
func line(r topology.Role) string {
	var parts []string
	for _, s := range r.Subscriptions {
		parts = append(parts, s.Stream+"/"+s.Group+">"+s.Results)
	}
	return strings.Join(parts, " ") + " !" + r.DLQ + " +" + strings.Join(r.Emits, ",")
}

func TestTopology(t *testing.T) {
	t.Parallel()
	sub := func(stream, group, results string) topology.Subscription {
		return topology.Subscription{Stream: stream, Group: group, Results: results}
	}
	for name, tt := range map[string]struct {
		yaml, environ string
		extra         topology.Role
		role, want    string
	}{
		"standard":     {role: "rag", want: "rag:tasks/rag-workers>rag:results !rag:dlq +"},
		"orchestrator": {role: "orchestrator", want: "orchestrator:commands/orchestrators>orchestrator:results orchestrator:tasks/orchestrators>orchestrator:results !orchestrator:dlq +"},
		"rag renamed": {environ: "REDIS_STREAM_TASKS=in REDIS_STREAM_RESULTS=out REDIS_STREAM_DLQ=dead REDIS_GROUP=workers",
			role: "rag", want: "in/workers>out !dead +"},
		"persist renamed": {environ: "REDIS_STREAM_TASKS_WRITE=in REDIS_STREAM_RESULTS_WRITE=out REDIS_STREAM_DLQ_WRITE=dead REDIS_GROUP_WRITERS=workers",
			role: "persist", want: "in/workers>out !dead +"},
		"rag's names are not persist's": {environ: "REDIS_STREAM_TASKS=in", role: "persist", want: "persist:tasks/persist-writers>persist:results !persist:dlq +"},
		"no dead letters of rag":        {environ: "REDIS_STREAM_DLQ=", role: "rag", want: "rag:tasks/rag-workers>rag:results ! +"},
		"no dead letters at all":        {environ: "ENABLE_DLQ=0", role: "cm", want: "cm:commands/cm-managers>cm:events ! +"},
		"but of one":                    {environ: "ENABLE_DLQ=0", yaml: "roles: {cm: {dlq: cm:dead}}", role: "cm", want: "cm:commands/cm-managers>cm:events !cm:dead +"},
		"fnhost.yaml over environment":  {environ: "REDIS_STREAM_RESULTS=out", yaml: "roles: {rag: {results: , dlq: , emits: [persist]}}", role: "rag", want: "rag:tasks/rag-workers> ! +persist"},
		"a plugin's role":               {extra: topology.Role{Name: "echo"}, role: "echo", want: "echo:tasks/echo-workers>echo:results !echo:dlq +"},
		"a plugin's role without dead letters": {extra: topology.Role{Name: "echo"}, yaml: "roles: {echo: {dlq: ''}}",
			role: "echo", want: "echo:tasks/echo-workers>echo:results ! +"},
		"a plugin's streams": {extra: topology.Role{Name: "echo", Emits: []string{"rag"}, Subscriptions: []topology.Subscription{sub("a", "", ""), sub("b", "g", "c")}},
			role: "echo", want: "a/echo-workers> b/g>c !echo:dlq +rag"},
		"a plugin of a standard role": {extra: topology.Role{Name: "persist", Emits: []string{"cm"}}, role: "persist", want: "persist:tasks/persist-writers>persist:results !persist:dlq +cm"},
		"which repeats its streams, renamed": {environ: "REDIS_STREAM_TASKS_WRITE=in", extra: topology.Role{Name: "persist", Subscriptions: []topology.Subscription{sub("persist:tasks", "", "persist:results")}},
			role: "persist", want: "in/persist-writers>persist:results !persist:dlq +"},
		"emits narrowed": {extra: topology.Role{Name: "echo", Emits: []string{"rag"}}, yaml: "roles: {echo: {emits: []}}", role: "echo", want: "echo:tasks/echo-workers>echo:results !echo:dlq +"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var extra []topology.Role
			if tt.extra.Name != "" {
				extra = append(extra, tt.extra)
			}
			c := mustLoad(t, tt.yaml, strings.Fields(tt.environ)...)
			if got := line(role(t, c, tt.role, extra...)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestReadersFollowRenamedDeadLetters(t *testing.T) {
	t.Parallel()
	topo, err := mustLoad(t, "", "REDIS_STREAM_DLQ_WRITE=dead:writes").Topology()
	if err != nil {
		t.Fatal(err)
	}
	if want := (topology.Group{Stream: "dead:writes", Group: "dlq-readers"}); !slices.Contains(topo.Groups(), want) {
		t.Errorf("groups %v have no %v", topo.Groups(), want)
	}
}

func TestTopologyRefuses(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "", "OPS_IDEMP_PREFIX=locks")
	for want, extra := range map[string][]topology.Role{
		"two plugins":  {{Name: "rag"}, {Name: "rag"}},
		"lower-case":   {{Name: "Echo"}},
		"only one of":  {{Name: "spy", Subscriptions: []topology.Subscription{{Stream: "rag:tasks", Group: "rag-workers"}}}},
		`stream "lock`: {{Name: "locks"}},
	} {
		if _, err := c.Topology(extra...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestTheOrderOfPluginsDoesNotMatter(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "")
	reads := func(name string) topology.Role {
		return topology.Role{Name: name, Subscriptions: []topology.Subscription{{Stream: "shared"}}}
	}
	for _, extra := range [][]topology.Role{{reads("x"), reads("y")}, {reads("y"), reads("x")}} {
		if !role(t, c, "x", extra...).Subscriptions[0].Own || role(t, c, "y", extra...).Subscriptions[0].Own {
			t.Error("the stream's own group depends on the order in which plugins were found")
		}
	}
}

func TestRepliesAndUnplayedRoles(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "replies: [web:answers]\nroles:\n  perist: {timeout: 3}\n  rag: {timeout: 3}\n")
	topo, err := c.Topology()
	if err != nil {
		t.Fatal(err)
	}
	if !topo.MayReply("web:answers") || topo.MayReply("web:other") {
		t.Error("replies of fnhost.yaml are not those that are allowed")
	}
	if got := c.Unplayed(topo); !slices.Equal(got, []string{"roles.perist (line 3)"}) {
		t.Errorf("unplayed %q", got)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	none := 0
	five := 5
	second := time.Second
	minute := time.Minute
	environment := RolePolicy{10, 100, 7 * time.Second, 4, 20 * time.Millisecond, 2 * time.Second}
	change := func(f func(*RolePolicy)) RolePolicy {
		p := environment
		f(&p)
		return p
	}
	for name, tt := range map[string]struct {
		yaml      string
		described Described
		want      RolePolicy
	}{
		"environment": {want: environment},
		"plugin":      {"", Described{3, 30, second, &five, &second}, RolePolicy{3, 30, second, 5, second, 2 * time.Second}},
		"fnhost.yaml": {"{concurrency: 2, window: 20, timeout: 2, max_retries: 1, retry_backoff: 1}", Described{3, 30, second, &five, &second},
			RolePolicy{2, 20, 2 * time.Second, 1, time.Millisecond, 2 * time.Second}},
		"zeros that are meant":           {"{window: 0, max_retries: 0, retry_backoff: 0}", Described{Window: 30, MaxRetries: &five, RetryBackoff: &second}, change(func(p *RolePolicy) { p.Window, p.MaxRetries, p.RetryBackoff = 0, 0, 0 })},
		"a plugin that never retries":    {"", Described{MaxRetries: &none}, change(func(p *RolePolicy) { p.MaxRetries = 0 })},
		"a window below concurrency":     {"", Described{Concurrency: 500}, change(func(p *RolePolicy) { p.Concurrency, p.Window = 500, 500 })},
		"a backoff beyond the longest":   {"", Described{RetryBackoff: &minute}, change(func(p *RolePolicy) { p.RetryBackoff = 2 * time.Second })},
		"another role's is another's":    {"{}", Described{}, environment},
		"concurrency beats the plugin's": {"{concurrency: 9}", Described{Concurrency: 500}, change(func(p *RolePolicy) { p.Concurrency = 9 })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			yaml := ""
			if tt.yaml != "" {
				yaml = "roles:\n  other: {timeout: 99}\n  r: " + tt.yaml + "\n"
			}
			c := mustLoad(t, yaml, "FNHOST_CONCURRENCY=10", "FNHOST_WINDOW=100", "FNHOST_HANDLER_TIMEOUT=7",
				"REDIS_MAX_RETRIES=4", "REDIS_RETRY_BACKOFF_MS=20", "REDIS_RETRY_BACKOFF_MAX_MS=2000")
			if got := c.Policy("r", tt.described); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}
