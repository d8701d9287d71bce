// Package argv puts a command line into the order that urfave/cli v2 reads: it
// stops at the first positional argument, and knows a flag only on the command
// that declares it. People write `fnhost publish rag --type x -o json`.
package argv

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// ErrUnknownCommand is wrapped by the error of [Order] for a name that is no
// command of the application.
var ErrUnknownCommand = errors.New("unknown command")

// Order gives args (with the program's name first) as: program, global flags,
// command path, the command's flags, `--`, positional arguments. A flag that
// neither the command nor the application knows stays with the command, whose
// parser names it. What follows `--` is positional.
func Order(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return args, nil
	}
	o := ordering{global: app.Flags, commands: app.Commands}
	for rest := args[1:]; len(rest) > 0; {
		n, err := o.take(rest)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	return o.join(args[0]), nil
}

type ordering struct {
	global, local []cli.Flag
	commands      []*cli.Command // that may come next

	globals, path, flags, positional []string
}

// take sorts the first of args, and its value if it is a flag that has one; it
// gives how many it took.
func (o *ordering) take(args []string) (int, error) {
	arg := args[0]
	switch {
	case arg == "--":
		o.positional = append(o.positional, args[1:]...)
		return len(args), nil
	case len(arg) > 1 && arg[0] == '-':
		return o.flag(args), nil
	case len(o.commands) > 0:
		return 1, o.command(arg)
	}
	o.positional = append(o.positional, arg)
	return 1, nil
}

func (o *ordering) command(name string) error {
	for _, c := range o.commands {
		if c.HasName(name) {
			o.path, o.commands, o.local = append(o.path, name), c.Subcommands, c.Flags
			return nil
		}
	}
	in := strings.Join(append([]string{""}, o.path...), " ")
	return fmt.Errorf("%w %q: fnhost%s has no such command.%s", ErrUnknownCommand, name, in, suggest(o.commands, name))
}

func suggest(commands []*cli.Command, name string) string {
	var names []string
	for _, c := range commands {
		names = append(names, c.Names()...)
	}
	if near := Nearest(name, names); near != "" {
		return fmt.Sprintf(" Did you mean %q?", near)
	}
	return ""
}

// flag takes a flag, and its value unless that is in the same argument.
func (o *ordering) flag(args []string) int {
	name, _, joined := strings.Cut(strings.TrimLeft(args[0], "-"), "=")
	to, f := &o.flags, find(o.local, name)
	if f == nil && !slices.Contains(cli.HelpFlag.Names(), name) { // help is the command's
		if f = find(o.global, name); f != nil {
			to = &o.globals
		}
	}
	n := 1
	if f != nil && !joined && takesValue(f) && len(args) > 1 {
		n = 2
	}
	*to = append(*to, args[:n]...)
	return n
}

func find(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}

func (o *ordering) join(program string) []string {
	out := slices.Concat([]string{program}, o.globals, o.path, o.flags)
	if len(o.positional) > 0 {
		out = append(append(out, "--"), o.positional...)
	}
	return out
}

// Nearest gives the candidate that a typing error turned into name, or "".
func Nearest(name string, candidates []string) string {
	best, bestAt := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(name, c); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours between a and b.
func distance(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
