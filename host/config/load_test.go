package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// load reads settings from variables, in a directory with the given fnhost.yaml.
func load(t *testing.T, yaml string, environ ...string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	if yaml != "" {
		if err := os.WriteFile(filepath.Join(dir, "fnhost.yaml"), []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(Sources{Environ: environ, WorkDir: dir})
}

func mustLoad(t *testing.T, yaml string, environ ...string) *Config {
	t.Helper()
	c, err := load(t, yaml, environ...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := Load(Sources{WorkDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]any{
		"redis":          {c.Redis.URL, "redis://localhost:6379/0"},
		"redis given":    {c.Redis.Given, false},
		"namespace":      {c.Namespace, "agentic"},
		"rag":            {c.RAG, Streams{"rag:tasks", "rag:results", "rag-workers", "rag:dlq"}},
		"persist":        {c.Persist, Streams{"persist:tasks", "persist:results", "persist-writers", "persist:dlq"}},
		"group start":    {c.GroupStart, "$"},
		"retries":        {c.MaxRetries, 2},
		"backoff":        {c.RetryBackoff, time.Duration(0)},
		"backoff max":    {c.RetryBackoffMax, 30 * time.Second},
		"dlq":            {c.DLQEnabled, true},
		"maxlen":         {c.StreamMaxLen, int64(0)},
		"retention":      {c.TasksRetention, time.Duration(0)},
		"durability":     {c.Durability.String(), "none"},
		"heartbeat":      {c.Heartbeat, Heartbeat{true, 30 * time.Second, 10 * time.Second}},
		"idemp ttl":      {c.IdempTTL, time.Minute},
		"idemp prefix":   {c.IdempPrefix, "ops:idemp"},
		"lease":          {c.LeaseTTL, 15 * time.Second},
		"audit":          {c.Audit, Audit{true, 1, 20000}},
		"plugins":        {c.PluginDir, filepath.Join(dir, "bin/plugins")},
		"concurrency":    {c.Concurrency, 64},
		"window":         {c.Window, 0},
		"timeout":        {c.HandlerTimeout, 30 * time.Second},
		"drain":          {c.DrainTimeout, 35 * time.Second},
		"config file":    {c.ConfigFile, ""},
		"state":          {c.StateDir, filepath.Join(dir, ".fnhost")},
		"log":            {c.LogLevel + c.LogFormat, "info"},
		"output":         {c.Output, "table"},
		"admin":          {c.AdminAddr, "127.0.0.1:9400"},
		"metrics":        {c.MetricsAddr, "127.0.0.1:9401"},
		"warnings":       {len(c.Warnings), 0},
		"can all be met": {c.Refusal(), error(nil)},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		set  string
		get  func(*Config) any
		want any
	}{
		{"REDIS_URL=rediss://u:p@cache:6380/3", func(c *Config) any { return c.Redis.URL }, "rediss://u:p@cache:6380/3"},
		{"REDIS_URL=unix:///run/redis.sock?db=2", func(c *Config) any { return c.Redis.URL }, "unix:///run/redis.sock?db=2"},
		{"REDIS_URL= redis://cache:6380 ", func(c *Config) any { return c.Redis.URL }, "redis://cache:6380"},
		{"REDIS_HOST=cache", func(c *Config) any { return c.Redis.URL }, "redis://cache:6379/0"},
		{"REDIS_HOST=::1", func(c *Config) any { return c.Redis.URL }, "redis://[::1]:6379/0"},
		{"REDIS_PORT=6380", func(c *Config) any { return c.Redis.URL }, "redis://localhost:6380/0"},
		{"REDIS_DB=4", func(c *Config) any { return c.Redis.URL }, "redis://localhost:6379/4"},
		{"REDIS_PASSWORD=p@ss/w:rd ", func(c *Config) any { return c.Redis.URL }, "redis://:p%40ss%2Fw%3Ard%20@localhost:6379/0"},
		{"REDIS_HOST=cache", func(c *Config) any { return c.Redis.Given }, true},
		{"REDIS_HOST=", func(c *Config) any { return c.Redis.Given }, false},
		{"REDIS_NAMESPACE={agentic}", func(c *Config) any { return c.Namespace }, "{agentic}"},
		{"REDIS_NAMESPACE=", func(c *Config) any { return c.Namespace }, "agentic"},
		{"REDIS_NAMESPACE=  ", func(c *Config) any { return c.Namespace }, "agentic"},
		{"REDIS_STREAM_DLQ=", func(c *Config) any { return c.RAG.DLQ }, ""},
		{"REDIS_STREAM_DLQ_WRITE=", func(c *Config) any { return c.Persist.DLQ }, ""},
		{"REDIS_STREAM_RESULTS=", func(c *Config) any { return c.RAG.Results }, "rag:results"},
		{"REDIS_GROUP_START=0-0", func(c *Config) any { return c.GroupStart }, "0-0"},
		{"REDIS_RETRY_BACKOFF_MS=250", func(c *Config) any { return c.RetryBackoff }, 250 * time.Millisecond},
		{"REDIS_RETRY_BACKOFF_MS=2s", func(c *Config) any { return c.RetryBackoff }, 2 * time.Second},
		{"OPS_HB_TTL=45", func(c *Config) any { return c.Heartbeat.TTL }, 45 * time.Second},
		{"OPS_HB_TTL=1.5m", func(c *Config) any { return c.Heartbeat.TTL }, 90 * time.Second},
		{"OPS_LEASE_TTL=300ms", func(c *Config) any { return c.LeaseTTL }, 300 * time.Millisecond},
		{"OPS_LEASE_TTL=0.5", func(c *Config) any { return c.LeaseTTL }, 500 * time.Millisecond},
		{"FNHOST_HANDLER_TIMEOUT=60", func(c *Config) any { return c.DrainTimeout }, 65 * time.Second},
		{"FNHOST_DRAIN_TIMEOUT=0", func(c *Config) any { return c.DrainTimeout }, time.Duration(0)},
		{"ENABLE_DLQ=0", func(c *Config) any { return c.DLQEnabled }, false},
		{"ENABLE_DLQ=No", func(c *Config) any { return c.DLQEnabled }, false},
		{"ENABLE_DLQ=TRUE", func(c *Config) any { return c.DLQEnabled }, true},
		{"OPS_HB_ENABLED=off", func(c *Config) any { return c.Heartbeat.Enabled }, false},
		{"OPS_AUDIT_SAMPLE=0.25", func(c *Config) any { return c.Audit.Sample }, 0.25},
		{"FNHOST_LOG_LEVEL=WARN", func(c *Config) any { return c.LogLevel }, "warn"},
		{"FNHOST_ADMIN_ADDR=off", func(c *Config) any { return c.AdminAddr }, ""},
		{"FNHOST_PLUGIN_DIR=/opt/plugins", func(c *Config) any { return c.PluginDir }, "/opt/plugins"},
	} {
		t.Run(tt.set, func(t *testing.T) {
			t.Parallel()
			if got := tt.get(mustLoad(t, "", tt.set)); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		environ string // variables, by spaces; _ stands for one in a value
		want    []string
	}{
		{"REDIS_MAX_RETRIES=two", []string{"REDIS_MAX_RETRIES (environment)", `"two" is not a whole number`}},
		{"REDIS_MAX_RETRIES=-1", []string{"REDIS_MAX_RETRIES", "-1 is not between 0"}},
		{"REDIS_PORT=70000", []string{"REDIS_PORT", "65535"}},
		{"REDIS_NAMESPACE=my_space REDIS_DB=x", []string{"REDIS_DB"}},
		{"REDIS_NAMESPACE=agentic:", []string{"REDIS_NAMESPACE", `write "agentic"`}},
		{"REDIS_NAMESPACE=a*", []string{"REDIS_NAMESPACE", "not a namespace"}},
		{"REDIS_STREAM_TASKS=rag::tasks", []string{"REDIS_STREAM_TASKS", "not a stream's name"}},
		{"REDIS_STREAM_TASKS=ops:fence", []string{"REDIS_STREAM_TASKS", "kept for the host"}},
		{"REDIS_GROUP=a:b", []string{"REDIS_GROUP ", "no ':'"}},
		{"REDIS_GROUP_START=latest", []string{"REDIS_GROUP_START", "0-0"}},
		{"REDIS_RETRY_BACKOFF_MS=soon", []string{"REDIS_RETRY_BACKOFF_MS", "bare number, which is in ms"}},
		{"OPS_HB_TTL=7d", []string{"OPS_HB_TTL", "bare number, which is in s"}},
		{"OPS_HB_TTL=-5s", []string{"OPS_HB_TTL", "negative"}},
		{"OPS_IDEMP_TTL=0", []string{"OPS_IDEMP_TTL", "longer than 0"}},
		{"OPS_LEASE_TTL=20ms", []string{"OPS_LEASE_TTL", "shorter than 100ms"}},
		{"ENABLE_DLQ=maybe", []string{"ENABLE_DLQ", "neither 1"}},
		{"OPS_AUDIT_SAMPLE=2", []string{"OPS_AUDIT_SAMPLE", "from 0 to 1"}},
		{"OPS_AUDIT_SAMPLE=NaN", []string{"OPS_AUDIT_SAMPLE", "from 0 to 1"}},
		{"REDIS_STREAM_MAXLEN=0", []string{"REDIS_STREAM_MAXLEN"}},
		{"FNHOST_LOG_LEVEL=warning", []string{"FNHOST_LOG_LEVEL", "did you mean warn?"}},
		{"FNHOST_OUTPUT=xml", []string{"FNHOST_OUTPUT", "table, json"}},
		{"FNHOST_ADMIN_ADDR=9400", []string{"FNHOST_ADMIN_ADDR", "host:port"}},
		{"FNHOST_ADMIN_ADDR=:http", []string{"FNHOST_ADMIN_ADDR", "port"}},
		{"FNHOST_DURABILITY=wait", []string{"FNHOST_DURABILITY", "wait:N"}},
		{"FNHOST_DURABILITY=wait:0", []string{"FNHOST_DURABILITY", "wait:N"}},
		{"FNHOST_DURABILITY=waitaof:1", []string{"FNHOST_DURABILITY", "only wait"}},
		{"FNHOST_DURABILITY=nome", []string{"FNHOST_DURABILITY", "did you mean none?"}},
		{"OPS_IDEMP_PREFIX=ops:fence", []string{"OPS_IDEMP_PREFIX", "other keys"}},
		{"OPS_IDEMP_PREFIX=rag", []string{"OPS_IDEMP_PREFIX", "rag:"}},
		{"FNHOST_CONFIG=gone.yaml", []string{"FNHOST_CONFIG (environment)", "gone.yaml"}},
		{"REDIS_URL=cache:6379", []string{"REDIS_URL (environment)", "redis://"}},
		{"REDIS_URL=reddis://cache", []string{"REDIS_URL", "did you mean redis"}},
		{"REDIS_URL=redis://", []string{"REDIS_URL", "form"}},
		{"REDIS_URL=redis://cache/queue", []string{"REDIS_URL", "database"}},

		{"OPS_HB_TTL=10", []string{"OPS_HB_INTERVAL (default)", "not shorter than OPS_HB_TTL"}},
		{"OPS_HB_INTERVAL=1m", []string{"OPS_HB_INTERVAL (environment)", "not shorter than OPS_HB_TTL"}},
		{"REDIS_RETRY_BACKOFF_MS=40000", []string{"REDIS_RETRY_BACKOFF_MS", "REDIS_RETRY_BACKOFF_MAX_MS"}},
		{"FNHOST_WINDOW=10", []string{"FNHOST_WINDOW", "FNHOST_CONCURRENCY"}},
		{"FNHOST_METRICS_ADDR=127.0.0.1:9400", []string{"FNHOST_METRICS_ADDR", "FNHOST_ADMIN_ADDR"}},
		{"FNHOST_METRICS_ADDR=localhost:9400", []string{"FNHOST_METRICS_ADDR"}},
		{"FNHOST_METRICS_ADDR=:9400", []string{"FNHOST_METRICS_ADDR"}},
		{"FNHOST_STATE_DIR=bin/plugins", []string{"FNHOST_STATE_DIR", "FNHOST_PLUGIN_DIR"}},
		{"REDIS_STREAM_RESULTS=rag:tasks", []string{"REDIS_STREAM_", "for ever"}},
		{"REDIS_STREAM_TASKS_WRITE=rag:tasks REDIS_GROUP_WRITERS=rag-workers", []string{"REDIS_GROUP", "only one of them"}},
	} {
		t.Run(tt.environ, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, "", strings.Fields(tt.environ)...)
			if err == nil {
				t.Fatal("it is accepted")
			}
			if problem := new(Problem); !errors.As(err, &problem) {
				t.Errorf("%T has no Problem in it", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func TestNamespaceWithASpace(t *testing.T) {
	t.Parallel()
	if _, err := load(t, "", "REDIS_NAMESPACE=my space"); err == nil || !strings.Contains(err.Error(), "REDIS_NAMESPACE") {
		t.Errorf("error %v", err)
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, "roles: {rag: {concurency: 3}}", "REDIS_DB=x", "OPS_HB_TLT=3", "FNHOST_OUTPUT=xml")
	for _, want := range []string{"REDIS_DB", "OPS_HB_TLT", "FNHOST_OUTPUT", "fnhost.yaml:1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}

func TestContradictionsBesideOtherProblems(t *testing.T) {
	t.Parallel()
	_, err := load(t, "", "REDIS_DB=x", "OPS_HB_TTL=5", "FNHOST_WINDOW=3", "FNHOST_CONCURRENCY=many")
	for want, yes := range map[string]bool{"REDIS_DB": true, "OPS_HB_INTERVAL": true, "FNHOST_CONCURRENCY (": true, "FNHOST_WINDOW": false} {
		if err == nil || strings.Contains(err.Error(), want) != yes {
			t.Errorf("error %v: names %s should be %v", err, want, yes)
		}
	}
}

func TestWhatDoesNotContradict(t *testing.T) {
	t.Parallel()
	for _, environ := range []string{
		"OPS_HB_ENABLED=0 OPS_HB_TTL=5",
		"FNHOST_WINDOW=64",
		"FNHOST_ADMIN_ADDR=127.0.0.1:0 FNHOST_METRICS_ADDR=127.0.0.1:0",
		"FNHOST_ADMIN_ADDR=off FNHOST_METRICS_ADDR=off",
		"FNHOST_ADMIN_ADDR=127.0.0.1:9401 FNHOST_METRICS_ADDR=10.0.0.1:9401",
		"REDIS_RETRY_BACKOFF_MS=40000 REDIS_RETRY_BACKOFF_MAX_MS=40000",
		"OPS_IDEMP_PREFIX=locks:idemp",
	} {
		mustLoad(t, "", strings.Fields(environ)...)
	}
}

func TestFlagsWin(t *testing.T) {
	t.Parallel()
	c, err := Load(Sources{
		Environ: []string{"FNHOST_OUTPUT=json", "FNHOST_CONCURRENCY=3", "REDIS_STREAM_DLQ=dead"},
		Flags:   map[string]string{"FNHOST_OUTPUT": "table", "FNHOST_PLUGIN_DIR": "p", "REDIS_STREAM_DLQ": ""},
		WorkDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Output != "table" || c.Concurrency != 3 || c.RAG.DLQ != "" || filepath.Base(c.PluginDir) != "p" {
		t.Errorf("output %s, concurrency %d, dlq %q, plugins %s", c.Output, c.Concurrency, c.RAG.DLQ, c.PluginDir)
	}
	_, err = Load(Sources{Flags: map[string]string{"FNHOST_OUTPUT": "xml", "NONSENSE": "1"}, WorkDir: t.TempDir()})
	for _, want := range []string{"FNHOST_OUTPUT (flag --output)", "NONSENSE"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %s", err, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]string{
		"REDIS_SENTINEL_QUORUM=2":                     "REDIS_SENTINEL_QUORUM is not a setting",
		"OPS_PAGERDUTY=x":                             "OPS_PAGERDUTY",
		"FNHOST_SOMETHING=1":                          "FNHOST_SOMETHING",
		"REDIS_SSL=true":                              "rediss://",
		"OPS_LEASE_TTL=1":                             "OPS_LEASE_TTL",
		"OPS_IDEMP_TTL=5":                             "OPS_IDEMP_TTL",
		"REDIS_URL=redis://cache REDIS_PASSWORD=s3kr": "REDIS_PASSWORD is ignored",
	} {
		c := mustLoad(t, "", strings.Fields(environ)...)
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], want) {
			t.Errorf("%s: warnings %q, want one with %q", environ, c.Warnings, want)
		}
	}
}

func TestWhatCannotBeDoneYet(t *testing.T) {
	t.Parallel()
	role := func(s string) string { return "roles: {rag: {" + s + "}}" }
	for _, tt := range []struct{ yaml, environ, want string }{
		{"", "REDIS_URL=redis+cluster://u:s3kr@a,b", "Redis Cluster"},
		{"", "REDIS_URL=redis://u:s3kr@a:1,b:2", "Redis Cluster"},
		{"", "REDIS_URL=redis://u:s3kr@a:1?addr=b:2", "Redis Cluster"},
		{"", "REDIS_URL=redis+sentinel://u:s3kr@a/main", "Redis Sentinel"},
		{"", "REDIS_URL=redis://u:s3kr@a?master_name=main", "Redis Sentinel"},
		{role("processes: 2"), "", "roles.rag.processes"},
		{role("swap: rolling"), "", "roles.rag.swap"},
		{role("plugin: {limits: {memory: 64MiB}}"), "", "roles.rag.plugin.limits"},
	} {
		c := mustLoad(t, tt.yaml, strings.Fields(tt.environ)...)
		var unsupported *UnsupportedError
		if err := c.Refusal(); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3kr") {
			t.Errorf("%s%s: refusal %v, want %q", tt.environ, tt.yaml, err, tt.want)
		}
	}
	if err := mustLoad(t, role("processes: 1"), "FNHOST_DURABILITY=wait:2", "REDIS_TASKS_RETENTION=24h").Refusal(); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, meant := range map[string]string{
		"REDIS_NAMESPCE":      "REDIS_NAMESPACE",
		"REDIS_NAMEPSACE":     "REDIS_NAMESPACE",
		"REDIS_URI":           "REDIS_URL",
		"REDIS_MAX_RETRYS":    "REDIS_MAX_RETRIES",
		"REDIS_HOSTS":         "REDIS_HOST",
		"OPS_HB_TTLS":         "OPS_HB_TTL",
		"OPS_IDEM_TTL":        "OPS_IDEMP_TTL",
		"OP_LEASE_TTL":        "OPS_LEASE_TTL",
		"FNHOST_PLUGINS_DIR":  "FNHOST_PLUGIN_DIR",
		"FNHSOT_WINDOW":       "FNHOST_WINDOW",
		"ENABLE_DQL":          "ENABLE_DLQ",
		"ENABLED_DLQ":         "ENABLE_DLQ",
		"REDIS_STREAM_TASK":   "REDIS_STREAM_TASKS",
		"FNHOST_METRIC_ADRR":  "FNHOST_METRICS_ADDR",
		"REDIS_RETRY_BACKOFF": "",
	} {
		c, err := load(t, "", name+"=1")
		if meant == "" {
			if err != nil || len(c.Warnings) != 1 {
				t.Errorf("%s: %v, want a warning", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), name+" (environment)") || !strings.Contains(err.Error(), "did you mean "+meant+"?") {
			t.Errorf("%s: error %v, want it to name %s", name, err, meant)
		}
	}
}

func TestNamesOfOthers(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "",
		"PATH=/bin", "HOME=/home/me", "RAG_DB=1", "DB=x", "ENABLE_METRICS=1", "=C:=x",
		"FNHOST_TEST_REDIS=x", "FNHOST_TOKEN=x", "FNHOST_TOKEN_FILE=x", "FNHOST_PLUGIN=x", "FNHOST_LIFELINE=3",
		// what Kubernetes makes for services called redis, redis-db and fnhost
		"REDIS_PORT=tcp://10.0.0.11:6379", "REDIS_SERVICE_HOST=10.0.0.11", "REDIS_SERVICE_PORT=6379",
		"REDIS_SERVICE_PORT_REDIS=6379", "REDIS_PORT_6379_TCP=tcp://10.0.0.11:6379",
		"REDIS_PORT_6379_TCP_PROTO=tcp", "REDIS_PORT_6379_TCP_PORT=6379", "REDIS_PORT_6379_TCP_ADDR=10.0.0.11",
		"REDIS_DB_PORT=tcp://10.0.0.12:1", "REDIS_DB_SERVICE_HOST=10.0.0.12",
		"FNHOST_SERVICE_HOST=10.0.0.13", "FNHOST_SERVICE_PORT_ADMIN=9400", "FNHOST_PORT=tcp://10.0.0.13:9400",
	)
	if len(c.Warnings) > 0 || c.Redis.Port != 6379 || c.values["REDIS_PORT"].origin != fromDefault {
		t.Errorf("warnings %q, port %d from %s", c.Warnings, c.Redis.Port, c.values["REDIS_PORT"].origin)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "", 3}, {"", "ab", 2}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"abc", "abcd", 1}, {"abcd", "acd", 1}, {"abcd", "badc", 2}, {"kitten", "sitting", 3}} {
		if got := distance(tt.a, tt.b); got != tt.want || distance(tt.b, tt.a) != tt.want {
			t.Errorf("distance of %q and %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestSettingsAreDeclaredOnce(t *testing.T) {
	t.Parallel()
	var names, flags []string
	for _, s := range Settings {
		names = append(names, s.Name)
		if s.Flag != "" {
			flags = append(flags, s.Flag)
		}
		if s.Help == "" || s.parse == nil {
			t.Errorf("%s has no help or no parser", s.Name)
		}
	}
	for _, list := range [][]string{names, flags} {
		slices.Sort(list)
		if n := len(list); len(slices.Compact(list)) != n {
			t.Errorf("one comes twice: %v", list)
		}
	}
	for _, a := range names {
		for _, b := range names {
			if a != b && distance(a, b) == 0 {
				t.Errorf("%s and %s", a, b)
			}
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"", "0", "15", "1.5", "-1", "3s", "1h2m", "1e3", "inf", "0x1", "9999999999999999999", "5 s", "+3", ".5", "1_000", "1µs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseDuration(s, "s", 0)
		want, plain := time.ParseDuration(s)
		if err != nil {
			if plain == nil && want >= 0 {
				t.Errorf("%q is refused: %v", s, err)
			}
			return
		}
		if got < 0 {
			t.Errorf("%q gives %s", s, got)
		}
		if plain == nil && got != want {
			t.Errorf("%q gives %s, want %s", s, got, want)
		}
		if again, err := parseDuration(got.String(), "ms", 0); err != nil || again != got {
			t.Errorf("%q gives %s, which gives %s, %v", s, got, again, err)
		}
	})
}
