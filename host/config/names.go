package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// prefixes are those of our variables, and of many another program's.
var prefixes = []string{"REDIS_", "OPS_", "FNHOST_", "ENABLE_"}

// elsewhere are variables that other parts of fnhost read themselves.
var elsewhere = regexp.MustCompile(`^FNHOST_(TEST_.*|TOKEN|TOKEN_FILE|PLUGIN|LIFELINE)$`)

// foreign are well-known variables of other programs that stand within two
// letters of ours, and what to do if they were meant for us.
var foreign = map[string]string{
	"REDIS_SSL": "for TLS write rediss:// in REDIS_URL",
	"REDIS_TLS": "for TLS write rediss:// in REDIS_URL",
}

// serviceLink matches what Kubernetes puts into a pod for each service; so a
// service called redis brings REDIS_SERVICE_HOST and REDIS_PORT_6379_TCP_ADDR.
var serviceLink = regexp.MustCompile(`_SERVICE_(HOST|PORT(_.+)?)$|_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

var linkURL = regexp.MustCompile(`^(tcp|udp|sctp)://`)

func isServiceLink(name, value string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && linkURL.MatchString(value)
}

// environment makes a map of what os.Environ gives, without service links.
func environment(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, pair := range environ {
		if name, value, ok := strings.Cut(pair, "="); ok && !isServiceLink(name, value) {
			env[name] = value
		}
	}
	return env
}

// checkNames finds misspelt settings, and warns of unknown ones.
func (c *Config) checkNames(env map[string]string) (problems []error) {
	for _, name := range sortedKeys(env) {
		if byName(name) != nil || elsewhere.MatchString(name) {
			continue
		}
		ours := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
		within := 1 // for FNHSOT_WINDOW, and little else
		if ours {
			within = 2
		}
		if advice, known := foreign[name]; known {
			c.warn("%s is not a setting of fnhost: %s", name, advice)
		} else if meant, ok := nearest(name, settingNames(), within); ok {
			problems = append(problems, &Problem{Setting: name, Origin: "environment",
				What: fmt.Sprintf("there is no such setting; did you mean %s?", meant)})
		} else if ours && !strings.HasPrefix(name, "ENABLE_") {
			c.warn("%s is not a setting of fnhost, and is ignored", name)
		}
	}
	return problems
}

func settingNames() []string {
	names := make([]string, len(Settings))
	for i, s := range Settings {
		names[i] = s.Name
	}
	return names
}

// nearest is the candidate with the fewest letters changed, if that is at most within.
func nearest(name string, candidates []string, within int) (string, bool) {
	best, found := "", false
	for _, candidate := range candidates {
		if d := distance(name, candidate); d <= within {
			best, found, within = candidate, true, d-1
		}
	}
	return best, found
}

// distance counts the letters added, left out, replaced, or swapped with their
// neighbour between a and b (Damerau-Levenshtein, each letter changed once).
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := last[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(last[j]+1, row[j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
