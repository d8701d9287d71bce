package topology

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The forms of names. A group and a role have no ':', so that a key in which
// one of them follows or precedes a stream's name can be read in one way only.
var (
	roleName      = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	streamName    = regexp.MustCompile(`^[A-Za-z0-9._{}-]+(:[A-Za-z0-9._{}-]+)*$`)
	groupName     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$`)
	namespaceName = regexp.MustCompile(`^([A-Za-z0-9._-]+|\{[A-Za-z0-9._-]+\})(:[A-Za-z0-9._-]+)*$`)
)

const maxName = 255

// reserved are the first parts of names that the host keeps for its own keys.
var reserved = []string{"ops", "audit", "state", "cache"}

// CheckRole says what is wrong with the name of a role; nil if nothing is.
func CheckRole(name string) error {
	if !roleName.MatchString(name) {
		return fmt.Errorf("%q is not a role's name: lower-case letters, digits and '-', a letter first, at most 63", name)
	}
	return nil
}

// CheckStream says what is wrong with the name of a stream that roles may read
// or write; nil if nothing is.
func CheckStream(name string) error {
	if !streamName.MatchString(name) || len(name) > maxName {
		return fmt.Errorf("%q is not a stream's name: letters, digits, '.', '_', '-' and braces in parts joined by ':', at most %d, and without the namespace", name, maxName)
	}
	if first, _, _ := strings.Cut(name, ":"); slices.Contains(reserved, first) {
		return fmt.Errorf("stream %q: names that begin with %q are kept for the host", name, first+":")
	}
	return nil
}

// CheckGroup says what is wrong with the name of a group; nil if nothing is.
func CheckGroup(name string) error {
	if !groupName.MatchString(name) {
		return fmt.Errorf("%q is not a group's name: letters, digits, '.', '_' and '-', no ':', at most 127", name)
	}
	return nil
}

// CheckNamespace says what is wrong with a namespace; nil if nothing is. Braces
// around its first part put all its keys into one slot of a cluster.
func CheckNamespace(name string) error {
	if strings.HasSuffix(name, ":") {
		return fmt.Errorf("%q ends in ':', which is added anyway: write %q", name, strings.TrimRight(name, ":"))
	}
	if !namespaceName.MatchString(name) || len(name) > maxName {
		return fmt.Errorf("%q is not a namespace: letters, digits, '.', '_' and '-', as agentic, or {agentic} for a cluster", name)
	}
	return nil
}

// check finds what is wrong with a role by itself.
func (role Role) check() (problems []error) {
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("role %q: "+format, append([]any{role.Name}, args...)...))
	}
	named := func(what string, check func(string) error, names ...string) {
		for _, name := range names {
			if err := check(name); err != nil {
				bad("%s: %w", what, err)
			}
		}
	}
	if err := CheckRole(role.Name); err != nil {
		problems = append(problems, err)
	}
	if len(role.Subscriptions) == 0 {
		bad("it reads no stream")
	}
	if role.DLQ != "" {
		named("dead letters", CheckStream, role.DLQ)
	}
	named("emits", CheckStream, role.Emits...)
	named("readers", CheckGroup, role.ResultsReaders...)
	named("readers", CheckGroup, role.DLQReaders...)
	for _, sub := range role.Subscriptions {
		named("input", CheckStream, sub.Stream)
		named("group", CheckGroup, sub.Group)
		if sub.Results != "" {
			named("results", CheckStream, sub.Results)
		}
		if role.writesTo(sub.Stream) {
			bad("stream %q cannot be both its input and its results or dead letters: it would answer itself for ever", sub.Stream)
		}
	}
	return problems
}

func (role Role) writesTo(stream string) bool {
	return role.DLQ == stream || slices.ContainsFunc(role.Subscriptions, func(s Subscription) bool { return s.Results == stream })
}

// checkGroups finds two subscriptions that share one group.
func (t *Topology) checkGroups() (problems []error) {
	readers := map[Group]string{}
	for sub := range t.subscriptions() {
		group := Group{sub.Stream, sub.Group}
		switch other, taken := readers[group]; {
		case taken && other == sub.Role:
			problems = append(problems, fmt.Errorf("role %q reads stream %q twice in group %q", other, sub.Stream, sub.Group))
		case taken:
			problems = append(problems, fmt.Errorf("roles %q and %q both read stream %q in group %q: each message would reach only one of them; give one of them a group of its own", other, sub.Role, sub.Stream, sub.Group))
		}
		readers[group] = sub.Role
	}
	return problems
}

// checkLocks finds a further group whose lock names would be another stream's:
// stream `a`, group `b` against stream `a:b`.
func (t *Topology) checkLocks() (problems []error) {
	for sub := range t.subscriptions() {
		if both := sub.Stream + ":" + sub.Group; !sub.Own && t.inputs[both] {
			problems = append(problems, fmt.Errorf("role %q: group %q on stream %q would share lock names with stream %q; rename the group", sub.Role, sub.Group, sub.Stream, both))
		}
	}
	return problems
}

// checkDeadLetters finds a stream that one role takes for results and another
// for dead letters: who reads or requeues it could not tell them apart.
func (t *Topology) checkDeadLetters() (problems []error) {
	for sub := range t.subscriptions() {
		for _, role := range t.roles {
			if sub.Results != "" && sub.Results == role.DLQ {
				problems = append(problems, fmt.Errorf("stream %q has the results of role %q and the dead letters of role %q; give one of them another name", sub.Results, sub.Role, role.Name))
			}
		}
	}
	return problems
}

// CheckKeys says what is wrong with the names of keys for this topology: a
// namespace that is none, or lock names that could be those of other keys.
func (t *Topology) CheckKeys(k Keys) error {
	if err := CheckNamespace(k.Namespace); err != nil {
		return fmt.Errorf("namespace: %w", err)
	}
	prefix := k.idempPrefix()
	if !streamName.MatchString(prefix) || len(prefix) > maxName {
		return fmt.Errorf("prefix of locks: %q is not parts of letters, digits, '.', '_' and '-' joined by ':'", prefix)
	}
	if taken(prefix) {
		return fmt.Errorf("prefix of locks: %q is where the host keeps other keys; use %q or a name of your own, as %q", prefix, DefaultIdempPrefix, "locks:idemp")
	}
	for _, stream := range t.streams() {
		if strings.HasPrefix(stream, prefix+":") {
			return fmt.Errorf("prefix of locks: stream %q begins with it, and could have a lock's name; change the prefix %q", stream, prefix)
		}
	}
	return nil
}

// taken says whether keys of another kind begin with the prefix.
func taken(prefix string) bool {
	parts := strings.Split(prefix, ":")
	if parts[0] != "ops" {
		return slices.Contains(reserved, parts[0])
	}
	return len(parts) == 1 || slices.Contains(opsKinds, parts[1])
}

// streams are all that roles read, write or answer to, as they are named.
func (t *Topology) streams() (names []string) {
	for _, role := range t.roles {
		for _, sub := range role.Subscriptions {
			names = append(names, sub.Stream, sub.Results)
		}
		names = append(names, role.DLQ)
		names = append(names, role.Emits...)
	}
	for reply := range t.replies {
		names = append(names, reply)
	}
	slices.Sort(names)
	return names
}
