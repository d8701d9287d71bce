package main

import (
	"log/slog"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/config"
)

func (a *app) serveCommand() *cli.Command {
	return &cli.Command{
		Name: "serve", Aliases: []string{"run"}, Usage: "host the plugins of a directory", Category: "host",
		Description: "It creates the groups, starts the plugins, and serves until SIGTERM or SIGINT; then it finishes what runs, hands the rest\nback, and exits 0. A second SIGINT ends it at once. While Redis cannot be reached it waits.",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, "no argument; the directory is given by --plugins"); err != nil {
				return err
			}
			h, err := a.host(c, nil)
			if err != nil {
				return err
			}
			return h.Run(c.Context)
		},
	}
}

// host makes the host that the settings describe; more as for config.
func (a *app) host(c *cli.Context, more map[string]string) (*host.Host, error) {
	cfg, err := a.config(c, more)
	if err != nil {
		return nil, err
	}
	log := a.logger(cfg)
	for _, w := range cfg.Warnings {
		log.WarnContext(c.Context, w)
	}
	h, err := host.New(cfg, host.Options{Logger: log, Version: buildInfo().Version})
	if err != nil {
		return nil, fail(exitInvalid, "'fnhost config show --origin' says where each setting comes from", "%w", err)
	}
	return h, nil
}

// logger logs to stderr: text on a terminal, else JSON, unless the settings say.
func (a *app) logger(cfg *config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == "text" || cfg.LogFormat == "" && a.stderrTTY {
		return slog.New(slog.NewTextHandler(a.stderr, options))
	}
	return slog.New(slog.NewJSONHandler(a.stderr, options))
}
