package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/sdk"
)

// childEnv holds the options of a worker that this process is to be.
const childEnv = "FNHOST_CRASH_CHILD"

// full says whether every case is wanted.
var full = os.Getenv("FNHOST_CRASH") == "full"

// Cases mostly wait: for a lease to lapse, for a server to start.
const atOnce = "16"

func TestMain(m *testing.M) {
	if os.Getenv(sdk.MagicCookieKey) == sdk.MagicCookieValue {
		sdk.Serve(plugin())
	}
	if o := os.Getenv(childEnv); o != "" {
		if err := beChild(o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", atOnce) // testing defines it
	}
	goleak.VerifyTestMain(m)
}

// beChild is a worker, or a whole host, until its standard input ends; then it
// drains.
func beChild(text string) error {
	var o options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	if o.Plugin != "" {
		return beHost(o, ended)
	}
	w, err := startWorker(o)
	if err != nil {
		return err
	}
	<-ended
	return w.stop(patience)
}

// A child is a worker, or a whole host, in a process of its own.
type child struct {
	*world
	ctx context.Context // ends when the process takes too long
	cmd *exec.Cmd
	in  io.Closer
	out *bufio.Reader

	ended chan struct{} // closed when it has; then err is set
	err   error
}

// spawn starts a worker's process, to which something happens at the points.
func (w *world) spawn(points ...point) *child {
	w.Helper()
	o := w.options()
	o.Points = points
	o.Concurrency = 2
	return w.start(o)
}

// start starts a process. It is killed when the test ends, and ends by itself
// when the test's process does.
func (w *world) start(o options) *child {
	w.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		w.Fatal(err)
	}
	out, print := io.Pipe()
	cmd.Stdout = print
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	c := &child{world: w, ctx: ctx, cmd: cmd, in: in, out: bufio.NewReader(out), ended: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		_ = print.Close()
		close(c.ended)
	}()
	w.Cleanup(func() {
		cancel()
		_ = cmd.Process.Kill()
		_ = out.Close() // nobody reads the rest
		<-c.ended
	})
	return c
}

// alive says whether the process has not ended.
func (c *child) alive() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// killed waits for the process to have died at its point.
func (c *child) killed() {
	c.Helper()
	<-c.ended
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ok || status.Signal() != syscall.SIGKILL || c.ctx.Err() != nil {
		c.Fatalf("the host did not die at its point: %v", c.cmd.ProcessState)
	}
}

// stopped waits for the process to stop itself.
func (c *child) stopped() {
	c.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil || line != stopping+"\n" {
		c.Fatalf("the host did not stop at its point: %q, %v", line, err)
	}
}

// resume lets a stopped process go on.
func (c *child) resume() {
	c.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		c.Fatal(err)
	}
}

// drained ends the process as an operator does.
func (c *child) drained() {
	c.Helper()
	_ = c.in.Close()
	<-c.ended
	if c.err != nil {
		c.Errorf("the host did not end by itself: %v", c.err)
	}
}
