package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const wholeFile = `replies: ["web:answers"]
roles:
  rag:
    concurrency: 8
    window: 0
    timeout: 2m
    max_retries: 0
    retry_backoff: 500
    results:
    dlq: ""
    emits: [persist, "log:rag"]
    processes: 1
    plugin:
      sha256: 2CF24DBA5FB0A30E26E83B2AC5B9E29E1B161E5C1FA7425E73043362938B9824
      settings:
        endpoint: https://me:${env:KEY}@embed.example/v1
        key: "${env:KEY}"
        since: 2024-01-01
        version: "1.10"
        depth: 3
        ratio: 0.5
        on: true
        none: null
        list: [1, two, {three: 3}]
      env:
        TOKEN: x-${env:KEY}-y
        LEVEL: 3
  echo:
    emits: []
`

func TestWholeFile(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, wholeFile, "KEY=s3kr")
	rag := c.Roles["rag"]
	for name, pair := range map[string][2]any{
		"concurrency":   {*rag.Concurrency, 8},
		"window":        {*rag.Window, 0},
		"timeout":       {*rag.Timeout, 2 * time.Minute},
		"max_retries":   {*rag.MaxRetries, 0},
		"retry_backoff": {*rag.RetryBackoff, 500 * time.Millisecond},
		"results":       {*rag.Results, ""},
		"dlq":           {*rag.DLQ, ""},
		"emits":         {strings.Join(rag.Emits, " "), "persist log:rag"},
		"processes":     {*rag.Processes, 1},
		"sha256":        {rag.Plugin.SHA256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
		"settings": {string(rag.Plugin.Settings), `{"depth":3,"endpoint":"https://me:s3kr@embed.example/v1","key":"s3kr",` +
			`"list":[1,"two",{"three":3}],"none":null,"on":true,"ratio":0.5,"since":"2024-01-01","version":"1.10"}`},
		"line":    {rag.Line, 3},
		"replies": {strings.Join(c.Replies, " "), "web:answers"},
		"drain":   {c.DrainTimeout, 2*time.Minute + 5*time.Second},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
	if want := map[string]string{"TOKEN": "x-s3kr-y", "LEVEL": "3"}; !maps.Equal(rag.Plugin.Env, want) {
		t.Errorf("env %v, want %v", rag.Plugin.Env, want)
	}
	echo := c.Roles["echo"]
	if echo.Emits == nil || len(echo.Emits) > 0 {
		t.Errorf("an empty list of emits became %#v", echo.Emits)
	}
	echo.Emits, echo.Line = nil, 0
	if !reflect.DeepEqual(echo, Role{}) {
		t.Errorf("what is not set is %+v", echo)
	}
	if filepath.Base(c.ConfigFile) != "fnhost.yaml" {
		t.Errorf("config file %q", c.ConfigFile)
	}
}

func TestASecretThatLooksLikeANumberStaysText(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "roles: {a: {plugin: {settings: {key: '${env:KEY}', plain: \"${env:KEY}\"}}}}", "KEY=007")
	if got, want := string(c.Roles["a"].Plugin.Settings), `{"key":"007","plain":"007"}`; got != want {
		t.Errorf("settings %s, want %s", got, want)
	}
}

func TestAnchors(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, `roles:
  a: &common
    concurrency: 8
    timeout: 9
  b:
    <<: *common
    concurrency: 2
  c: *common
`)
	for name, want := range map[string]int{"a": 8, "b": 2, "c": 8} {
		role := c.Roles[name]
		if given(role.Concurrency) != want || given(role.Timeout) != 9*time.Second {
			t.Errorf("%s: concurrency %d, timeout %s", name, given(role.Concurrency), given(role.Timeout))
		}
	}
}

func TestFilesThatAreEmpty(t *testing.T) {
	t.Parallel()
	for _, yaml := range []string{"\n", "# nothing\n", "---\n", "roles:\n", "roles: {rag: }\n", "replies:\n", "roles: {rag: {plugin: {settings: }}}"} {
		mustLoad(t, yaml)
	}
}

