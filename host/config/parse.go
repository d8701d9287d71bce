package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/host/topology"
)

// minLease is the shortest lease. A renewal comes every third of it, and below
// this the timers of a busy machine would lose it.
const minLease = 100 * time.Millisecond

// A parser puts a setting's text into its field. Its error says what is wrong
// with the text, and shows the text unless it may be a secret.
type parser func(c *Config, raw string) error

func text(field func(*Config) *string) parser {
	return func(c *Config, raw string) error {
		*field(c) = raw
		return nil
	}
}

func whole[N int | int64](field func(*Config) *N, least, most N) parser {
	return func(c *Config, raw string) (err error) {
		*field(c), err = parseWhole(raw, least, most)
		return err
	}
}

func parseWhole[N int | int64](raw string, least, most N) (N, error) {
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", raw)
	}
	if n < int64(least) || n > int64(most) {
		return 0, fmt.Errorf("%s is not between %d and %d", raw, least, most)
	}
	return N(n), nil
}

// durationOf names the fields that are durations.
var durationOf = struct {
	backoff, backoffMax, retention, beatTTL, beat, idemp, lease, handler, drain func(*Config) *time.Duration
}{
	backoff:    func(c *Config) *time.Duration { return &c.RetryBackoff },
	backoffMax: func(c *Config) *time.Duration { return &c.RetryBackoffMax },
	retention:  func(c *Config) *time.Duration { return &c.TasksRetention },
	beatTTL:    func(c *Config) *time.Duration { return &c.Heartbeat.TTL },
	beat:       func(c *Config) *time.Duration { return &c.Heartbeat.Interval },
	idemp:      func(c *Config) *time.Duration { return &c.IdempTTL },
	lease:      func(c *Config) *time.Duration { return &c.LeaseTTL },
	handler:    func(c *Config) *time.Duration { return &c.HandlerTimeout },
	drain:      func(c *Config) *time.Duration { return &c.DrainTimeout },
}

func span(field func(*Config) *time.Duration, unit string, least time.Duration) parser {
	return func(c *Config, raw string) (err error) {
		*field(c), err = parseDuration(raw, unit, least)
		return err
	}
}

var bareNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// parseDuration takes Go's syntax, or a bare number of the unit.
func parseDuration(raw, unit string, least time.Duration) (time.Duration, error) {
	written := raw
	if bareNumber.MatchString(raw) {
		written += unit
	}
	d, err := time.ParseDuration(written)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration: write it as 1500ms, 30s, 5m or 2h, or as a bare number, which is in %s", raw, unit)
	case d < 0:
		return 0, fmt.Errorf("%s is negative", raw)
	case d == 0 && least > 0:
		return 0, errors.New("it must be longer than 0")
	case d < least:
		return 0, fmt.Errorf("%s is shorter than %s", d, least)
	}
	return d, nil
}

func boolean(field func(*Config) *bool) parser {
	return func(c *Config, raw string) error {
		switch strings.ToLower(raw) {
		case "1", "true", "yes", "on":
			*field(c) = true
		case "0", "false", "no", "off":
			*field(c) = false
		default:
			return fmt.Errorf("%q is neither 1 (true, yes, on) nor 0 (false, no, off)", raw)
		}
		return nil
	}
}

func choice(field func(*Config) *string, choices ...string) parser {
	return func(c *Config, raw string) (err error) {
		*field(c), err = parseChoice(raw, choices)
		return err
	}
}

func parseChoice(raw string, choices []string) (string, error) {
	lower := strings.ToLower(raw)
	if slices.Contains(choices, lower) {
		return lower, nil
	}
	err := fmt.Errorf("%q is none of %s", raw, strings.Join(choices, ", "))
	if meant, ok := nearest(lower, choices, 3); ok {
		err = fmt.Errorf("%w; did you mean %s?", err, meant)
	}
	return "", err
}

func share(field func(*Config) *float64) parser {
	return func(c *Config, raw string) error {
		f, err := strconv.ParseFloat(raw, 64)
		if err != nil || !(f >= 0 && f <= 1) { // so written, it refuses NaN too
			return fmt.Errorf("%q is not a number from 0 to 1", raw)
		}
		*field(c) = f
		return nil
	}
}

func stream(field func(*Config) *string) parser {
	return func(c *Config, raw string) error {
		*field(c) = raw
		if raw == "" {
			return nil
		}
		return topology.CheckStream(raw)
	}
}

func group(field func(*Config) *string) parser {
	return func(c *Config, raw string) error {
		*field(c) = raw
		return topology.CheckGroup(raw)
	}
}

func namespace(c *Config, raw string) error {
	c.Namespace = raw
	return topology.CheckNamespace(raw)
}

var entryID = regexp.MustCompile(`^[0-9]{1,20}(-[0-9]{1,20})?$`)

func groupStart(c *Config, raw string) error {
	if raw != "$" && !entryID.MatchString(raw) {
		return fmt.Errorf("%q is neither $ nor an entry's id such as 0-0", raw)
	}
	c.GroupStart = raw
	return nil
}

// address takes host:port, or off.
func address(field func(*Config) *string) parser {
	return func(c *Config, raw string) error {
		if raw == "off" {
			*field(c) = ""
			return nil
		}
		_, port, err := net.SplitHostPort(raw)
		if err != nil {
			return fmt.Errorf("%q is not host:port, as 127.0.0.1:9400 or :9400", raw)
		}
		if _, err := parseWhole(port, 0, 65535); err != nil {
			return fmt.Errorf("%q: the port %w", raw, err)
		}
		*field(c) = raw
		return nil
	}
}

// Durability says when a commit counts.
type Durability struct {
	Mode     string // none, wait or waitaof
	Replicas int    // of wait
}

// String is the setting's own form.
func (d Durability) String() string {
	if d.Mode == "wait" {
		return fmt.Sprintf("wait:%d", d.Replicas)
	}
	return cmp.Or(d.Mode, "none")
}

func durability(c *Config, raw string) (err error) {
	mode, count, counted := strings.Cut(raw, ":")
	d := Durability{}
	if d.Mode, err = parseChoice(mode, []string{"none", "wait", "waitaof"}); err != nil {
		return err
	}
	switch {
	case d.Mode == "wait":
		if d.Replicas, err = parseWhole(count, 1, 100); err != nil {
			return fmt.Errorf("%q: the number of replicas in wait:N: %w", raw, err)
		}
	case counted:
		return fmt.Errorf("%q: only wait takes a number", raw)
	}
	c.Durability = d
	return nil
}
