package config

import "regexp"

// hidden stands for a secret.
const hidden = "***"

// secretName matches names whose values are probably secrets, and secretText
// text that probably holds one, as the connection strings of databases do.
var (
	secretName = regexp.MustCompile(`(?i)pass(word|wd|phrase)|(^|[_-])pass$|secret|token$|api_?key|credential|private_?key`)
	secretText = regexp.MustCompile(`(?i)(pass\w*|pwd|secret|token|key)\s*=`)
)

// An Entry is one setting as it holds, and why.
type Entry struct {
	Name    string
	Value   string // secrets as ***
	Origin  string // "default", "environment", "flag --x", "fnhost.yaml:12"
	Default string
	Help    string
}

// yamlEntry is one value of fnhost.yaml, fit to be shown.
type yamlEntry struct {
	name, shown, origin string
}

// Entries are all settings in the order of [Settings], then those of fnhost.yaml
// in its own order.
func (c *Config) Entries() []Entry {
	entries := make([]Entry, 0, len(Settings)+len(c.lines))
	for _, s := range Settings {
		v := c.values[s.Name]
		entries = append(entries, Entry{Name: s.Name, Value: c.show(&s, v.raw), Origin: v.origin, Default: s.Default, Help: s.Help})
	}
	for _, line := range c.lines {
		entries = append(entries, Entry{Name: line.name, Value: line.shown, Origin: line.origin, Help: fileHelp(line.name)})
	}
	return entries
}

func (c *Config) show(s *Setting, raw string) string {
	switch {
	case s.Name == "REDIS_URL":
		return redactURL(raw)
	case s.Name == "FNHOST_DRAIN_TIMEOUT":
		return c.DrainTimeout.String()
	case s.Name == "FNHOST_CONFIG":
		return c.ConfigFile
	case s.secret && raw != "":
		return hidden
	}
	return raw
}
