package hosttest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a private server may take to start or stop on a loaded
// machine.
const patience = 30 * time.Second

// AppendOnly, given to [Redis], makes what the server has acknowledged survive
// [RedisServer.Kill].
var AppendOnly = []string{"--appendonly", "yes", "--appendfsync", "always"}

// A RedisServer is a private redis-server process of one test.
type RedisServer struct {
	t    testing.TB
	port int
	dir  string
	args []string

	cmd      *exec.Cmd
	gone     chan struct{} // closed when the server has ended
	lifeline io.Closer     // its end tells the watcher that the test process is gone
	watcher  *exec.Cmd
}

// Redis starts a private redis-server on a free port, in a directory of its own
// and without persistence unless args say so. It ends with the test, and with
// the test process if that dies. A machine without redis-server fails the test.
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("this test needs redis-server in PATH: install it (Debian and Ubuntu: apt-get install redis-server; macOS: brew install redis)")
	}
	s := &RedisServer{t: t, dir: t.TempDir(), args: args}
	t.Cleanup(s.Kill)
	err := errEnded
	for range 10 { // another process may take a free port before the server does
		s.port = freePort(t)
		if err = s.start(); !errors.Is(err, errEnded) {
			break
		}
	}
	if err != nil {
		t.Fatalf("redis-server does not start: %v; its log:\n%s", err, s.log())
	}
	return s
}

var errEnded = errors.New("it ended at once")

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Addr is host:port.
func (s *RedisServer) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// URL is what REDIS_URL wants.
func (s *RedisServer) URL() string { return "redis://" + s.Addr() }

// Client is a new client of the server, closed with the test.
func (s *RedisServer) Client() *redis.Client {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr(), Protocol: 2, DisableIdentity: true})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Kill ends the server as kill -9 does. It does nothing if none runs.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

// Stop asks the server to end, and waits.
func (s *RedisServer) Stop() { s.end(syscall.SIGTERM) }

// Restart starts the server again, on the same port and directory, after Kill or
// Stop.
func (s *RedisServer) Restart() {
	s.t.Helper()
	s.end(syscall.SIGTERM)
	if err := s.start(); err != nil {
		s.t.Fatalf("redis-server does not start again: %v; its log:\n%s", err, s.log())
	}
}

// Pause stops the server where it is: it answers nobody until Resume.
func (s *RedisServer) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *RedisServer) Resume() { s.signal(syscall.SIGCONT) }

func (s *RedisServer) signal(sig os.Signal) {
	s.t.Helper()
	if s.cmd == nil {
		s.t.Fatal("the private redis-server is not running")
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal the private redis-server: %v", err)
	}
}

func (s *RedisServer) logfile() string { return filepath.Join(s.dir, "redis.log") }

func (s *RedisServer) log() string {
	b, err := os.ReadFile(s.logfile())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (s *RedisServer) start() error {
	args := append([]string{
		"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", s.logfile(),
		"--save", "", "--appendonly", "no", "--daemonize", "no",
	}, s.args...)
	cmd := exec.Command("redis-server", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test, which then ends it
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.gone = cmd, make(chan struct{})
	go func(gone chan struct{}) {
		defer close(gone)
		_ = cmd.Wait() // ended by a signal
	}(s.gone)
	if err := s.watch(); err != nil {
		s.Kill()
		return err
	}
	if err := s.ready(); err != nil {
		s.Kill()
		return err
	}
	return nil
}

// watch starts a process that kills the server once our end of its standard
// input is closed, as the kernel does when we die.
func (s *RedisServer) watch() error {
	w := exec.Command("sh", "-c", "read line; kill -9 "+strconv.Itoa(s.cmd.Process.Pid))
	w.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := w.StdinPipe()
	if err != nil {
		return err
	}
	if err := w.Start(); err != nil {
		return err
	}
	s.watcher, s.lifeline = w, in
	return nil
}

// ready waits until the server says in its log that it accepts connections: one
// with a password would not tell us otherwise.
func (s *RedisServer) ready() error {
	said := regexp.MustCompile(fmt.Sprintf(`(?m)^%d:.*Ready to accept connections`, s.cmd.Process.Pid))
	deadline := time.After(patience)
	for !said.MatchString(s.log()) {
		select {
		case <-s.gone:
			return errEnded
		case <-deadline:
			return fmt.Errorf("it is not ready after %s", patience)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// end ends the watcher first: the server's process id may be another's later.
func (s *RedisServer) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	if s.watcher != nil {
		_ = s.watcher.Process.Kill()
		_ = s.lifeline.Close()
		_ = s.watcher.Wait()
		s.watcher = nil
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT) // it may be paused
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.gone:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.gone
	}
	s.cmd = nil
}
