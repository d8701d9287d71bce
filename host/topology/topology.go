// Package topology knows the roles, their input streams and groups, and the
// name of every key in Redis; no other package builds one. It is pure.
//
// Names of streams are without the namespace everywhere but in [Keys].
package topology

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Streams that the host itself writes.
const (
	AuditEvents = "audit:events"
	AuditSpans  = "audit:spans"
	OpsHealth   = "ops:health"
)

// A Subscription is one input stream of a role, its group, and the stream its
// results go to.
type Subscription struct {
	Role    string
	Stream  string
	Group   string
	Results string // empty: none
	// Own says that the group is the stream's own: its locks have the short
	// name `ops:idemp:{stream}:{id}`. A further group's have its name in them.
	Own bool
}

// A Role is a named job with its input streams, results, and dead letters.
type Role struct {
	Name          string
	Subscriptions []Subscription
	DLQ           string   // empty: final failures are discarded, audited and counted
	Emits         []string // streams, or roles, that its outcomes may add to

	// Groups for readers outside, on every stream that the role's results, or
	// its dead letters, go to. They follow when those are renamed.
	ResultsReaders []string
	DLQReaders     []string
}

// A Group is one consumer group to be created before any reader starts.
type Group struct{ Stream, Group string }

// Topology is a set of roles whose names do not collide. It is immutable.
type Topology struct {
	roles   []Role
	byName  map[string]int
	inputs  map[string]bool
	replies map[string]bool
}

