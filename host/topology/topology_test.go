package topology

import (
	"slices"
	"strings"
	"testing"
)

func mustNew(t *testing.T, roles []Role, replies ...string) *Topology {
	t.Helper()
	topo, err := New(roles, replies...)
	if err != nil {
		t.Fatal(err)
	}
	return topo
}

func with(name string, change func(*Role)) Role {
	r := Default(name)
	change(&r)
	return r
}

func TestStandardGroups(t *testing.T) {
	t.Parallel()
	want := []Group{
		{"cm:commands", "cm-managers"},
		{"orchestrator:commands", "orchestrators"},
		{"orchestrator:tasks", "orchestrators"},
		{"persist:tasks", "persist-writers"},
		{"rag:tasks", "rag-workers"},
		{"cm:events", "cm-subscribers"},
		{"persist:dlq", "dlq-readers"},
		{"audit:events", "auditors"},
		{"audit:spans", "auditors"},
		{"ops:health", "ops"},
	}
	if got := mustNew(t, Standard()).Groups(); !slices.Equal(got, want) {
		t.Errorf("groups:\n got %v\nwant %v", got, want)
	}
}

func TestReadersFollowTheirStream(t *testing.T) {
	t.Parallel()
	roles := Standard()
	for i := range roles {
		switch roles[i].Name {
		case "persist":
			roles[i].DLQ = "dead:writes"
		case "cm":
			roles[i].Subscriptions[0].Results = ""
		}
	}
	groups := mustNew(t, roles).Groups()
	if !slices.Contains(groups, Group{"dead:writes", "dlq-readers"}) {
		t.Errorf("no group dlq-readers on the renamed stream: %v", groups)
	}
	for _, g := range groups {
		if g.Group == "cm-subscribers" || g.Stream == "persist:dlq" || g.Stream == "" {
			t.Errorf("group %v on a stream that nobody writes", g)
		}
	}
}

func TestHasGroup(t *testing.T) {
	t.Parallel()
	topo := mustNew(t, Standard())
	for stream, want := range map[string]bool{"rag:tasks": true, "cm:events": true, "persist:dlq": true, AuditEvents: true, "rag:results": false, "rag:dlq": false, "": false} {
		if got := topo.HasGroup(stream); got != want {
			t.Errorf("%q: %v, want %v", stream, got, want)
		}
	}
}