func TestFileRefuses(t *testing.T) {
	t.Parallel()
	rag := func(s string) string { return "roles:\n  rag:\n    " + s + "\n" }
	for _, tt := range []struct {
		yaml string
		want []string
	}{
		{"role: {}", []string{"fnhost.yaml:1", "did you mean roles?"}},
		{"settings: {}", []string{"it may be replies, roles"}},
		{rag("concurency: 3"), []string{"roles.rag.concurency (fnhost.yaml:3)", "did you mean concurrency?"}},
		{rag("colour: 3"), []string{"fnhost.yaml:3", "max_retries"}},
		{rag("plugin: {setings: {}}"), []string{"roles.rag.plugin.setings", "did you mean settings?"}},
		{rag("plugin: {limits: {ram: 3}}"), []string{"cpu, memory, open_files"}},
		{rag("concurrency: 0"), []string{"roles.rag.concurrency (fnhost.yaml:3)", "between 1"}},
		{rag("concurrency: many"), []string{`"many"`}},
		{rag("concurrency: [3]"), []string{"plain value"}},
		{rag("concurrency:"), []string{"whole number"}},
		{rag("max_retries: -1"), []string{"between 0"}},
		{rag("timeout: 7d"), []string{"roles.rag.timeout", "not a duration"}},
		{rag("timeout: 0"), []string{"longer than 0"}},
		{rag("retry_backoff: 60s"), []string{"roles.rag.retry_backoff (fnhost.yaml:3)", "REDIS_RETRY_BACKOFF_MAX_MS"}},
		{rag("results: a b"), []string{"roles.rag.results", "not a stream's name"}},
		{rag("dlq: audit:events"), []string{"kept for the host"}},
		{rag("emits: persist"), []string{"roles.rag.emits", "list"}},
		{rag("emits: [ok, a b]"), []string{"roles.rag.emits[1]"}},
		{rag("swap: roling"), []string{"did you mean rolling?"}},
		{rag("{window: 3, concurrency: 4}"), []string{"roles.rag.window (fnhost.yaml:3)", "fewer"}},
		{rag("dlq: rag:tasks"), []string{"for ever"}},
		{rag("plugin: {sha256: abc}"), []string{"64 digits"}},
		{rag("plugin: {limits: {memory: lots}}"), []string{"512MiB"}},
		{rag("plugin: {limits: {cpu: 0}}"), []string{"cores"}},
		{rag("plugin: {env: {A-B: 1}}"), []string{"name of a variable"}},
		{rag("plugin: {env: {FNHOST_LIFELINE: 1}}"), []string{"host's own"}},
		{rag("plugin: {env: {A: [1]}}"), []string{"plain value"}},
		{rag("plugin: {env: {A: '${env:GONE}'}}"), []string{"fnhost.yaml:3", "GONE is not in the environment"}},
		{rag("plugin: {settings: {a: {b: ['${env:GONE}']}}}"), []string{"roles.rag.plugin.settings.a.b[0] (fnhost.yaml:3)", "GONE"}},
		{rag("plugin: {settings: 3}"), []string{"must be an object"}},
		{rag("plugin: {settings: [3]}"), []string{"must be an object"}},
		{rag("plugin: {settings: {a: .nan}}"), []string{"JSON"}},
		{rag("timeout: 3\n    timeout: 4"), []string{"roles.rag.timeout (fnhost.yaml:4)", "already set in line 3"}},
		{"roles: {Rag: {}}", []string{"roles.Rag (fnhost.yaml:1)", "lower-case"}},
		{"roles: [rag]", []string{"must be an object"}},
		{"replies: {a: b}", []string{"list"}},
		{"replies: [ops:health]", []string{"replies[0]", "kept for the host"}},
		{"roles: {a: {}}\n---\nroles: {}", []string{"more than one document"}},
		{"roles: {a: [}", []string{"fnhost.yaml: did not find"}},
		{"roles:\n\ta: b", []string{"fnhost.yaml: line 2"}},
		{rag("plugin: {settings: &a {b: *a}}"), []string{"aliases"}},
	} {
		t.Run(tt.yaml, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tt.yaml)
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestAliasesThatMultiplyAreRefused(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("roles: {a: {plugin: {settings: {x0: &x0 [1, 1]")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, ", x%d: &x%d [*x%d, *x%d]", i, i, i-1, i-1)
	}
	b.WriteString("}}}}\n")
	if _, err := load(t, b.String()); err == nil || !strings.Contains(err.Error(), "aliases") {
		t.Errorf("error %v", err)
	}
}

func TestAFileThatIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "prod.yaml")
	if err := os.WriteFile(path, []byte("roles: {rag: {colour: 1}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"prod.yaml", path} {
		_, err := Load(Sources{Environ: []string{"FNHOST_CONFIG=" + name}, WorkDir: dir})
		if err == nil || !strings.Contains(err.Error(), "prod.yaml:1") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := Load(Sources{Environ: []string{"FNHOST_CONFIG=" + dir}}); err == nil {
		t.Error("a directory is accepted for a file")
	}
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{wholeFile, "roles: &a {b: *a}", "a: {<<: [*x]}", "roles: {? [a] : b}", "- a", "roles: {a: {<<: 3}}", "!!binary x: y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, yaml string) {
		c, err := load(t, yaml+"\n", "KEY=s3kr")
		if err == nil {
			c.Entries()
		}
	})
}
