package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/host/deadletter"
)

func (a *app) dlqCommand() *cli.Command {
	return &cli.Command{
		Name: "dlq", Usage: "dead letters", Category: "operation",
		Subcommands: []*cli.Command{
			a.dlqListCommand(), a.dlqGroupCommand(), a.dlqShowCommand(), a.dlqRequeueCommand(), a.dlqDiscardCommand(), a.dlqExportCommand(),
		},
	}
}

func filterFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "reason", Usage: "permanent, exhausted, poison, expired or oversize"},
		&cli.StringFlag{Name: "type", Usage: "of the message"},
		&cli.StringFlag{Name: "error", Usage: "somewhere in the error or its type; any case"},
		&cli.StringFlag{Name: "text", Usage: "somewhere in the message or the error; any case"},
		&cli.StringFlag{Name: "stream", Usage: "that the message was read from"},
		&cli.StringFlag{Name: "group", Usage: "fingerprint of the error, as 'dlq group' prints it"},
		&cli.StringFlag{Name: "since", Usage: "dead since then: 2h, 3d, a date, or a time as 2006-01-02T15:04:05Z"},
		&cli.StringFlag{Name: "until", Usage: "dead until then, in the same forms"},
	}, more...)
}

func allRolesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "all-roles", Usage: "the queues of all roles of the settings, in place of ROLE"}
}

// A queue is one dead-letter stream and whose it is.
type queue struct{ name, role string }

// dead is a command about dead letters.
type dead struct {
	*session
	letters *deadletter.DeadLetters
	queues  []queue
	filter  deadletter.Filter
	ids     []string // as given
}

// anyNumber of arguments.
const anyNumber = -1

// dlqAction gives the action of a command that takes ROLE|STREAM and IDs, at most
// so many arguments in all.
func (a *app) dlqAction(most int, action func(context.Context, *dead) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		args := c.Args().Slice()
		if c.Bool("all-roles") {
			if len(args) > 0 {
				return usage("give a role, or --all-roles", "--all-roles takes no role and no IDs, and not %q", args[0])
			}
		} else if err := wantArgs(c, 1, most, "a role or a dead-letter stream"); err != nil {
			return err
		}
		filter, err := filterOf(c, time.Now())
		if err != nil {
			return err
		}
		return a.withRedis(func(ctx context.Context, s *session) error {
			d := &dead{session: s, filter: filter, letters: deadletter.New(s.streams.Commands(), s.streams.Keys())}
			if d.filter.Stream != "" {
				d.filter.Stream = s.roles.Stream(d.filter.Stream)
			}
			if err := d.choose(ctx, args); err != nil {
				return err
			}
			err := action(ctx, d)
			if errors.Is(err, deadletter.ErrNotAllowed) {
				return notAllowed(err)
			}
			return err
		})(c)
	}
}

// choose takes the queues, and the IDs if there are some.
func (d *dead) choose(ctx context.Context, args []string) error {
	if len(args) == 0 {
		d.queues = d.allQueues()
		return nil
	}
	name, err := d.dlq(ctx, args[0])
	if err != nil {
		return err
	}
	d.queues, d.ids = []queue{{name, d.owner(name)}}, args[1:]
	for _, id := range d.ids {
		if _, ok := parseID(id); !ok {
			return usage("'fnhost dlq list' prints the ids: they are like 1764000000000-0", "%q is no id of a dead letter", id)
		}
	}
	return nil
}

// parseID checks an entry's id, with or without its second part.
func parseID(id string) (string, bool) {
	ms, seq, both := strings.Cut(id, "-")
	if !both {
		seq = "0"
	}
	_, err1 := strconv.ParseUint(ms, 10, 64)
	_, err2 := strconv.ParseUint(seq, 10, 64)
	return ms + "-" + seq, err1 == nil && err2 == nil
}

func (s *session) allQueues() (all []queue) {
	for _, role := range s.roles.Roles() {
		if role.DLQ != "" && !slices.ContainsFunc(all, func(q queue) bool { return q.name == role.DLQ }) {
			all = append(all, queue{role.DLQ, role.Name})
		}
	}
	return all
}

// owner is the role whose dead letters a queue has, by the rule if only a plugin
// brings it.
func (s *session) owner(dlq string) string {
	for _, q := range s.allQueues() {
		if q.name == dlq {
			return q.role
		}
	}
	return strings.TrimSuffix(dlq, ":dlq")
}

// where names the queues for people.
func (d *dead) where() string {
	if d.c.Bool("all-roles") {
		return "all roles"
	}
	return d.queues[0].name
}

func filterOf(c *cli.Context, now time.Time) (f deadletter.Filter, err error) {
	f = deadletter.Filter{
		Reason: c.String("reason"), Type: c.String("type"), Error: c.String("error"), Text: c.String("text"),
		Stream: c.String("stream"), Fingerprint: c.String("group"),
	}
	if f.Since, err = when(c, "since", now); err != nil {
		return f, err
	}
	if f.Until, err = when(c, "until", now); err != nil {
		return f, err
	}
	if !f.Until.IsZero() && f.Until.Before(f.Since) {
		return f, usage("--since is the earlier one", "nothing can be dead since %s and until %s", stamp(f.Since), stamp(f.Until))
	}
	return f, nil
}

// layouts of times that people give; those without a zone are local.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

// when reads a time, or how long ago it was.
func when(c *cli.Context, flag string, now time.Time) (time.Time, error) {
	given := c.String(flag)
	if given == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(given, "d"); ok {
		if n, err := strconv.ParseFloat(days, 64); err == nil && n >= 0 {
			return now.Add(-time.Duration(n * 24 * float64(time.Hour))), nil
		}
	}
	if ago, err := time.ParseDuration(given); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, given, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usage("give how long ago, as 90m, 2h or 3d; a date, as 2026-11-24; or a time, as 2026-11-24T15:04:05Z",
		"--%s %s is no time", flag, given)
}

// stamp is a time for people.
func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// ago is how long ago a time was, for people.
func ago(t time.Time) string {
	switch d := time.Since(t); {
	case t.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(d.Hours()/24))
	}
}

// count is a number of things for people: 1 dead letter, 20,000 dead letters.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

func countLetters(n int) string { return count(n, "dead letter", "dead letters") }

func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
