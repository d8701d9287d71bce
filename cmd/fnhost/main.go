// Command fnhost hosts functions on Redis Streams, and is the operator's tool
// for them. `fnhost help` lists its commands.
package main

import (
	"os"

	"github.com/mattn/go-isatty"
)

func main() {
	a := &app{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ(),
		stdinTTY:  isatty.IsTerminal(os.Stdin.Fd()),
		stdoutTTY: isatty.IsTerminal(os.Stdout.Fd()), stderrTTY: isatty.IsTerminal(os.Stderr.Fd()),
		exit: os.Exit,
	}
	a.workdir, _ = os.Getwd() // without one, relative paths stay relative
	ctx, stop := a.interrupts()
	code := a.run(ctx, os.Args)
	stop()
	os.Exit(code)
}
