package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is one that we started, with its children.
type process struct {
	cmd    *exec.Cmd
	output tail
	gone   chan struct{}
}

// start starts a process in a group of its own, which ends with us.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, gone: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.output, &p.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait() // how it ended is seen by its output
		close(p.gone)
	}()
	return p, nil
}

// ended is an error once the process has ended.
func (p *process) ended() error {
	select {
	case <-p.gone:
		return fmt.Errorf("%s has ended; it said:\n%s", filepath.Base(p.cmd.Path), p.output.String())
	default:
		return nil
	}
}

// stop asks the process to end, and kills its group if it does not.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(patience):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.gone
	}
}

// A crew is the processes of one contender.
type crew []*process

// startCrew starts all, or none.
func startCrew(cmds []*exec.Cmd) (crew, error) {
	var all crew
	for _, cmd := range cmds {
		p, err := start(cmd)
		if err != nil {
			all.stop()
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// ended is an error once one of them has ended.
func (c crew) ended() error {
	for _, p := range c {
		if err := p.ended(); err != nil {
			return err
		}
	}
	return nil
}

func (c crew) stop() {
	var stopping sync.WaitGroup
	for _, p := range c {
		stopping.Go(p.stop)
	}
	stopping.Wait()
}

func (c crew) output() string {
	var all strings.Builder
	for _, p := range c {
		all.WriteString(p.output.String())
	}
	return all.String()
}

func (c crew) pids() (pids []int) {
	for _, p := range c {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// plugins are the processes below those of the crew.
func (c crew) plugins() (pids []int) {
	for _, pid := range c.pids() {
		pids = append(pids, children(pid)...)
	}
	return pids
}

// tail keeps the end of what a process says.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if most := 8 << 10; len(t.buf) > 2*most {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-most:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// ticks is the kernel's unit of a process's time, the same on every Linux.
const ticks = 100

// children are the processes below pid, at any depth.
func children(pid int) []int {
	parents := map[int]int{}
	all, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, path := range all {
		if fields, err := stat(path); err == nil {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			parents[id], _ = strconv.Atoi(fields[1])
		}
	}
	var below []int
	for id := range parents {
		for up := parents[id]; up > 1; up = parents[up] {
			if up == pid {
				below = append(below, id)
				break
			}
		}
	}
	return below
}

// stat gives the fields of /proc/PID/stat after the name: state, parent, ...
func stat(path string) ([]string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[end+1:]))
	if end < 0 || len(fields) < 15 {
		return nil, errors.New(path + " is not of the known form")
	}
	return fields, nil
}

// cpu is the time that the processes have used, in seconds.
func cpu(pids ...int) float64 {
	total := 0.0
	for _, pid := range pids {
		fields, err := stat(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		total += (user + system) / ticks
	}
	return total
}

// memory is what the processes hold in memory (VmRSS) or held at most (VmHWM),
// in MiB.
func memory(which string, pids ...int) float64 {
	total := 0.0
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if value, ok := strings.CutPrefix(line, which+":"); ok {
				kib, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
				total += kib / 1024
			}
		}
	}
	return total
}

// usage is the time that host, plugins and redis have used.
type usage struct{ host, plugins, redis float64 }

func (u usage) all() float64 { return u.host + u.plugins + u.redis }

func usageOf(hosts crew, redis *process) usage {
	return usage{host: cpu(hosts.pids()...), plugins: cpu(hosts.plugins()...), redis: cpu(redis.cmd.Process.Pid)}
}
