package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A Problem is one thing that is wrong with one setting. What never shows a secret.
type Problem struct {
	Setting string // the variable, or the path in fnhost.yaml
	Origin  string // where its value came from, as [Entry] has it; may be empty
	What    string // what is wrong, and what was probably meant
}

// Error names the setting, where it was set, and what is wrong.
func (p *Problem) Error() string {
	if p.Origin == "" {
		return p.Setting + ": " + p.What
	}
	return fmt.Sprintf("%s (%s): %s", p.Setting, p.Origin, p.What)
}

// value is a setting's text and where it came from.
type value struct{ raw, origin string }

const fromDefault = "default"

// Load reads all settings and checks them. The error joins all that is wrong,
// each a [*Problem].
func Load(from Sources) (*Config, error) {
	c := &Config{values: map[string]value{}, Roles: map[string]Role{}}
	env := environment(from.Environ)
	problems := c.checkNames(env)
	problems = append(problems, c.take(env, from.Flags)...)
	c.Redis.settle()
	problems = append(problems, c.readFile(from.WorkDir, env)...)
	c.placeFiles(from.WorkDir)
	c.settleDrain()
	problems = append(problems, c.contradictions(problems)...)
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	c.advise()
	return c, nil
}

// take puts each setting's value into its field.
func (c *Config) take(env, flags map[string]string) (problems []error) {
	for i := range Settings {
		s := &Settings[i]
		v := s.choose(env, flags)
		c.values[s.Name] = v
		if v.raw == "" && !(s.emptyOff && v.origin != fromDefault) {
			continue
		}
		if err := s.parse(c, v.raw); err != nil {
			problems = append(problems, &Problem{Setting: s.Name, Origin: v.origin, What: err.Error()})
		}
	}
	for _, name := range sortedKeys(flags) {
		if byName(name) == nil {
			problems = append(problems, &Problem{Setting: name, Origin: "flag", What: "there is no such setting"})
		}
	}
	c.Redis.Given = c.isSet("REDIS_URL") || c.isSet("REDIS_HOST")
	return problems
}

// choose takes the flag, or the environment, or the default. An empty variable
// is as none, since compose files and shells make those by accident; but where
// empty means something, it is a value.
func (s *Setting) choose(env, flags map[string]string) value {
	if raw, ok := s.look(flags); ok {
		return value{raw, "flag --" + s.Flag}
	}
	if raw, ok := s.look(env); ok {
		return value{raw, "environment"}
	}
	return value{s.start(), fromDefault}
}

// look drops space around a value, which files of variables often carry; a
// password may mean its own.
func (s *Setting) look(in map[string]string) (raw string, ok bool) {
	raw, ok = in[s.Name]
	if s.Name != "REDIS_PASSWORD" {
		raw = strings.TrimSpace(raw)
	}
	return raw, ok && (raw != "" || s.emptyOff)
}

func (c *Config) isSet(name string) bool { return c.values[name].origin != fromDefault }

func (c *Config) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

func (c *Config) unsupported(format string, args ...any) {
	c.Unsupported = append(c.Unsupported, fmt.Sprintf(format, args...))
}

// placeFiles makes relative paths begin at dir.
func (c *Config) placeFiles(dir string) {
	for _, path := range []*string{&c.PluginDir, &c.StateDir} {
		*path = under(dir, *path)
	}
}

