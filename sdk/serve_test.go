package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// childKey makes the test binary a plugin, of the kind in its value.
const childKey = "FNHOST_TEST_CHILD"

// child is the main function of the plugin.
func child() {
	f := handler(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		if string(m.Data) == "hang" {
			select {}
		}
		slog.InfoContext(ctx, "handling", "n", 1)
		slog.With("a", 1).WithGroup("g").With("b", 2).WarnContext(ctx, "grouped", "c", 3)
		log.Print("from package log")
		fmt.Println("printed")
		fmt.Fprintln(os.Stderr, strings.Repeat("long ", 40_000)+"end")
		return &sdk.Reply{Data: m.Data}, nil
	})
	f.Role = "child"
	f.Close = func(context.Context) error { slog.Info("closing"); return nil }
	if os.Getenv(childKey) == "invalid" {
		f.Handler = nil
	}
	sdk.Serve(f)
}

// process is a plugin process and its host's ends of its pipes.
type process struct {
	*host
	cmd    *exec.Cmd
	life   io.WriteCloser
	stdout *bufio.Reader
	exited chan error

	mu    sync.Mutex
	lines []string // of stderr
}

func command(kind string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childKey+"="+kind), env...)
	return cmd
}

func hosted(kind string) *exec.Cmd {
	return command(kind, sdk.MagicCookieKey+"="+sdk.MagicCookieValue, sdk.LifelineKey+"="+sdk.LifelineStdin,
		"PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR="+os.TempDir())
}

// launch starts a plugin process as a host does, up to its open stream.
func launch(t *testing.T) *process {
	t.Helper()
	p := &process{cmd: hosted("valid"), exited: make(chan error, 1)}
	p.life, _ = p.cmd.StdinPipe()
	stdout, _ := p.cmd.StdoutPipe()
	p.stdout = bufio.NewReader(stdout)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.collect(stderr)
		p.exited <- p.cmd.Wait()
	}()
	p.host = p.connect(t)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.worker.Done()
		_ = p.conn.Close()
	})
	return p
}

// collect keeps the lines of stderr.
func (p *process) collect(stderr io.Reader) {
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		p.mu.Lock()
		p.lines = append(p.lines, strings.TrimSuffix(line, "\n"))
		p.mu.Unlock()
	}
}

