package config

import (
	"slices"
	"strings"
	"time"
)

// A Setting is one variable of the environment, and the flag for the same. Its
// declaration in [Settings] is the only one: the command line makes its flags
// from it, and docs/config.md is made from it.
type Setting struct {
	Name    string // of the environment variable
	Flag    string // without the dashes; empty: a flag would show a secret to every user of the machine
	Default string // as one would write it; may be words in parentheses
	Unit    string // of a bare number: "s", "ms"; empty: none
	Help    string

	secret   bool // shown as ***
	noFlag   bool
	emptyOff bool // an empty value is a value, and means none
	parse    parser
}

// Settings are all settings, in the order in which they are explained.
var Settings = withFlags([]Setting{
	{Name: "REDIS_URL", Default: "(made from the four below)", secret: true, parse: redisURL,
		Help: "Where Redis is: redis://, rediss:// (TLS) or unix://, with user, password and database. Wins over the four below."},
	{Name: "REDIS_HOST", Default: "localhost", parse: text(func(c *Config) *string { return &c.Redis.Host }), Help: "Host of Redis."},
	{Name: "REDIS_PORT", Default: "6379", parse: whole(func(c *Config) *int { return &c.Redis.Port }, 1, 65535), Help: "Port of Redis."},
	{Name: "REDIS_DB", Default: "0", parse: whole(func(c *Config) *int { return &c.Redis.DB }, 0, 1<<20), Help: "Number of the database."},
	{Name: "REDIS_PASSWORD", secret: true, noFlag: true, parse: text(func(c *Config) *string { return &c.Redis.Password }), Help: "Password of Redis. No flag: a command line can be read by others."},
	{Name: "REDIS_NAMESPACE", Default: "agentic", parse: namespace, Help: "What all keys begin with."},

	{Name: "REDIS_STREAM_TASKS", Default: "rag:tasks", parse: stream(func(c *Config) *string { return &c.RAG.Tasks }), Help: "Input stream of role rag."},
	{Name: "REDIS_STREAM_RESULTS", Default: "rag:results", parse: stream(func(c *Config) *string { return &c.RAG.Results }), Help: "Results stream of role rag."},
	{Name: "REDIS_STREAM_DLQ", Default: "rag:dlq", emptyOff: true, parse: stream(func(c *Config) *string { return &c.RAG.DLQ }), Help: "Dead letters of role rag; empty: none are kept, as ENABLE_DLQ=0 for this role."},
	{Name: "REDIS_GROUP", Default: "rag-workers", parse: group(func(c *Config) *string { return &c.RAG.Group }), Help: "Consumer group of role rag."},
	{Name: "REDIS_STREAM_TASKS_WRITE", Default: "persist:tasks", parse: stream(func(c *Config) *string { return &c.Persist.Tasks }), Help: "Input stream of role persist."},
	{Name: "REDIS_STREAM_RESULTS_WRITE", Default: "persist:results", parse: stream(func(c *Config) *string { return &c.Persist.Results }), Help: "Results stream of role persist."},
	{Name: "REDIS_STREAM_DLQ_WRITE", Default: "persist:dlq", emptyOff: true, parse: stream(func(c *Config) *string { return &c.Persist.DLQ }), Help: "Dead letters of role persist; empty: none are kept."},
	{Name: "REDIS_GROUP_WRITERS", Default: "persist-writers", parse: group(func(c *Config) *string { return &c.Persist.Group }), Help: "Consumer group of role persist."},

	{Name: "REDIS_GROUP_START", Default: "$", parse: groupStart,
		Help: "Where a group begins when it is first created on a stream that already has entries: $ with what comes next (the skipped ones are counted and warned of), 0-0 with the first. On a stream that does not exist yet it is always 0-0, and a lost group is made again just below its lowest undecided entry."},
	{Name: "REDIS_MAX_RETRIES", Default: "2", parse: whole(func(c *Config) *int { return &c.MaxRetries }, 0, 1000), Help: "Retries of a message whose handler failed; attempts = 1 + retries."},
	{Name: "REDIS_RETRY_BACKOFF_MS", Default: "0", Unit: "ms", parse: span(durationOf.backoff, "ms", 0), Help: "Wait before the first retry; it doubles for each further one, with jitter. 0: at once."},
	{Name: "REDIS_RETRY_BACKOFF_MAX_MS", Default: "30000", Unit: "ms", parse: span(durationOf.backoffMax, "ms", 0), Help: "Longest wait before a retry."},
	{Name: "ENABLE_DLQ", Default: "1", parse: boolean(func(c *Config) *bool { return &c.DLQEnabled }), Help: "0: no role has dead letters: a message that finally failed is acked, audited and counted as discarded. A role's dlq in fnhost.yaml overrides it."},
	{Name: "REDIS_STREAM_MAXLEN", Default: "(no trimming)", parse: whole(func(c *Config) *int64 { return &c.StreamMaxLen }, 1, 1<<53),
		Help: "Results and dead letters are trimmed to about this many entries. A dropped dead letter is counted and audited. A stream that has a group is never trimmed by length."},
	{Name: "REDIS_TASKS_RETENTION", Default: "(no trimming)", Unit: "s", parse: span(durationOf.retention, "s", time.Millisecond), Help: "Input entries older than this that no group still needs are trimmed."},
	{Name: "FNHOST_DURABILITY", Default: "none", parse: durability, Help: "When a commit counts: none, as soon as Redis has run it; wait:N, once N replicas have it; waitaof, once the append-only file has it."},

	{Name: "OPS_HB_ENABLED", Default: "1", parse: boolean(func(c *Config) *bool { return &c.Heartbeat.Enabled }), Help: "Heartbeats, for monitors; leases do not depend on them."},
	{Name: "OPS_HB_TTL", Default: "30", Unit: "s", parse: span(durationOf.beatTTL, "s", time.Millisecond), Help: "How long a heartbeat lasts."},
	{Name: "OPS_HB_INTERVAL", Default: "10", Unit: "s", parse: span(durationOf.beat, "s", time.Millisecond), Help: "How often a heartbeat is given; shorter than OPS_HB_TTL."},
	{Name: "OPS_IDEMP_TTL", Default: "60", Unit: "s", parse: span(durationOf.idemp, "s", time.Millisecond), Help: "How long it is remembered that a message is done. Redis keeps about 212 bytes for each message of that time."},
	{Name: "OPS_IDEMP_PREFIX", Default: "ops:idemp", parse: text(func(c *Config) *string { return &c.IdempPrefix }), Help: "First part of the names of locks and done marks; older workers have locks:idemp."},
	{Name: "OPS_LEASE_TTL", Default: "15", Unit: "s", parse: span(durationOf.lease, "s", minLease), Help: "Lease of a message that a host holds, renewed at a third of it. After a host's death others take its messages over once it has passed."},
	{Name: "OPS_AUDIT_ENABLED", Default: "1", parse: boolean(func(c *Config) *bool { return &c.Audit.Enabled }), Help: "Audit events and spans."},
	{Name: "OPS_AUDIT_SAMPLE", Default: "1.0", parse: share(func(c *Config) *float64 { return &c.Audit.Sample }), Help: "Share of messages that are audited, 0 to 1."},
	{Name: "OPS_AUDIT_MAXLEN", Default: "20000", parse: whole(func(c *Config) *int64 { return &c.Audit.MaxLen }, 1, 1<<53), Help: "Entries that each audit stream keeps, about."},

	{Name: "FNHOST_PLUGIN_DIR", Flag: "plugins", Default: "./bin/plugins", parse: text(func(c *Config) *string { return &c.PluginDir }), Help: "Directory of the plugins' binaries, read at the start."},
	{Name: "FNHOST_CONCURRENCY", Default: "64", parse: whole(func(c *Config) *int { return &c.Concurrency }, 1, 1<<20), Help: "Handlers of a role that run at once. A plugin's own description and fnhost.yaml override it."},
	{Name: "FNHOST_WINDOW", Default: "0", parse: whole(func(c *Config) *int { return &c.Window }, 0, 1<<20), Help: "Messages of a role that the host holds, running or waiting. 0: adapts to the work, up to 4096 messages or 32 MiB. A plugin's own description and fnhost.yaml override it."},
	{Name: "FNHOST_HANDLER_TIMEOUT", Default: "30s", Unit: "s", parse: span(durationOf.handler, "s", time.Millisecond), Help: "Longest run of one handler. A plugin's own description and fnhost.yaml override it."},
	{Name: "FNHOST_DRAIN_TIMEOUT", Default: "(handler timeout + 5s)", Unit: "s", parse: span(durationOf.drain, "s", 0), Help: "How long a host that stops waits for its handlers."},
	{Name: "FNHOST_CONFIG", Default: "(./fnhost.yaml if there)", parse: text(func(c *Config) *string { return &c.ConfigFile }), Help: "File of the settings per role."},
	{Name: "FNHOST_STATE_DIR", Default: "./.fnhost", parse: text(func(c *Config) *string { return &c.StateDir }), Help: "Directory for staged binaries, sockets, and the embedded databases of plugins."},
	{Name: "FNHOST_LOG_LEVEL", Default: "info", parse: choice(func(c *Config) *string { return &c.LogLevel }, "debug", "info", "warn", "error"), Help: "What is logged: debug, info, warn or error."},
	{Name: "FNHOST_LOG_FORMAT", Default: "(text on a terminal, else json)", parse: choice(func(c *Config) *string { return &c.LogFormat }, "text", "json"), Help: "How it is logged: text or json."},
	{Name: "FNHOST_OUTPUT", Default: "table", parse: choice(func(c *Config) *string { return &c.Output }, "table", "json"), Help: "How commands print data: table or json."},
	{Name: "FNHOST_ADMIN_ADDR", Default: "127.0.0.1:9400", parse: address(func(c *Config) *string { return &c.AdminAddr }), Help: "Reserved for the dashboard and the API, which are not there yet; off: nowhere."},
	{Name: "FNHOST_METRICS_ADDR", Default: "127.0.0.1:9401", parse: address(func(c *Config) *string { return &c.MetricsAddr }), Help: "Where /metrics, /healthz and /readyz listen; off: nowhere."},
})

// withFlags names each setting's flag after its variable, unless it says its own.
func withFlags(settings []Setting) []Setting {
	for i := range settings {
		s := &settings[i]
		if s.Flag == "" && !s.noFlag {
			s.Flag = strings.TrimPrefix(strings.ToLower(strings.ReplaceAll(s.Name, "_", "-")), "fnhost-")
		}
	}
	return settings
}

// byName finds a setting by the name of its variable.
func byName(name string) *Setting {
	i := slices.IndexFunc(Settings, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &Settings[i]
}

// start is the default as a value; words in parentheses are none.
func (s *Setting) start() string {
	if strings.HasPrefix(s.Default, "(") {
		return ""
	}
	return s.Default
}
