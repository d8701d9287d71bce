package conformance

import (
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/fnhost/fnhost/host/hosttest"
)

// The suite restarts the service by a command, but the server is this process's:
// the command is this test binary, which asks for the restart and waits for it.
const restartArgument = "restart-redis"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == restartArgument {
		if err := askForRestart(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func askForRestart(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return fmt.Errorf("ask for a restart of redis: %w", err)
	}
	defer conn.Close()
	if answer, err := io.ReadAll(conn); string(answer) != "restarted" {
		return fmt.Errorf("redis was not restarted: answer %q, %v", answer, err)
	}
	return nil
}

// restartCommand is a command that kills the server, as kill -9 does, and starts
// it again.
func restartCommand(t *testing.T, server *hosttest.RedisServer) []string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for { // one restart at a time
			conn, err := l.Accept()
			if err != nil {
				return
			}
			server.Kill()
			server.Restart()
			_, _ = io.WriteString(conn, "restarted")
			_ = conn.Close()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, restartArgument, l.Addr().String()}
}
