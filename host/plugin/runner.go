package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin/runner"
)

const (
	busyRetries = 2 * time.Second        // that a copy may be held open by a forked process
	busyPause   = 10 * time.Millisecond  // between tries
	pumpGrace   = 100 * time.Millisecond // to read what an ended process has printed
	// handshakeMax is the longest first line that go-plugin is shown.
	handshakeMax = 8 << 10
)

var _ runner.Runner = (*process)(nil)

// A process is one run of a staged copy. It is the runner that go-plugin starts
// it through, because what go-plugin does by itself can hang or crash a host:
//
//   - the process has a group of its own, and the whole group is killed when it
//     ends, so a grandchild that holds its output open delays nothing;
//   - its stdin is a lifeline: it ends when the host ends;
//   - of its stdout go-plugin sees the first line, the handshake, and of its
//     stderr nothing.
type process struct {
	ctx  context.Context // of the start only
	path string
	env  []string
	out  *output

	handshakeRead, stderrRead   *io.PipeReader // go-plugin's ends
	handshakeWrite, stderrWrite *io.PipeWriter // closed when the process has ended
	exited                      chan struct{}  // closed when it has ended and all it printed was read

	mu       sync.Mutex
	pid      int      // 0: not started
	lifeline *os.File // nil: cut
	reaped   bool
	killed   string // why we end it; empty: we do not
	first    string // its first line on stdout
	hasFirst bool
	status   error // of cmd.Wait; set before exited is closed
}

func newProcess(ctx context.Context, path string, env []string, out *output) *process {
	p := &process{ctx: ctx, path: path, env: env, out: out, exited: make(chan struct{})}
	p.handshakeRead, p.handshakeWrite = io.Pipe()
	p.stderrRead, p.stderrWrite = io.Pipe()
	return p
}

// Start starts the process. Its context is go-plugin's own; ours counts.
func (p *process) Start(context.Context) error {
	started := make(chan error)
	go p.run(started)
	return <-started
}

// run is the life of the process. The thread is kept for as long: the system
// sends the death signal when the thread ends that has started the process.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	cmd, stdout, stderr, err := p.spawn()
	started <- err
	if err != nil {
		return
	}
	pumps := p.pump(stdout, stderr)
	err = cmd.Wait()
	p.reap(err)
	deadline := time.Now().Add(pumpGrace)
	_ = stdout.SetReadDeadline(deadline) // a pipe takes deadlines
	_ = stderr.SetReadDeadline(deadline)
	pumps.Wait()
	_, _, _, _ = stdout.Close(), stderr.Close(), p.handshakeWrite.Close(), p.stderrWrite.Close()
	p.out.close()
}

// spawn starts the command, again if the copy is still held open for writing by
// a process that was forked while it was made.
func (p *process) spawn() (cmd *exec.Cmd, stdout, stderr *os.File, err error) {
	for deadline := time.Now().Add(busyRetries); ; {
		cmd, stdout, stderr, err = p.try()
		if !errors.Is(err, syscall.ETXTBSY) || time.Now().After(deadline) {
			return cmd, stdout, stderr, err
		}
		select {
		case <-time.After(busyPause):
		case <-p.ctx.Done():
			return nil, nil, nil, context.Cause(p.ctx)
		}
	}
}

func (p *process) try() (cmd *exec.Cmd, stdout, stderr *os.File, err error) {
	var near, far [3]*os.File // our ends, and the process's
	defer func() {
		closeAll(far[:])
		if err != nil {
			closeAll(near[:])
		}
	}()
	for i, ends := range [3][2]**os.File{{&far[0], &near[0]}, {&near[1], &far[1]}, {&near[2], &far[2]}} {
		if *ends[0], *ends[1], err = os.Pipe(); err != nil {
			return nil, nil, nil, fmt.Errorf("making pipe %d: %w", i, err)
		}
	}
	cmd = &exec.Cmd{
		Path: p.path, Args: []string{p.path}, Env: p.env, SysProcAttr: attributes(),
		Stdin: far[0], Stdout: far[1], Stderr: far[2],
	}
	if err = p.begin(cmd, near[0]); err != nil {
		return nil, nil, nil, err
	}
	return cmd, near[1], near[2], nil
}

