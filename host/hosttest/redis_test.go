package hosttest

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRedisKeepsItsDataOverAKillWithAppendOnly(t *testing.T) {
	t.Parallel()
	s := Redis(t, AppendOnly...)
	c := s.Client()
	if err := c.Set(t.Context(), "k", "kept", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Fatal("a killed server answers")
	}
	s.Restart()
	if got := c.Get(t.Context(), "k").Val(); got != "kept" {
		t.Errorf("after the restart k is %q, want \"kept\"", got)
	}
}

func TestRedisPaused(t *testing.T) {
	t.Parallel()
	s := Redis(t)
	c := s.Client()
	s.Pause()
	answered := make(chan error, 1)
	go func() { answered <- c.Ping(t.Context()).Err() }()
	select {
	case err := <-answered:
		t.Fatalf("a paused server answers: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.Resume()
	if err := <-answered; err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

// TestRedisDiesWithTheTestProcess runs itself as a process that starts a server,
// kills that process, and looks for the server.
func TestRedisDiesWithTheTestProcess(t *testing.T) {
	if os.Getenv("HOSTTEST_CHILD") == "1" {
		s := Redis(t)
		println("address " + s.Addr())
		select {}
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestRedisDiesWithTheTestProcess$")
	cmd.Env = append(os.Environ(), "HOSTTEST_CHILD=1")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := readAddress(t, out)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitUntilRefused(t, addr)
}

func readAddress(t *testing.T, out interface{ Read([]byte) (int, error) }) string {
	t.Helper()
	var text string
	buf := make([]byte, 1024)
	for !strings.Contains(text, "\n") {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("the child ended: %v, after %q", err, text)
		}
		text += string(buf[:n])
	}
	_, addr, _ := strings.Cut(strings.TrimSpace(text), "address ")
	return addr
}

func waitUntilRefused(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatalf("the server at %s has outlived its test process by %s", addr, patience)
		}
	}
}
