package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/fnhost/fnhost/host/topology"
)

// Keys names every key in Redis.
func (c *Config) Keys() topology.Keys {
	return topology.Keys{Namespace: c.Namespace, IdempPrefix: c.IdempPrefix}
}

// Topology is the four standard roles and those that plugins bring, with the
// names that the environment and fnhost.yaml give them.
//
// A plugin that plays a standard role need not repeat its streams: what extra
// leaves empty keeps its standard value. A plugin has no say in whether its
// role has a dead-letter stream.
func (c *Config) Topology(extra ...topology.Role) (*topology.Topology, error) {
	roles := topology.Standard()
	standard := len(roles)
	extra = slices.SortedFunc(slices.Values(extra), byRoleName) // the same order on every host
	for i, brought := range extra {
		if i > 0 && extra[i-1].Name == brought.Name {
			return nil, fmt.Errorf("role %q is brought by two plugins: remove one of them", brought.Name)
		}
		if at := slices.IndexFunc(roles[:standard], named(brought.Name)); at >= 0 {
			roles[at] = merge(roles[at], brought)
		} else {
			roles = append(roles, merge(topology.Default(brought.Name), brought))
		}
	}
	for i := range roles {
		c.override(&roles[i])
	}
	t, err := topology.New(roles, c.Replies...)
	if err != nil {
		return nil, err
	}
	if err := t.CheckKeys(c.Keys()); err != nil {
		return nil, err
	}
	return t, nil
}

func byRoleName(a, b topology.Role) int { return cmp.Compare(a.Name, b.Name) }

func named(name string) func(topology.Role) bool {
	return func(r topology.Role) bool { return r.Name == name }
}

// merge lays what a plugin says over what the role has anyway.
func merge(role, brought topology.Role) topology.Role {
	group := role.Subscriptions[0].Group
	if len(brought.Subscriptions) > 0 {
		role.Subscriptions = slices.Clone(brought.Subscriptions)
	}
	for i := range role.Subscriptions {
		sub := &role.Subscriptions[i]
		sub.Group = cmp.Or(sub.Group, group)
	}
	role.DLQ = cmp.Or(brought.DLQ, role.DLQ)
	role.Emits = slices.Clone(brought.Emits)
	role.ResultsReaders = append(slices.Clone(role.ResultsReaders), brought.ResultsReaders...)
	role.DLQReaders = append(slices.Clone(role.DLQReaders), brought.DLQReaders...)
	return role
}

// override renames what the environment renames, then what fnhost.yaml does.
func (c *Config) override(role *topology.Role) {
	switch role.Name {
	case "rag":
		rename(role, c.RAG)
	case "persist":
		rename(role, c.Persist)
	}
	if !c.DLQEnabled {
		role.DLQ = ""
	}
	said := c.Roles[role.Name]
	if said.Results != nil {
		for i := range role.Subscriptions {
			role.Subscriptions[i].Results = *said.Results
		}
	}
	if said.DLQ != nil {
		role.DLQ = *said.DLQ
	}
	if said.Emits != nil {
		role.Emits = said.Emits
	}
}

// rename gives the role's standard streams and group the names of to.
func rename(role *topology.Role, to Streams) {
	standard := topology.Standard()
	was := standard[slices.IndexFunc(standard, named(role.Name))]
	sub := was.Subscriptions[0]
	for i := range role.Subscriptions {
		s := &role.Subscriptions[i]
		replace(&s.Stream, sub.Stream, to.Tasks)
		replace(&s.Results, sub.Results, to.Results)
		replace(&s.Group, sub.Group, to.Group)
	}
	replace(&role.DLQ, was.DLQ, to.DLQ)
}

func replace(name *string, was, now string) {
	if *name == was {
		*name = now
	}
}

// Unplayed names, for a warning, the roles of fnhost.yaml that the topology does
// not have: misspelt, or without a plugin.
func (c *Config) Unplayed(t *topology.Topology) (names []string) {
	for _, name := range sortedKeys(c.Roles) {
		if _, ok := t.Role(name); !ok {
			names = append(names, fmt.Sprintf("roles.%s (line %d)", name, c.Roles[name].Line))
		}
	}
	return names
}
