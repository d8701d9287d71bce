package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A variety compares set-ups of our own at the same work. Messages are published
// while all roles of all hosts serve, faster than they can be worked off: a backlog
// that is there before would be gone in part when the last of them has started.
type variety struct {
	drain
	name, title string
	contenders  []Contender
}

func (v variety) Name() string                       { return v.name }
func (v variety) Contenders([]Contender) []Contender { return v.contenders }
func (v variety) Title() string {
	return fmt.Sprintf("%s: %d messages of %d bytes in all, published while they serve", v.title, v.count, v.size)
}

func (v variety) Run(ctx context.Context, b *bed, c Contender) (Run, error) {
	payload := strings.Repeat("x", v.size)
	p, err := b.begin(ctx, c, payload)
	if err != nil {
		return Run{}, err
	}
	defer p.stop()
	first, err := b.done(ctx, c)
	if err != nil {
		return Run{}, err
	}
	counted, err := b.counts(ctx)
	if err != nil {
		return Run{}, err
	}
	used, begun := usageOf(p, b.process), time.Now()
	published := make(chan error, 1)
	go func() {
		_, err := c.Publish(ctx, b.rdb, payload, v.count)
		published <- err
	}()
	polls, err := b.await(ctx, c, p, first+int64(v.count))
	took, after := time.Since(begun), usageOf(p, b.process)
	if err := errors.Join(<-published, err); err != nil {
		return Run{}, err
	}
	now, err := b.counts(ctx)
	if err != nil {
		return Run{}, err
	}
	return v.result(float64(v.count), took, used, after, now.since(counted, polls), p), b.exactly(ctx, c, first+int64(v.count))
}

// manyRoles is one host that serves more and more roles: so what many of them
// cost on few cores is seen.
func manyRoles(d drain) variety {
	v := variety{drain: d, name: "roles", title: "Roles of one host"}
	for _, n := range []int{1, 4, 16} {
		v.contenders = append(v.contenders, fnhost{name: plural(n, "role"), concurrency: 2048, roles: n})
	}
	return v
}

// manyHosts is more and more hosts in one group on one stream.
func manyHosts(d drain) variety {
	v := variety{drain: d, name: "hosts", title: "Hosts on one stream"}
	for n := range 4 {
		v.contenders = append(v.contenders, fnhost{name: plural(n+1, "host"), concurrency: 2048, hosts: n + 1})
	}
	return v
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// allContenders are those of the scenarios, each once.
func allContenders(scenarios []Scenario, chosen []Contender) []Contender {
	var all []Contender
	for _, s := range scenarios {
		for _, c := range s.Contenders(chosen) {
			if !slices.ContainsFunc(all, func(known Contender) bool { return known.Name() == c.Name() }) {
				all = append(all, c)
			}
		}
	}
	return all
}
