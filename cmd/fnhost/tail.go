package main

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/delivery"
)

func (a *app) tailCommand() *cli.Command {
	return &cli.Command{
		Name: "tail", Usage: "print the newest entries of a stream", ArgsUsage: "STREAM|ROLE", Category: "messages",
		Description: "It reads without a group, and takes nothing from anybody. With -f and -o json each entry is one line.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on with what comes, until interrupted"},
			&cli.Int64Flag{Name: "number", Aliases: []string{"n"}, Value: 10, Usage: "entries to begin with"},
			&cli.StringFlag{Name: "from", Usage: "begin after the entry with this id, with all that follows"},
		},
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 1, 1, "a stream or a role"); err != nil {
				return err
			}
			if c.Int64("number") < 0 {
				return usage("give -n 0 or more", "-n %d: there is no such number of entries", c.Int64("number"))
			}
			return a.withRedis(tail)(c)
		},
	}
}

func tail(ctx context.Context, s *session) error {
	name, err := s.tailed(ctx)
	if err != nil {
		return err
	}
	from, rows := s.c.String("from"), []entry(nil)
	if from == "" {
		if rows, from, err = s.newest(ctx, name); err != nil {
			return err
		}
	}
	if !s.c.Bool("follow") {
		if s.c.IsSet("from") {
			if err := s.streams.Tail(ctx, name, from, false, func(e delivery.Entry) error {
				rows = append(rows, show(name, e))
				return nil
			}); err != nil {
				return err
			}
		}
		return render.List(s.print, entryColumns, rows, "no entries in "+name)
	}
	for _, row := range rows {
		if err := render.Line(s.print, entryColumns, row); err != nil {
			return err
		}
	}
	return s.streams.Tail(ctx, name, from, true, func(e delivery.Entry) error {
		return render.Line(s.print, entryColumns, show(name, e))
	})
}

// tailed is the stream to read; one that is followed need not exist yet.
func (s *session) tailed(ctx context.Context) (string, error) {
	name := s.c.Args().First()
	stream := s.roles.Stream(name)
	if !strings.Contains(stream, ":") { // a role that a plugin brings
		sub, err := s.subscription(ctx, name)
		return sub.Stream, err
	}
	if s.c.Bool("follow") || slices.Contains(s.streamNames(), stream) {
		return stream, nil
	}
	return stream, s.mustExist(ctx, stream, name)
}

// newest gives the last entries, the oldest of them first, and the id of the
// stream's last one.
func (s *session) newest(ctx context.Context, name string) (rows []entry, last string, err error) {
	n := s.c.Int64("number")
	found, err := s.streams.RangeBack(ctx, name, "+", "-", max(n, 1))
	if err != nil || len(found) == 0 {
		return nil, "0", err
	}
	last = found[0].ID
	slices.Reverse(found)
	for _, e := range found[max(0, len(found)-int(n)):] {
		rows = append(rows, show(name, e))
	}
	return rows, last, nil
}
