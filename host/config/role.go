package config

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/fnhost/fnhost/host/topology"
	"gopkg.in/yaml.v3"
)

// fileKeys are the keys of a role in fnhost.yaml, and what each is for.
var fileKeys = []struct{ name, help string }{
	{"concurrency", "Handlers that run at once."},
	{"window", "Messages that the host holds, running or waiting; 0: adaptive."},
	{"timeout", "Longest run of one handler; a bare number is in s."},
	{"max_retries", "Retries of a message whose handler failed; attempts = 1 + retries."},
	{"retry_backoff", "Wait before the first retry; a bare number is in ms."},
	{"results", "Stream that results go to, for all subscriptions; empty: none are published."},
	{"dlq", "Stream that dead letters go to; empty: none are kept."},
	{"emits", "Streams, or roles, that the function may emit to, in place of those that its plugin names. A role's name follows when its stream is renamed."},
	{"processes", "Processes of the plugin that run at once."},
	{"swap", "How a new binary takes over: rolling, or recreate if two may not run at once."},
	{"plugin.settings", "Any object, handed to the plugin's Configure; ${env:NAME} in its texts is replaced by that variable."},
	{"plugin.env", "Variables added to the plugin's environment; ${env:NAME} is replaced by that variable."},
	{"plugin.sha256", "The only binary that may be started."},
	{"plugin.limits.memory", "Memory of the plugin's process, as 512MiB."},
	{"plugin.limits.cpu", "Cores that it may use, as 1.5."},
	{"plugin.limits.open_files", "Files that it may have open."},
}

const repliesHelp = "Further streams that a message's replyto may name, besides every role's inputs."

// fileHelp explains a path of fnhost.yaml.
func fileHelp(path string) string {
	parts := strings.SplitN(path, ".", 3) // roles, the role, the key
	if len(parts) < 3 {
		return repliesHelp
	}
	for _, key := range fileKeys {
		if parts[2] == key.name || strings.HasPrefix(parts[2], key.name+".") {
			return key.help
		}
	}
	return ""
}

func (f *file) role(path string, line int, n *yaml.Node) Role {
	r := Role{Line: line}
	f.object(n, path, fields{
		"concurrency":   func(path string, n *yaml.Node) { r.Concurrency = f.whole(path, n, 1, 1<<20) },
		"window":        func(path string, n *yaml.Node) { r.Window = f.whole(path, n, 0, 1<<20) },
		"timeout":       func(path string, n *yaml.Node) { r.Timeout = f.duration(path, n, "s", time.Millisecond) },
		"max_retries":   func(path string, n *yaml.Node) { r.MaxRetries = f.whole(path, n, 0, 1000) },
		"retry_backoff": func(path string, n *yaml.Node) { r.RetryBackoff = f.duration(path, n, "ms", 0) },
		"results":       func(path string, n *yaml.Node) { r.Results = f.stream(path, n) },
		"dlq":           func(path string, n *yaml.Node) { r.DLQ = f.stream(path, n) },
		"emits":         func(path string, n *yaml.Node) { r.Emits = f.streams(path, n) },
		"processes":     func(path string, n *yaml.Node) { r.Processes = f.whole(path, n, 1, 1<<20) },
		"swap": func(path string, n *yaml.Node) {
			r.Swap = read(f, path, n, func(s string) (string, error) { return parseChoice(s, []string{"rolling", "recreate"}) })
		},
		"plugin": func(path string, n *yaml.Node) { r.Plugin = f.plugin(path, n) },
	})
	return r
}

// read takes a plain value; nil if there is a problem with it.
func read[T any](f *file, path string, n *yaml.Node, parse func(string) (T, error)) *T {
	raw, ok := f.scalar(path, n)
	if !ok {
		return nil
	}
	v, err := parse(raw)
	if err != nil {
		f.fail(path, n, "%v", err)
		return nil
	}
	f.note(path, n, raw)
	return &v
}

