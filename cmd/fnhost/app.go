package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/argv"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
	"github.com/fnhost/fnhost/host/config"
)

// app is the process as the commands see it.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	workdir        string
	exit           func(code int)

	stdinTTY, stdoutTTY, stderrTTY bool
}

// run runs the command line and gives the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	tree := a.tree()
	ordered, err := argv.Order(tree, args)
	if err == nil {
		err = tree.RunContext(ctx, ordered)
	} else {
		err = usage("see 'fnhost help' for the commands", "%w", err)
	}
	if err == nil {
		return exitOK
	}
	if status, ok := errors.AsType[exitStatus](err); ok {
		return int(status)
	}
	f := explain(ctx, err)
	f.report(a.stderr, a.formatOf(args))
	return f.exit
}

// tree is the application with all its commands.
func (a *app) tree() *cli.App {
	tree := &cli.App{
		Name: "fnhost", Usage: "a function host for Redis Streams",
		Description:    "Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 confirmation needed, 5 conflict,\n6 Redis unreachable, 8 invalid, 9 partly done, 124 timed out, 130 interrupted.",
		Version:        buildInfo().String(),
		Flags:          slices.Concat([]cli.Flag{cli.HelpFlag}, globalFlags(), settingFlags()),
		Writer:         a.stdout,
		ErrWriter:      a.stderr,
		Suggest:        true,
		ExitErrHandler: func(*cli.Context, error) {}, // run reports, and gives the code
		OnUsageError:   onUsageError,
		Before:         a.before,

		HideHelpCommand: true, // the library's is one for the whole process
		Commands: []*cli.Command{
			a.serveCommand(), a.devCommand(), a.demoCommand(),
			a.publishCommand(), a.tailCommand(), a.benchCommand(), a.campaignCommand(), a.workflowCommand(),
			a.checkCommand(), a.dlqCommand(), a.topologyCommand(),
			a.configCommand(), a.versionCommand(), helpCommand(),
		},
	}
	finish(tree.Commands)
	return tree
}

// The library keeps what was given in these two flags themselves, one for the
// whole process; ours keep nothing, so that one process can run command lines
// side by side.
func init() {
	cli.HelpFlag = statelessFlag{&cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help", DisableDefaultText: true}}
	cli.VersionFlag = statelessFlag{&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version", DisableDefaultText: true}}
}

type statelessFlag struct{ *cli.BoolFlag }

// Apply declares a copy of the flag.
func (f statelessFlag) Apply(set *flag.FlagSet) error {
	plain := *f.BoolFlag
	return plain.Apply(set)
}

func helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", Aliases: []string{"h"}, Usage: "explain a command", ArgsUsage: "[COMMAND]", Category: "local",
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return cli.ShowAppHelp(c)
			}
			for _, known := range c.App.Commands {
				if known.HasName(c.Args().First()) {
					return cli.ShowCommandHelp(c, known.Name)
				}
			}
			return usage("see 'fnhost help' for the commands", "%w %q", argv.ErrUnknownCommand, c.Args().First())
		},
	}
}

// finish gives every command what urfave/cli does not hand down.
func finish(commands []*cli.Command) {
	for _, c := range commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true // else a first argument `help` would be a command
		finish(c.Subcommands)
	}
}

func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress and no notes on stderr"},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours [$NO_COLOR]"},
	}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name, flags := "fnhost", c.App.Flags
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != "fnhost" {
		name, flags = c.Command.HelpName, append(c.Command.Flags, flags...)
	}
	hint := fmt.Sprintf("see '%s --help'", name)
	if given, found := strings.CutPrefix(err.Error(), "flag provided but not defined: "); found {
		if near := nearestFlag(flags, given); near != "" {
			hint = fmt.Sprintf("did you mean --%s? Or %s", near, hint)
		}
	}
	return usage(hint, "%w", err)
}

func nearestFlag(flags []cli.Flag, given string) string {
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return argv.Nearest(strings.TrimLeft(given, "-"), names)
}

// before refuses what is wrong for every command.
func (a *app) before(c *cli.Context) error {
	_, err := a.format(c)
	return err
}

func (a *app) format(c *cli.Context) (render.Format, error) {
	name := c.String("output")
	if name == "" {
		name = a.getenv("FNHOST_OUTPUT")
	}
	format, err := render.ParseFormat(name)
	if err != nil {
		return "", usage("give -o table or -o json", "%w", err)
	}
	return format, nil
}

// formatOf finds the format for an error, whatever the error is: also when the
// arguments could not be parsed.
func (a *app) formatOf(args []string) render.Format {
	wanted := a.getenv("FNHOST_OUTPUT")
	for i, arg := range args {
		if arg == "--" {
			break
		}
		name, given, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name == arg || name != "o" && name != "output" {
			continue
		}
		if !joined && i+1 < len(args) {
			given = args[i+1]
		}
		wanted = given
	}
	format, err := render.ParseFormat(wanted)
	if err != nil {
		return render.Table
	}
	return format
}

func (a *app) getenv(name string) string {
	for i := len(a.environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(a.environ[i], name+"="); ok {
			return value
		}
	}
	return ""
}

func (a *app) printer(c *cli.Context) *render.Printer {
	format, _ := a.format(c) // before has refused a wrong one
	color := a.stdoutTTY && !c.Bool("no-color") && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
	return &render.Printer{Out: a.stdout, Format: format, Color: color}
}

// note tells the user something on stderr that is not data.
func (a *app) note(c *cli.Context, format string, args ...any) {
	if !c.Bool("quiet") {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// config loads the settings: flags over the environment over fnhost.yaml. more
// are settings by name that count as given by flag.
func (a *app) config(c *cli.Context, more map[string]string) (*config.Config, error) {
	cfg, err := config.Load(config.Sources{Environ: a.environ, Flags: givenSettings(c, more), WorkDir: a.workdir})
	if err != nil {
		return nil, fail(exitInvalid, "correct it where it was set; 'fnhost --help' describes every setting and its default", "%w", err)
	}
	return cfg, nil
}

// wantArgs refuses a wrong number of positional arguments; names says what they
// are.
func wantArgs(c *cli.Context, least, most int, names string) error {
	switch n := c.NArg(); {
	case n < least:
		return usage(fmt.Sprintf("see '%s --help'", c.Command.HelpName), "%s wants %s", c.Command.HelpName, names)
	case most >= 0 && n > most:
		return usage(fmt.Sprintf("see '%s --help'", c.Command.HelpName), "%s takes %s, and not %q", c.Command.HelpName, names, c.Args().Get(most))
	}
	return nil
}