// begin starts the command unless it was killed before it began.
func (p *process) begin(cmd *exec.Cmd, lifeline *os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed != "" {
		return errors.New(p.killed)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.pid, p.lifeline = cmd.Process.Pid, lifeline
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// pump reads both outputs until they end.
func (p *process) pump(stdout, stderr io.Reader) *sync.WaitGroup {
	var pumps sync.WaitGroup
	for from, to := range map[io.Reader]*lines{stdout: {emit: p.stdoutLine}, stderr: {emit: p.out.line}} {
		pumps.Go(func() {
			_, _ = io.Copy(to, from) // ends when the pipe does, or at the deadline
			to.flush()
		})
	}
	return &pumps
}

// stdoutLine hands the first line to go-plugin, and logs the others.
func (p *process) stdoutLine(line []byte) {
	p.mu.Lock()
	isFirst := !p.hasFirst
	if isFirst {
		p.first, p.hasFirst = string(line[:min(len(line), handshakeMax)]), true
	}
	p.mu.Unlock()
	if !isFirst {
		p.out.line(line)
		return
	}
	_, _ = io.WriteString(p.handshakeWrite, p.first+"\n") // go-plugin reads from the start to the end
}

// reap kills what is left of the group. The group's number is free once its last
// process has gone; nothing can have taken it in this moment, because process
// numbers are given out in turn.
func (p *process) reap(status error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.reaped, p.status = true, status
	p.cut()
}

// signal sends to the whole group.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid != 0 && !p.reaped {
		_ = syscall.Kill(-p.pid, sig) // it fails only if nobody is there
	}
}

// kill kills the group at once, or sees to it that it never starts.
func (p *process) kill(reason string) {
	p.blame(reason)
	p.signal(syscall.SIGKILL)
}

// blame notes why we end the process. The first reason is the one that is
// reported, and none is once it has ended by itself.
func (p *process) blame(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed == "" && !p.reaped {
		p.killed = reason
	}
}

// cutLifeline ends the process's stdin, which asks it to end.
func (p *process) cutLifeline() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *process) cut() {
	if p.lifeline != nil {
		_ = p.lifeline.Close()
		p.lifeline = nil
	}
}

// ending says, once exited is closed, how the process ended.
func (p *process) ending() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	how := "exit status 0"
	if p.status != nil {
		how = p.status.Error()
	}
	if p.killed != "" {
		how += ", by the host: " + p.killed
	}
	return how
}

// endedBy says why we end the process; empty if it ends by itself.
func (p *process) endedBy() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// tail is the end of what the process printed to stderr.
func (p *process) tail(lines int) string { return p.out.tail(lines) }

// processID is the process number, 0 before the start.
func (p *process) processID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// firstLine is what the process printed first to stdout, if it has.
func (p *process) firstLine() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first, p.hasFirst
}

// shakesHands says whether a line is a handshake of go-plugin, of any version.
func shakesHands(line string) bool {
	parts := strings.Split(line, "|")
	_, err := strconv.Atoi(strings.TrimSpace(parts[0]))
	return len(parts) >= 4 && err == nil
}

// The rest is what go-plugin asks of a runner.

// Wait waits for the process's end.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill is what go-plugin calls when it gives up.
func (p *process) Kill(context.Context) error {
	p.kill(reasonFailedStart)
	return nil
}

// Stdout is the handshake, and then silence until the process ends.
func (p *process) Stdout() io.ReadCloser { return p.handshakeRead }

// Stderr is silent until the process ends: go-plugin's parser can panic.
func (p *process) Stderr() io.ReadCloser { return p.stderrRead }

// Name is the copy's path.
func (p *process) Name() string { return p.path }

// ID is the process number, empty before the start.
func (p *process) ID() string {
	pid := p.processID()
	if pid == 0 {
		return ""
	}
	return strconv.Itoa(pid)
}

// Diagnose adds nothing to go-plugin's errors: we word our own.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost gives the address as it is: both are on one machine.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin gives the address as it is.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