var (
	roleName   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	streamName = regexp.MustCompile(`^[A-Za-z0-9{][A-Za-z0-9:._{}-]{0,254}$`)
	groupName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$`)
)

// Default gives the role's streams and group by the rule: `<role>:tasks`,
// `<role>-workers`, `<role>:results`, `<role>:dlq`.
func Default(role string) Role {
	return Role{
		Name: role,
		Subscriptions: []Subscription{{
			Role: role, Stream: role + ":tasks", Group: role + "-workers", Results: role + ":results",
		}},
		DLQ: role + ":dlq",
	}
}

// Standard gives the four roles that existing systems know by these names.
func Standard() []Role {
	rag := Default("rag")
	persist := Default("persist")
	persist.Subscriptions[0].Group = "persist-writers"
	orchestrator := Role{Name: "orchestrator", DLQ: "orchestrator:dlq"}
	for _, stream := range []string{"orchestrator:commands", "orchestrator:tasks"} {
		orchestrator.Subscriptions = append(orchestrator.Subscriptions, Subscription{
			Role: "orchestrator", Stream: stream, Group: "orchestrators", Results: "orchestrator:results",
		})
	}
	cm := Role{Name: "cm", DLQ: "cm:dlq", Subscriptions: []Subscription{{
		Role: "cm", Stream: "cm:commands", Group: "cm-managers", Results: "cm:events",
	}}}
	return []Role{cm, orchestrator, persist, rag}
}

// New checks the roles and gives their topology. replies are further streams
// that a message's `replyto` may name, besides every input stream. The error
// joins all that is wrong.
func New(roles []Role, replies ...string) (*Topology, error) {
	t := &Topology{byName: map[string]int{}, inputs: map[string]bool{}, replies: map[string]bool{}}
	var problems []error
	owners := map[string]Subscription{}
	for _, role := range roles {
		role = clone(role)
		problems = append(problems, check(role)...)
		if _, twice := t.byName[role.Name]; twice {
			problems = append(problems, fmt.Errorf("role %q is defined twice", role.Name))
			continue
		}
		for i := range role.Subscriptions {
			sub := &role.Subscriptions[i]
			sub.Role = role.Name
			first, taken := owners[sub.Stream]
			if !taken {
				owners[sub.Stream] = *sub
			} else if first.Group == sub.Group {
				problems = append(problems, fmt.Errorf("roles %q and %q both read stream %q in group %q: each message would reach only one of them; give one of them a group of its own", first.Role, role.Name, sub.Stream, sub.Group))
			}
			sub.Own = !taken
			t.inputs[sub.Stream] = true
		}
		t.byName[role.Name] = len(t.roles)
		t.roles = append(t.roles, role)
	}
	for _, stream := range replies {
		if !streamName.MatchString(stream) {
			problems = append(problems, fmt.Errorf("reply stream %q: not a stream name", stream))
		}
		t.replies[stream] = true
	}
	problems = append(problems, t.checkKeys()...)
	if len(problems) > 0 {
		return nil, fmt.Errorf("topology: %w", errors.Join(problems...))
	}
	return t, nil
}

func clone(role Role) Role {
	role.Subscriptions = slices.Clone(role.Subscriptions)
	role.Emits = slices.Clone(role.Emits)
	return role
}

func check(role Role) (problems []error) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !roleName.MatchString(role.Name) {
		bad("role %q: a role's name is lower-case letters, digits and '-', and starts with a letter", role.Name)
	}
	if len(role.Subscriptions) == 0 {
		bad("role %q reads no stream", role.Name)
	}
	if role.DLQ != "" && !streamName.MatchString(role.DLQ) {
		bad("role %q: dead-letter stream %q is not a stream name", role.Name, role.DLQ)
	}
	for _, sub := range role.Subscriptions {
		if !streamName.MatchString(sub.Stream) || reserved(sub.Stream) {
			bad("role %q: input stream %q is not a stream name that a role may read", role.Name, sub.Stream)
		}
		if !groupName.MatchString(sub.Group) {
			bad("role %q: group %q: a group's name is letters, digits, '.', '_' and '-' (no ':')", role.Name, sub.Group)
		}
		if sub.Results != "" && (!streamName.MatchString(sub.Results) || reserved(sub.Results)) {
			bad("role %q: results stream %q is not a stream name that a role may write", role.Name, sub.Results)
		}
		if sub.Stream == sub.Results || sub.Stream == role.DLQ {
			bad("role %q: stream %q cannot be both input and results or dead letters", role.Name, sub.Stream)
		}
	}
	return problems
}

// reserved are the names that the host keeps for itself.
func reserved(stream string) bool {
	for _, prefix := range []string{"ops:", "audit:", "state:", "cache:"} {
		if strings.HasPrefix(stream, prefix) {
			return true
		}
	}
	return false
}

// checkKeys finds a further group whose lock names would be another stream's:
// stream `a`, group `b` against stream `a:b`.
func (t *Topology) checkKeys() (problems []error) {
	for _, role := range t.roles {
		for _, sub := range role.Subscriptions {
			if !sub.Own && t.inputs[sub.Stream+":"+sub.Group] {
				problems = append(problems, fmt.Errorf("role %q: group %q on stream %q and stream %q would share lock names; rename the group", role.Name, sub.Group, sub.Stream, sub.Stream+":"+sub.Group))
			}
		}
	}
	return problems
}

// Roles gives all roles, in the order they were given.
func (t *Topology) Roles() []Role { return t.roles }

// Role gives the role of that name.
func (t *Topology) Role(name string) (Role, bool) {
	i, ok := t.byName[name]
	if !ok {
		return Role{}, false
	}
	return t.roles[i], true
}

// Groups gives every group of every role, and those of the audit streams.
func (t *Topology) Groups() []Group {
	var groups []Group
	for _, role := range t.roles {
		for _, sub := range role.Subscriptions {
			groups = append(groups, Group{sub.Stream, sub.Group})
		}
	}
	for _, group := range hostGroups {
		if !slices.Contains(groups, group) && (group.Stream != "cm:events" && group.Stream != "persist:dlq" || t.writes(group.Stream)) {
			groups = append(groups, group)
		}
	}
	return groups
}

// hostGroups are groups on streams that no role reads: for readers outside.
var hostGroups = []Group{
	{"cm:events", "cm-subscribers"},
	{"persist:dlq", "dlq-readers"},
	{AuditEvents, "auditors"},
	{AuditSpans, "auditors"},
	{OpsHealth, "ops"},
}

func (t *Topology) writes(stream string) bool {
	return slices.ContainsFunc(t.roles, func(role Role) bool {
		return role.DLQ == stream || slices.ContainsFunc(role.Subscriptions, func(s Subscription) bool { return s.Results == stream })
	})
}

// Stream resolves a stream's name, or a role's, which means its first input stream.
func (t *Topology) Stream(to string) string {
	if role, ok := t.Role(to); ok {
		return role.Subscriptions[0].Stream
	}
	return to
}

// MayEmit gives the stream that an emission of the role to the name to goes to,
// or an error if the role may not write there.
func (t *Topology) MayEmit(role, to string) (string, error) {
	stream := t.Stream(to)
	if r, ok := t.Role(role); ok {
		for _, allowed := range r.Emits {
			if t.Stream(allowed) == stream {
				return stream, nil
			}
		}
	}
	return "", fmt.Errorf("role %q may not emit to %q: name it in the function's Emits, or under roles.%s.emits in fnhost.yaml", role, to, role)
}

// MayReply says whether a message's `replyto` may name the stream.
func (t *Topology) MayReply(stream string) bool { return t.inputs[stream] || t.replies[stream] }

// Input says whether some role reads the stream.
func (t *Topology) Input(stream string) bool { return t.inputs[stream] }

func CheckStream(s string) error    { return nil }
func CheckGroup(s string) error     { return nil }
func CheckNamespace(s string) error { return nil }

func (t *Topology) CheckKeys(k Keys) error { return nil }