func (f *file) whole(path string, n *yaml.Node, least, most int) *int {
	return read(f, path, n, func(s string) (int, error) { return parseWhole(s, least, most) })
}

func (f *file) duration(path string, n *yaml.Node, unit string, least time.Duration) *time.Duration {
	return read(f, path, n, func(s string) (time.Duration, error) { return parseDuration(s, unit, least) })
}

// stream takes a stream's name, or nothing, which means none.
func (f *file) stream(path string, n *yaml.Node) *string {
	return read(f, path, n, func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return s, topology.CheckStream(s)
	})
}

// streams takes a list of names; it is never nil, since an empty list means nowhere.
func (f *file) streams(path string, n *yaml.Node) []string {
	names := []string{}
	list := f.resolve(path, n)
	if list == nil || isNull(list) {
		return names
	}
	if list.Kind != yaml.SequenceNode {
		f.fail(path, n, "it must be a list, as [rag, \"persist:tasks\"]")
		return names
	}
	for i, item := range list.Content {
		path := fmt.Sprintf("%s[%d]", path, i)
		name, ok := f.scalar(path, item)
		if !ok {
			continue
		}
		if err := topology.CheckStream(name); err != nil {
			f.fail(path, item, "%v", err)
		}
		names = append(names, name)
	}
	f.note(path, n, strings.Join(names, ", "))
	return names
}

func (f *file) plugin(path string, n *yaml.Node) (p Plugin) {
	f.object(n, path, fields{
		"settings": func(path string, n *yaml.Node) { p.Settings = f.settings(path, n) },
		"env":      func(path string, n *yaml.Node) { p.Env = f.variables(path, n) },
		"sha256":   func(path string, n *yaml.Node) { p.SHA256 = given(read(f, path, n, parseSHA256)) },
		"limits":   func(path string, n *yaml.Node) { p.Limits = f.limits(path, n) },
	})
	return p
}

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

func parseSHA256(raw string) (string, error) {
	lower := strings.ToLower(raw)
	if !sha256Hex.MatchString(lower) {
		return "", fmt.Errorf("%q is not a SHA-256 in hex, 64 digits, as sha256sum prints it", raw)
	}
	return lower, nil
}

func (f *file) limits(path string, n *yaml.Node) (l Limits) {
	f.object(n, path, fields{
		"memory":     func(path string, n *yaml.Node) { l.Memory = given(read(f, path, n, parseSize)) },
		"cpu":        func(path string, n *yaml.Node) { l.CPU = given(read(f, path, n, parseCores)) },
		"open_files": func(path string, n *yaml.Node) { l.OpenFiles = given(f.whole(path, n, 1, 1<<20)) },
	})
	return l
}

func parseSize(raw string) (int64, error) {
	n, err := humanize.ParseBytes(raw)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, fmt.Errorf("%q is not a size, as 512MiB", raw)
	}
	return int64(n), nil
}

func parseCores(raw string) (float64, error) {
	cores, err := strconv.ParseFloat(raw, 64)
	if err != nil || !(cores > 0 && cores <= 4096) {
		return 0, fmt.Errorf("%q is not a number of cores, as 1.5", raw)
	}
	return cores, nil
}

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// hostsOwn are variables by which the host and a plugin find each other.
	hostsOwn = regexp.MustCompile(`^(FNHOST_|PLUGIN_)`)
)

func (f *file) variables(path string, n *yaml.Node) map[string]string {
	env := map[string]string{}
	f.each(n, path, func(path, name string, key, n *yaml.Node) {
		switch {
		case !variableName.MatchString(name):
			f.fail(path, key, "it is not the name of a variable")
		case hostsOwn.MatchString(name):
			f.fail(path, key, "names that begin with FNHOST_ or PLUGIN_ are the host's own")
		}
		if _, ok := f.scalar(path, n); ok {
			env[name], _ = f.fill(path, f.resolve(path, n))
			f.note(path, n, hidden)
		}
	})
	return env
}

