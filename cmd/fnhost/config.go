package main

import (
	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/config"
)

// A setting is a row of `config show`.
type setting struct {
	Name    string `json:"setting"`
	Value   string `json:"value"` // secrets as ***
	Origin  string `json:"origin"`
	Default string `json:"default"`
	Help    string `json:"help"`
}

var settingColumns = []render.Column[setting]{
	{Key: "setting", Cell: func(s setting) string { return s.Name }},
	{Key: "value", Cell: func(s setting) string { return s.Value }, Width: 60},
}

var originColumns = append(settingColumns[:2:2],
	render.Column[setting]{Key: "origin", Cell: func(s setting) string { return s.Origin }})

func (a *app) configCommand() *cli.Command {
	return &cli.Command{
		Name: "config", Usage: "the settings of the host", Category: "local",
		Subcommands: []*cli.Command{{
			Name: "show", Usage: "print every setting with its value; secrets as ***",
			Flags: []cli.Flag{&cli.BoolFlag{Name: "origin", Usage: "also where each value came from"}},
			Action: func(c *cli.Context) error {
				if err := wantArgs(c, 0, 0, "no argument"); err != nil {
					return err
				}
				return a.configShow(c)
			},
		}},
	}
}

func (a *app) configShow(c *cli.Context) error {
	cfg, err := a.config(c, nil)
	if err != nil {
		return err
	}
	columns := settingColumns
	if c.Bool("origin") {
		columns = originColumns
	}
	a.warn(c, cfg)
	return render.List(a.printer(c), columns, settings(cfg), "")
}

func settings(cfg *config.Config) []setting {
	var rows []setting
	for _, e := range cfg.Entries() {
		rows = append(rows, setting(e))
	}
	return rows
}

// warn tells what the settings are warned of.
func (a *app) warn(c *cli.Context, cfg *config.Config) {
	for _, w := range cfg.Warnings {
		a.note(c, "fnhost: warning: %s", w)
	}
}
