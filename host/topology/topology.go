// Package topology knows the roles, their input streams and groups, and the
// name of every key in Redis; no other package builds one. It is pure.
//
// Names of streams are without the namespace everywhere but in [Keys].
package topology

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Streams that the host itself writes.
const (
	AuditEvents = "audit:events"
	AuditSpans  = "audit:spans"
	OpsHealth   = "ops:health"
)

// hostGroups are the groups of the streams that the host itself writes.
var hostGroups = []Group{
	{AuditEvents, "auditors"},
	{AuditSpans, "auditors"},
	{OpsHealth, "ops"},
}

// A Subscription is one input stream of a role, its group, and the stream its
// results go to.
type Subscription struct {
	Role    string
	Stream  string
	Group   string
	Results string // empty: none
	// Own says that the group is the stream's own: its locks have the short
	// name `ops:idemp:{stream}:{id}`. A further group's have its name in them.
	// [New] decides it.
	Own bool
}

// A Role is a named job with its input streams, results, and dead letters.
type Role struct {
	Name          string
	Subscriptions []Subscription
	DLQ           string   // empty: final failures are discarded, audited and counted
	Emits         []string // streams, or roles, that its outcomes may add to

	// Groups for readers outside, on every stream that the role's results, or
	// its dead letters, go to: the names only, so that they follow when those
	// streams are renamed.
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
	grouped map[string]bool
}

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
	cm := Role{Name: "cm", DLQ: "cm:dlq", ResultsReaders: []string{"cm-subscribers"}, Subscriptions: []Subscription{{
		Role: "cm", Stream: "cm:commands", Group: "cm-managers", Results: "cm:events",
	}}}
	orchestrator := Role{Name: "orchestrator", DLQ: "orchestrator:dlq"}
	for _, stream := range []string{"orchestrator:commands", "orchestrator:tasks"} {
		orchestrator.Subscriptions = append(orchestrator.Subscriptions, Subscription{
			Role: "orchestrator", Stream: stream, Group: "orchestrators", Results: "orchestrator:results",
		})
	}
	persist := Default("persist")
	persist.Subscriptions[0].Group = "persist-writers"
	persist.DLQReaders = []string{"dlq-readers"}
	return []Role{cm, orchestrator, persist, Default("rag")}
}

// New checks the roles and gives their topology. replies are further streams
// that a message's `replyto` may name, besides every input stream. The error
// joins all that is wrong.
//
// A stream that several roles read is owned by the role whose name it begins
// with, or else by the first of them: so roles must come in the same order on
// every host.
func New(roles []Role, replies ...string) (*Topology, error) {
	t := &Topology{byName: map[string]int{}, inputs: map[string]bool{}, replies: map[string]bool{}, grouped: map[string]bool{}}
	var problems []error
	for _, role := range roles {
		problems = append(problems, t.add(clone(role))...)
	}
	for _, stream := range replies {
		if err := CheckStream(stream); err != nil {
			problems = append(problems, fmt.Errorf("reply stream: %w", err))
		}
		t.replies[stream] = true
	}
	t.settleOwners()
	for _, group := range t.Groups() {
		t.grouped[group.Stream] = true
	}
	problems = append(problems, t.checkGroups()...)
	problems = append(problems, t.checkLocks()...)
	problems = append(problems, t.checkDeadLetters()...)
	if len(problems) > 0 {
		return nil, fmt.Errorf("topology: %w", errors.Join(problems...))
	}
	return t, nil
}

func clone(role Role) Role {
	role.Subscriptions = slices.Clone(role.Subscriptions)
	role.Emits = slices.Clone(role.Emits)
	role.ResultsReaders = slices.Clone(role.ResultsReaders)
	role.DLQReaders = slices.Clone(role.DLQReaders)
	return role
}

func (t *Topology) add(role Role) []error {
	if _, twice := t.byName[role.Name]; twice {
		return []error{fmt.Errorf("role %q is defined twice", role.Name)}
	}
	for i := range role.Subscriptions {
		sub := &role.Subscriptions[i]
		sub.Role, sub.Own = role.Name, false
		t.inputs[sub.Stream] = true
	}
	t.byName[role.Name] = len(t.roles)
	t.roles = append(t.roles, role)
	return role.check()
}

// settleOwners gives each input stream its own group.
func (t *Topology) settleOwners() {
	owners := map[string]*Subscription{}
	for sub := range t.subscriptions() {
		first, _, _ := strings.Cut(sub.Stream, ":")
		if owners[sub.Stream] == nil || first == sub.Role && owners[sub.Stream].Role != sub.Role {
			owners[sub.Stream] = sub
		}
	}
	for _, sub := range owners {
		sub.Own = true
	}
}

// subscriptions visits all of them, in order.
func (t *Topology) subscriptions() func(yield func(*Subscription) bool) {
	return func(yield func(*Subscription) bool) {
		for _, role := range t.roles {
			for i := range role.Subscriptions {
				if !yield(&role.Subscriptions[i]) {
					return
				}
			}
		}
	}
}

// Roles gives all roles, in the order they were given. They must not be changed.
func (t *Topology) Roles() []Role { return t.roles }

// Role gives the role of that name. It must not be changed.
func (t *Topology) Role(name string) (Role, bool) {
	i, ok := t.byName[name]
	if !ok {
		return Role{}, false
	}
	return t.roles[i], true
}

// Groups gives every group of every role, those for readers outside, and those
// of the host's own streams; each once.
func (t *Topology) Groups() []Group {
	var groups []Group
	add := func(stream string, names ...string) {
		for _, name := range names {
			if group := (Group{stream, name}); stream != "" && !slices.Contains(groups, group) {
				groups = append(groups, group)
			}
		}
	}
	for sub := range t.subscriptions() {
		add(sub.Stream, sub.Group)
	}
	for _, role := range t.roles {
		for _, sub := range role.Subscriptions {
			add(sub.Results, role.ResultsReaders...)
		}
		add(role.DLQ, role.DLQReaders...)
	}
	return append(groups, hostGroups...)
}

// Stream resolves a stream's name, or a role's, which means its first input stream.
// A name without ':' that is no input stream is a role's, known here or not: one
// that only another host plays has its streams by the rule of [Default].
func (t *Topology) Stream(to string) string {
	if role, ok := t.Role(to); ok {
		return role.Subscriptions[0].Stream
	}
	if !t.inputs[to] && CheckRole(to) == nil {
		return Default(to).Subscriptions[0].Stream
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

// Targets gives every stream to which an entry may be added later: those that
// roles read or may emit to, and those for replies; sorted, each once.
func (t *Topology) Targets() (streams []string) {
	for _, role := range t.roles {
		for _, sub := range role.Subscriptions {
			streams = append(streams, sub.Stream)
		}
		for _, to := range role.Emits {
			streams = append(streams, t.Stream(to))
		}
	}
	streams = slices.AppendSeq(streams, maps.Keys(t.replies))
	slices.Sort(streams)
	return slices.Compact(streams)
}

// HasGroup says whether some group reads the stream; such a stream is never
// trimmed by length.
func (t *Topology) HasGroup(stream string) bool {
	return t.grouped[stream]
}