func under(dir, path string) string {
	if dir == "" || path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// settleDrain gives the longest handler its time and a little more.
func (c *Config) settleDrain() {
	if c.isSet("FNHOST_DRAIN_TIMEOUT") {
		return
	}
	longest := c.HandlerTimeout
	for _, role := range c.Roles {
		longest = max(longest, given(role.Timeout))
	}
	c.DrainTimeout = longest + 5*time.Second
}

// contradictions finds values that are right each and wrong together. Those
// that are wrong by themselves, as found says, contradict nothing.
func (c *Config) contradictions(found []error) (problems []error) {
	sound := func(settings ...string) bool { return !slices.ContainsFunc(found, isAbout(settings)) }
	bad := func(setting, format string, args ...any) {
		problems = append(problems, &Problem{Setting: setting, Origin: c.values[setting].origin, What: fmt.Sprintf(format, args...)})
	}
	if beat := c.Heartbeat; beat.Enabled && beat.Interval >= beat.TTL && sound("OPS_HB_INTERVAL", "OPS_HB_TTL") {
		bad("OPS_HB_INTERVAL", "%s is not shorter than OPS_HB_TTL, %s: heartbeats would lapse between two beats", beat.Interval, beat.TTL)
	}
	if c.RetryBackoff > c.RetryBackoffMax && sound("REDIS_RETRY_BACKOFF_MS", "REDIS_RETRY_BACKOFF_MAX_MS") {
		bad("REDIS_RETRY_BACKOFF_MS", "%s is longer than REDIS_RETRY_BACKOFF_MAX_MS, %s", c.RetryBackoff, c.RetryBackoffMax)
	}
	if c.Window > 0 && c.Window < c.Concurrency && sound("FNHOST_WINDOW", "FNHOST_CONCURRENCY") {
		bad("FNHOST_WINDOW", "%d is fewer than FNHOST_CONCURRENCY, %d: handlers would have nothing to run; raise it, or leave it at 0", c.Window, c.Concurrency)
	}
	if sameAddress(c.AdminAddr, c.MetricsAddr) {
		bad("FNHOST_METRICS_ADDR", "%s is also FNHOST_ADMIN_ADDR, %s: give one of them another port", c.MetricsAddr, c.AdminAddr)
	}
	if filepath.Clean(c.StateDir) == filepath.Clean(c.PluginDir) {
		bad("FNHOST_STATE_DIR", "%s is also FNHOST_PLUGIN_DIR: what the host writes there would be taken for plugins", c.values["FNHOST_STATE_DIR"].raw)
	}
	if sound("REDIS_RETRY_BACKOFF_MAX_MS") {
		problems = append(problems, c.roleContradictions()...)
	}
	if len(found) > 0 { // names that are wrong by themselves would be reported twice
		return problems
	}
	if _, err := c.Topology(); err != nil {
		problems = append(problems, &Problem{Setting: "REDIS_STREAM_*, REDIS_GROUP*, OPS_IDEMP_PREFIX and fnhost.yaml, taken together", What: err.Error()})
	}
	return problems
}

func isAbout(settings []string) func(error) bool {
	return func(err error) bool {
		var problem *Problem
		return errors.As(err, &problem) && slices.Contains(settings, problem.Setting)
	}
}

// advise warns of what is allowed and seldom meant, and notes what cannot be done yet.
func (c *Config) advise() {
	if c.isSet("REDIS_URL") {
		for _, name := range []string{"REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD"} {
			if c.isSet(name) {
				c.warn("%s is ignored: REDIS_URL wins", name)
			}
		}
	}
	if c.LeaseTTL < 3*time.Second {
		c.warn("OPS_LEASE_TTL is %s: a host or a Redis that pauses for longer loses its messages to another host, which runs them again", c.LeaseTTL)
	}
	if c.IdempTTL < c.LeaseTTL {
		c.warn("OPS_IDEMP_TTL, %s, is shorter than OPS_LEASE_TTL, %s: it is forgotten that a message is done while an older holder may still answer for it", c.IdempTTL, c.LeaseTTL)
	}
	for _, name := range sortedKeys(c.Roles) {
		c.wishes(name, c.Roles[name])
	}
}

// sameAddress says whether two listeners would get in each other's way.
func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	hostA, hostB = loopback(hostA), loopback(hostB)
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
}

func loopback(host string) string {
	if host == "localhost" {
		return "127.0.0.1"
	}
	return host
}

func everywhere(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

// Refusal is a [*UnsupportedError] if the settings ask for what the host cannot do yet.
func (c *Config) Refusal() error {
	if len(c.Unsupported) == 0 {
		return nil
	}
	return &UnsupportedError{Wishes: c.Unsupported}
}

// Error lists what is asked for.
func (e *UnsupportedError) Error() string {
	return "this host cannot do what its settings ask for: " + strings.Join(e.Wishes, "; ")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
