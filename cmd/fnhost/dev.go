package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/embedded"
)

func (a *app) devCommand() *cli.Command {
	return &cli.Command{
		Name: "dev", Usage: "serve for development, with a Redis of its own if none is set", Category: "host",
		Description: "When neither REDIS_URL nor REDIS_HOST is set it brings a Redis in its own process, and prints the REDIS_URL\nfor other commands. Nothing in that Redis is durable.",
		Flags:       append([]cli.Flag{&cli.BoolFlag{Name: "demo", Usage: "then run 'fnhost demo', and go on serving"}}, demoFlags()...),
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, "no argument; the directory is given by --plugins"); err != nil {
				return err
			}
			more, stop, err := a.bringRedis(c)
			if err != nil {
				return err
			}
			defer stop()
			return a.dev(c, more)
		},
	}
}

// bringRedis starts an embedded Redis if the settings name none, and gives its
// URL as a setting.
func (a *app) bringRedis(c *cli.Context) (more map[string]string, stop func(), err error) {
	cfg, err := a.config(c, nil)
	if err != nil || cfg.Redis.Given {
		return nil, func() {}, err
	}
	server, err := embedded.Start()
	if err != nil {
		return nil, nil, err
	}
	a.note(c, "this Redis is for development: nothing in it is durable, and all of it is gone when this command ends;\nother commands reach it by the line that follows")
	if err := a.printURL(c, server.URL()); err != nil {
		server.Close()
		return nil, nil, err
	}
	return map[string]string{"REDIS_URL": server.URL()}, server.Close, nil
}

// printURL prints the line as a shell takes it.
func (a *app) printURL(c *cli.Context, url string) error {
	p := a.printer(c)
	if p.Format == render.JSON {
		return render.Line(p, nil, struct {
			URL string `json:"REDIS_URL"`
		}{url})
	}
	_, err := fmt.Fprintln(a.stdout, "REDIS_URL="+url)
	return err
}

func (a *app) dev(c *cli.Context, more map[string]string) error {
	h, err := a.host(c, more)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(c.Context)
	ctx, ended := context.WithCancel(ctx)
	group.Go(func() error {
		defer ended()
		return h.Run(ctx)
	})
	group.Go(func() error {
		err := a.whenServing(ctx, c, h, more)
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			return nil // the host ends, and its error counts
		}
		return err
	})
	return group.Wait()
}

// whenServing prints what is served, once it is, and runs the demo if asked to.
func (a *app) whenServing(ctx context.Context, c *cli.Context, h *host.Host, more map[string]string) error {
	rows, err := serving(ctx, h)
	if err != nil {
		return err
	}
	if err := render.List(a.printer(c), servedColumns, rows, "no plugin is served yet: put its binary into the directory of --plugins"); err != nil {
		return err
	}
	if !c.Bool("demo") {
		return nil
	}
	if err := mustServe(rows, "cm", "orchestrator", "rag", "persist"); err != nil {
		return err
	}
	s, err := a.session(c, more)
	if err != nil {
		return err
	}
	defer s.streams.Close()
	if err := s.explain(demo(ctx, s)); err != nil {
		return err
	}
	a.note(c, "serving on; end with Ctrl-C")
	return nil
}

// settleTime is how long plugins may take to start before they are shown as they are.
const settleTime = 20 * time.Second

// serving waits until every plugin serves or has failed, and gives them.
func serving(ctx context.Context, h *host.Host) ([]servedRole, error) {
	late := time.After(settleTime)
	select {
	case <-h.Loaded():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if rows := served(h); settled(rows) {
			return rows, nil
		}
		select {
		case <-tick.C:
		case <-late:
			return served(h), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
