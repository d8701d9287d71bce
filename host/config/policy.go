package config

import (
	"cmp"
	"time"
)

// Described is what a plugin wishes for itself; zero and nil mean no wish.
type Described struct {
	Concurrency  int
	Window       int
	Timeout      time.Duration
	MaxRetries   *int
	RetryBackoff *time.Duration
}

// RolePolicy is how a role is run.
type RolePolicy struct {
	Concurrency     int // handlers at once, at least 1
	Window          int // messages held, never fewer than Concurrency; 0: adaptive
	Timeout         time.Duration
	MaxRetries      int
	RetryBackoff    time.Duration // before the first retry; 0: at once
	RetryBackoffMax time.Duration
}

// Policy is what holds for the role: fnhost.yaml over the plugin's own
// description over the environment's default.
func (c *Config) Policy(role string, described Described) RolePolicy {
	said := c.Roles[role]
	p := RolePolicy{
		Concurrency:     cmp.Or(given(said.Concurrency), described.Concurrency, c.Concurrency),
		Window:          first(said.Window, wish(described.Window), &c.Window),
		Timeout:         cmp.Or(given(said.Timeout), described.Timeout, c.HandlerTimeout),
		MaxRetries:      first(said.MaxRetries, described.MaxRetries, &c.MaxRetries),
		RetryBackoff:    first(said.RetryBackoff, described.RetryBackoff, &c.RetryBackoff),
		RetryBackoffMax: c.RetryBackoffMax,
	}
	// Neither a plugin nor the operator sees all of these numbers at once, so
	// what contradicts only in sum is settled here.
	if p.Window > 0 {
		p.Window = max(p.Window, p.Concurrency)
	}
	p.RetryBackoff = min(p.RetryBackoff, p.RetryBackoffMax)
	return p
}

// first is the value of the first pointer that is set.
func first[T any](choices ...*T) T {
	for _, choice := range choices {
		if choice != nil {
			return *choice
		}
	}
	var zero T
	return zero
}

func given[T any](p *T) T { return first(p) }

// wish makes zero, which is no wish, a nil.
func wish(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