// settings turns the object into JSON, for Configure, and shows it without secrets.
func (f *file) settings(path string, n *yaml.Node) json.RawMessage {
	if object := f.resolve(path, n); object == nil || !isNull(object) && object.Kind != yaml.MappingNode {
		f.fail(path, n, "it must be an object: keys and values below it, indented")
		return nil
	}
	real, shown := map[string]any{}, map[string]any{}
	f.each(n, path, func(path, name string, _, n *yaml.Node) { real[name], shown[name] = f.any(path, n) })
	data, err := json.Marshal(real)
	if err != nil {
		f.fail(path, n, "it has a value that JSON has not (infinity, or not a number)")
		return nil
	}
	redacted, _ := json.Marshal(shown) // marshals as real does
	f.note(path, n, string(redacted))
	return data
}

// any gives a value of any kind, and the same to be shown.
func (f *file) any(path string, n *yaml.Node) (real, shown any) {
	n = f.resolve(path, n)
	switch {
	case n == nil:
		return nil, nil
	case n.Kind == yaml.MappingNode:
		realMap, shownMap := map[string]any{}, map[string]any{}
		f.each(n, path, func(path, name string, _, n *yaml.Node) { realMap[name], shownMap[name] = f.any(path, n) })
		return realMap, shownMap
	case n.Kind == yaml.SequenceNode:
		realList, shownList := make([]any, len(n.Content)), make([]any, len(n.Content))
		for i, item := range n.Content {
			realList[i], shownList[i] = f.any(fmt.Sprintf("%s[%d]", path, i), item)
		}
		return realList, shownList
	}
	return f.leaf(path, n)
}

func (f *file) leaf(path string, n *yaml.Node) (real, shown any) {
	switch n.Tag {
	case "!!str", "!!timestamp": // a date is text in JSON, as it was written
		text, secret := f.fill(path, n)
		if secret || secretName.MatchString(lastPart(path)) || secretText.MatchString(text) && !strings.Contains(text, "://") {
			return text, hidden
		}
		if strings.Contains(text, "://") {
			return text, redactURL(text)
		}
		return text, text
	}
	if err := n.Decode(&real); err != nil {
		f.fail(path, n, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if secretName.MatchString(lastPart(path)) {
		return real, hidden
	}
	return real, real
}

// roleContradictions finds what is wrong together in fnhost.yaml.
func (c *Config) roleContradictions() (problems []error) {
	for _, name := range sortedKeys(c.Roles) {
		r := c.Roles[name]
		bad := func(key, format string, args ...any) {
			path := "roles." + name + "." + key
			problems = append(problems, &Problem{Setting: path, Origin: c.lineOf(path), What: fmt.Sprintf(format, args...)})
		}
		window, concurrency := given(r.Window), given(r.Concurrency)
		if window > 0 && window < concurrency {
			bad("window", "%d is fewer than the role's concurrency, %d: handlers would have nothing to run", window, concurrency)
		}
		if backoff := given(r.RetryBackoff); backoff > c.RetryBackoffMax {
			bad("retry_backoff", "%s is longer than REDIS_RETRY_BACKOFF_MAX_MS, %s", backoff, c.RetryBackoffMax)
		}
	}
	return problems
}

// wishes notes what a role asks for that the host cannot do yet.
func (c *Config) wishes(name string, r Role) {
	if n := given(r.Processes); n > 1 {
		c.unsupported("roles.%s.processes: %d is not available yet: set 1, or raise concurrency", name, n)
	}
	if r.Swap != nil {
		c.unsupported("roles.%s.swap: %s is not available yet: leave it out, and restart the host for a new binary", name, *r.Swap)
	}
	if r.Plugin.Limits != (Limits{}) {
		c.unsupported("roles.%s.plugin.limits is not available yet: limit the host's own process, as by a container", name)
	}
}

func (c *Config) lineOf(path string) string {
	for _, line := range c.lines {
		if line.name == path {
			return line.origin
		}
	}
	return ""
}