func TestTargetsAreWhereEntriesMayBeAddedLater(t *testing.T) {
	t.Parallel()
	a := with("a", func(r *Role) { r.Emits = []string{"b", "c", "b:tasks", "out:there"} })
	topo, err := New([]Role{a, Default("b")}, "inbox")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := topo.Targets(), []string{"a:tasks", "b:tasks", "c:tasks", "inbox", "out:there"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAReaderThatIsARoleCountsOnce(t *testing.T) {
	t.Parallel()
	subscriber := with("mailer", func(r *Role) {
		r.Subscriptions[0].Stream, r.Subscriptions[0].Group = "cm:events", "cm-subscribers"
	})
	groups := mustNew(t, append(Standard(), subscriber)).Groups()
	n := 0
	for _, g := range groups {
		if g.Stream == "cm:events" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("cm:events has %d groups, want 1: %v", n, groups)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		roles   []Role
		replies []string
		want    string
	}{
		"a role twice":            {roles: []Role{Default("a"), Default("a")}, want: `role "a" is defined twice`},
		"a role's name":           {roles: []Role{Default("A b")}, want: "lower-case"},
		"a role named as a key":   {roles: []Role{Default("ops")}, want: "kept for the host"},
		"no input":                {roles: []Role{{Name: "a"}}, want: "reads no stream"},
		"reads the audit":         {roles: []Role{with("a", func(r *Role) { r.Subscriptions[0].Stream = AuditEvents })}, want: "kept for the host"},
		"results into state":      {roles: []Role{with("a", func(r *Role) { r.Subscriptions[0].Results = "state:a:x" })}, want: "kept for the host"},
		"dead letters into locks": {roles: []Role{with("a", func(r *Role) { r.DLQ = "ops:idemp:a:tasks" })}, want: "kept for the host"},
		"emits to the audit":      {roles: []Role{with("a", func(r *Role) { r.Emits = []string{"audit:spans"} })}, want: "kept for the host"},
		"replies to health":       {roles: []Role{Default("a")}, replies: []string{OpsHealth}, want: "kept for the host"},
		"a stream with space":     {roles: []Role{with("a", func(r *Role) { r.Subscriptions[0].Stream = "a b" })}, want: "not a stream's name"},
		"a stream with :: in it":  {roles: []Role{with("a", func(r *Role) { r.DLQ = "a::b" })}, want: "not a stream's name"},
		"a group with a colon":    {roles: []Role{with("a", func(r *Role) { r.Subscriptions[0].Group = "a:b" })}, want: "no ':'"},
		"a reader with a colon":   {roles: []Role{with("a", func(r *Role) { r.DLQReaders = []string{"a:b"} })}, want: "no ':'"},
		"answers itself":          {roles: []Role{with("a", func(r *Role) { r.Subscriptions[0].Results = "a:tasks" })}, want: "for ever"},
		"dead letters to itself":  {roles: []Role{with("a", func(r *Role) { r.DLQ = "a:tasks" })}, want: "for ever"},
		"results as dead letters": {roles: []Role{Default("a"), with("b", func(r *Role) { r.DLQ = "a:results" })}, want: "dead letters of role"},
		"one group, two roles": {roles: []Role{Default("a"), with("b", func(r *Role) {
			r.Subscriptions[0].Stream, r.Subscriptions[0].Group = "a:tasks", "a-workers"
		})}, want: "only one of them"},
		"one group twice": {roles: []Role{with("a", func(r *Role) { r.Subscriptions = append(r.Subscriptions, r.Subscriptions[0]) })}, want: `role "a" reads stream "a:tasks" twice`},
		"one group, second and third role": {roles: []Role{Default("a"),
			with("b", func(r *Role) { r.Subscriptions[0].Stream, r.Subscriptions[0].Group = "a:tasks", "g" }),
			with("c", func(r *Role) { r.Subscriptions[0].Stream, r.Subscriptions[0].Group = "a:tasks", "g" })}, want: `roles "b" and "c"`},
		"shared lock names": {roles: []Role{
			with("a", func(r *Role) { r.Subscriptions[0].Stream = "x" }),
			with("b", func(r *Role) { r.Subscriptions[0].Stream, r.Subscriptions[0].Group = "x", "y" }),
			with("c", func(r *Role) { r.Subscriptions[0].Stream = "x:y" })}, want: "share lock names"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tt.roles, tt.replies...)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestNewJoinsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := New([]Role{with("a", func(r *Role) { r.DLQ = "a b"; r.Emits = []string{"c d"} })}, "e f")
	for _, want := range []string{"a b", "c d", "e f"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}

func TestTheOwnGroupIsOfTheRoleTheStreamIsNamedFor(t *testing.T) {
	t.Parallel()
	spy := with("spy", func(r *Role) { r.Subscriptions[0].Stream = "x:tasks" })
	for name, roles := range map[string][]Role{
		"named role last":  {spy, Default("x")},
		"named role first": {Default("x"), spy},
	} {
		topo := mustNew(t, roles)
		x, _ := topo.Role("x")
		s, _ := topo.Role("spy")
		if !x.Subscriptions[0].Own || s.Subscriptions[0].Own {
			t.Errorf("%s: own: x %v, spy %v", name, x.Subscriptions[0].Own, s.Subscriptions[0].Own)
		}
	}
	k := Keys{Namespace: "agentic"}
	topo := mustNew(t, []Role{spy, Default("x")})
	x, _ := topo.Role("x")
	s, _ := topo.Role("spy")
	if got := k.Lock(x.Subscriptions[0], "1-0"); got != "agentic:ops:idemp:x:tasks:1-0" {
		t.Errorf("own lock %q", got)
	}
	if got := k.Lock(s.Subscriptions[0], "1-0"); got != "agentic:ops:idemp:x:tasks:spy-workers:1-0" {
		t.Errorf("further group's lock %q", got)
	}
}

func TestNewDoesNotKeepItsArguments(t *testing.T) {
	t.Parallel()
	roles := []Role{with("a", func(r *Role) { r.Emits = []string{"b:tasks"} })}
	topo := mustNew(t, roles)
	roles[0].Subscriptions[0].Stream = "changed"
	roles[0].Emits[0] = "changed"
	if _, err := topo.MayEmit("a", "b:tasks"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{"a": "a:tasks", "elsewhere": "elsewhere:tasks", "c:log": "c:log", "No-Role": "No-Role"} {
		if got := topo.Stream(name); got != want {
			t.Errorf("stream of %s is %q, want %q", name, got, want)
		}
	}
}

func TestEmitAndReply(t *testing.T) {
	t.Parallel()
	topo := mustNew(t, []Role{
		with("a", func(r *Role) { r.Emits = []string{"b", "c:log"} }), Default("b"),
	}, "answers:web")
	for to, want := range map[string]string{"b": "b:tasks", "b:tasks": "b:tasks", "c:log": "c:log"} {
		if got, err := topo.MayEmit("a", to); err != nil || got != want {
			t.Errorf("a emits to %q: %q, %v; want %q", to, got, err, want)
		}
	}
	for _, try := range [][2]string{{"a", "b:results"}, {"a", "a"}, {"b", "a"}, {"nobody", "b"}} {
		if got, err := topo.MayEmit(try[0], try[1]); err == nil || got != "" {
			t.Errorf("%s may emit to %s: %q", try[0], try[1], got)
		}
	}
	for stream, want := range map[string]bool{"a:tasks": true, "b:tasks": true, "answers:web": true, "a:results": false, "a": false, "": false} {
		if got := topo.MayReply(stream); got != want {
			t.Errorf("reply to %q: %v, want %v", stream, got, want)
		}
	}
	if topo.Input("answers:web") || !topo.Input("a:tasks") {
		t.Error("an input is what a role reads, and a reply stream is none")
	}
}

func TestCheckNamespace(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"agentic", "{agentic}", "prod:agentic", "{a}:b", "a_b-c.d"} {
		if err := CheckNamespace(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ", "a b", "agentic:", ":a", "{}", "{a", "a}", "a:{b}", "a*", "a[b]", "ä", "a\n"} {
		if CheckNamespace(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestCheckKeys(t *testing.T) {
	t.Parallel()
	topo := mustNew(t, append(Standard(), with("a", func(r *Role) { r.Emits = []string{"locks:idemp:a"} })), "back:to")
	for prefix, want := range map[string]string{
		"":              "",
		"ops:idemp":     "",
		"ops:locks":     "",
		"idemp":         "",
		"ops":           "other keys",
		"ops:fence":     "other keys",
		"ops:stats:rag": "other keys",
		"state":         "other keys",
		"cache:x":       "other keys",
		"a b":           "not parts",
		"ops:idemp:":    "not parts",
		"rag":           `stream "rag:`,
		"back":          `stream "back:to"`,
		"locks:idemp":   `stream "locks:idemp:a"`,
	} {
		err := topo.CheckKeys(Keys{Namespace: "agentic", IdempPrefix: prefix})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("prefix %q: error %v, want %q", prefix, err, want)
		}
	}
	if err := topo.CheckKeys(Keys{Namespace: "a b"}); err == nil {
		t.Error("a namespace with a space is accepted")
	}
}