func (p *process) connect(t *testing.T) *host {
	t.Helper()
	line, err := p.stdout.ReadString('\n')
	fields := strings.Split(strings.TrimSpace(line), "|")
	if err != nil || len(fields) < 5 || fields[0] != "1" || fields[1] != "1" || fields[2] != "unix" || fields[4] != "grpc" {
		t.Fatalf("the handshake is %q (%v)", line, err)
	}
	conn, err := grpc.NewClient("unix:"+fields[3], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, conn: conn, outcomes: map[uint64]*fnhostv1.Outcome{}, changed: make(chan struct{})}
	if err := client.Health(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if d, err := client.Describe(t.Context(), conn, "test"); err != nil || d.GetRole() != "child" {
		t.Fatalf("described as %v: %v", d, err)
	}
	h.configure(2)
	if h.worker, err = client.Work(t.Context(), conn, h); err != nil {
		t.Fatal(err)
	}
	return h
}

func (p *process) output() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// exit waits for the process's end.
func (p *process) exit(t *testing.T) error {
	t.Helper()
	return receive(t, "the process's end", p.exited)
}

func TestAPluginIgnoresSignalsAndEndsWithItsLifeline(t *testing.T) {
	t.Parallel()
	p := launch(t)
	for range 3 {
		for _, s := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
			if err := p.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.deliver(1, 1)
	if p.outcome(1).GetDone() == nil {
		t.Errorf("after signals: %v", p.outcome(1))
	}
	_ = p.life.Close()
	if err := p.exit(t); err != nil {
		t.Errorf("it ended with %v, want status 0", err)
	}
	if out := strings.Join(p.output(), "\n"); !strings.Contains(out, `"msg":"closing"`) {
		t.Errorf("Function.Close was not called; stderr: %.2000s", out)
	}
}

func TestAPluginThatHangsEndsWithItsLifelineToo(t *testing.T) {
	t.Parallel()
	p := launch(t)
	d := delivery(1)
	d.Data = []byte("hang")
	p.worker.Deliver(d)
	p.deliver(2, 2)
	p.outcome(2) // so that the first has started
	_ = p.life.Close()
	if err := p.exit(t); err == nil {
		t.Error("a plugin that did not stop in time ended with status 0")
	}
	if out := strings.Join(p.output(), "\n"); !strings.Contains(out, "a handler has not returned") {
		t.Errorf("stderr does not say why: %.2000s", out)
	}
}

func TestOutputReachesTheHostLineByLine(t *testing.T) {
	t.Parallel()
	p := launch(t)
	d := delivery(1)
	d.Attributes = []*fnhostv1.Attribute{{Name: []byte("id"), Value: []byte("order-1")}}
	p.worker.Deliver(d)
	p.outcome(1)
	_ = p.life.Close()
	_ = p.exit(t)
	lines := p.output()
	about := map[string]any{"message_id": "order-1", "entry_id": "7-0", "stream": "test:tasks"}
	requireRecord(t, lines, "handling", "INFO", about, map[string]any{"n": 1.0})
	requireRecord(t, lines, "grouped", "WARN", about, map[string]any{"a": 1.0, "g": map[string]any{"b": 2.0, "c": 3.0}})
	requireRecord(t, lines, "from package log", "INFO", nil, nil)
	for _, want := range []string{"printed", strings.Repeat("long ", 40_000) + "end"} {
		found := false
		for _, line := range lines {
			found = found || line == want
		}
		if !found {
			t.Errorf("no line %.40q of %d bytes among the %d of stderr", want, len(want), len(lines))
		}
	}
}

// requireRecord looks for a JSON line with the message, the level and attributes.
func requireRecord(t *testing.T, lines []string, msg, level string, attrs ...map[string]any) {
	t.Helper()
	for _, line := range lines {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) != nil || record["msg"] != msg {
			continue
		}
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(record["time"])); err != nil || record["level"] != level {
			t.Errorf("record %s: want a time and level %s", line, level)
		}
		for _, want := range attrs {
			for key, value := range want {
				if fmt.Sprint(record[key]) != fmt.Sprint(value) {
					t.Errorf("record %s: %s is %v, want %v", line, key, record[key], value)
				}
			}
		}
		return
	}
	t.Errorf("no record %q among %.3000q", msg, lines)
}

func TestRunByHandSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{"valid": `a function for fnhost (role "child")`, "invalid": "Handler is nil"} {
		out, status := run(command(kind))
		if status != 1 || !strings.Contains(out, want) || !strings.Contains(out, "fnhost serve --plugins") {
			t.Errorf("%s: status %d, %s; want 1 and %q", kind, status, out, want)
		}
	}
}

func TestAnInvalidFunctionDoesNotServe(t *testing.T) {
	t.Parallel()
	if out, status := run(hosted("invalid")); status != 1 || !strings.Contains(out, "Handler is nil") {
		t.Errorf("status %d, %s", status, out)
	}
}

func TestAPluginThatCannotListenSaysWhyAndFails(t *testing.T) {
	t.Parallel()
	cmd := hosted("valid")
	cmd.Env = append(cmd.Env, "PLUGIN_UNIX_SOCKET_DIR=/nowhere/at/all")
	stdin, err := cmd.StdinPipe() // the host is there
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, status := run(cmd)
	if status != 1 || !strings.Contains(out, "/nowhere/at/all") || !strings.Contains(out, `"level":"ERROR"`) {
		t.Errorf("status %d, %s; want 1 and a record that says why", status, out)
	}
}

func run(cmd *exec.Cmd) (stderr string, status int) {
	var out bytes.Buffer
	cmd.Stderr = &out
	_ = cmd.Run()
	return out.String(), cmd.ProcessState.ExitCode()
}
