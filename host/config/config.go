// Package config holds the settings of a host: typed, strict, and each with the
// place its value came from. The environment comes first, flags win over it, and
// fnhost.yaml has what is set per role. It reads no global state: what it looks
// at is in [Sources].
package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"time"
)

// Config is every setting of a host, checked. Make one by [Load]; it must not
// be changed afterwards.
type Config struct {
	Redis     Redis
	Namespace string // what all keys begin with

	RAG     Streams // where role rag reads and writes
	Persist Streams // where role persist reads and writes

	GroupStart      string        // "$", or a stream id: where a group begins on a stream that has entries
	MaxRetries      int           // attempts = 1 + retries
	RetryBackoff    time.Duration // before the first retry; doubles from there
	RetryBackoffMax time.Duration
	DLQEnabled      bool
	StreamMaxLen    int64         // of results and dead letters; 0: not trimmed
	TasksRetention  time.Duration // of inputs; 0: not trimmed
	Durability      Durability

	Heartbeat   Heartbeat
	IdempTTL    time.Duration // how long a done mark is kept
	IdempPrefix string
	LeaseTTL    time.Duration
	Audit       Audit

	PluginDir      string // absolute if [Sources] has a WorkDir
	Concurrency    int    // handlers at once, per role
	Window         int    // messages held per role, running or waiting; 0: adaptive
	HandlerTimeout time.Duration
	DrainTimeout   time.Duration

	ConfigFile  string // the fnhost.yaml that was read; empty: none
	StateDir    string // absolute if [Sources] has a WorkDir
	LogLevel    string // debug, info, warn or error
	LogFormat   string // text or json; empty: text on a terminal, else json
	Output      string // table or json
	AdminAddr   string // host:port; empty: off
	MetricsAddr string // host:port; empty: off

	Roles   map[string]Role // fnhost.yaml, by role
	Replies []string        // further streams that a message's replyto may name

	// Warnings are worth a line in the log, once, and no reason to stop.
	Warnings []string
	// Unsupported says, in words, what the settings ask for that the host cannot
	// do yet; see [Config.Refusal].
	Unsupported []string

	values map[string]value // by setting
	lines  []yamlEntry      // fnhost.yaml, in its order
}

// String says which settings these are; [Config.Entries] says what they are. So
// a Config that gets into a log or an error brings no secret there.
func (c Config) String() string {
	return fmt.Sprintf("settings of namespace %q, Redis at %s", c.Namespace, c.Redis.Redacted())
}

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue is String.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Streams are a role's names that the environment may change.
type Streams struct {
	Tasks, Results, Group string
	DLQ                   string // empty: no dead letters are kept
}

// Heartbeat is the sign of life of each role, for monitors.
type Heartbeat struct {
	Enabled       bool
	TTL, Interval time.Duration
}

// Audit is what the audit streams take.
type Audit struct {
	Enabled bool
	Sample  float64 // share of messages, 0 to 1
	MaxLen  int64   // entries kept, about
}

// Role is what fnhost.yaml says of one role. A nil field is not set.
type Role struct {
	Concurrency  *int
	Window       *int
	Timeout      *time.Duration
	MaxRetries   *int
	RetryBackoff *time.Duration
	Results      *string  // empty: no results are published
	DLQ          *string  // empty: final failures are discarded
	Emits        []string // nil: not set; empty: it may emit nowhere
	Processes    *int
	Swap         *string // rolling or recreate
	Plugin       Plugin

	Line int // where fnhost.yaml begins with it
}

// Plugin is what fnhost.yaml says of a role's plugin. Settings and Env hold
// secrets: they are for the plugin only, and never for a log.
type Plugin struct {
	Settings json.RawMessage   // a JSON object for Configure; nil: none
	Env      map[string]string // added to the plugin's environment
	SHA256   string            // lower-case hex: the only binary to be started; empty: any
	Limits   Limits
}

// Limits bound a plugin's process; zero is no limit.
type Limits struct {
	Memory    int64   // bytes
	CPU       float64 // cores
	OpenFiles int
}

// String says that there are settings, not what they are.
func (p Plugin) String() string {
	return fmt.Sprintf("plugin settings of %d bytes, %d variables, sha256 %q", len(p.Settings), len(p.Env), p.SHA256)
}

// GoString is String: secrets stay out of %#v too.
func (p Plugin) GoString() string { return p.String() }

// Sources are where settings come from.
type Sources struct {
	Environ []string          // as os.Environ gives it
	Flags   map[string]string // by setting name, as given on the command line
	WorkDir string            // what relative paths start from; empty: they stay relative
}

// UnsupportedError says what the settings ask for that the host cannot do yet.
type UnsupportedError struct{ Wishes []string }
