package endtoend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A hostProcess is a running fnhost.
type hostProcess struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *output // stdout
	log    *output // stderr: JSON lines, as it is no terminal
	exited chan struct{}
}

// serve starts `fnhost serve`; it ends with the test.
func (w *world) serve(env ...string) *hostProcess {
	w.t.Helper()
	return w.start(env, "serve", "--plugins", w.plugins)
}

// start starts a command that goes on; env is for it alone.
func (w *world) start(env []string, args ...string) *hostProcess {
	w.t.Helper()
	h := &hostProcess{t: w.t, out: &output{}, log: &output{}, exited: make(chan struct{})}
	h.cmd = w.command(w.t.Context(), args...)
	h.cmd.Env = append(h.cmd.Env, env...)
	h.cmd.Stdout, h.cmd.Stderr = h.out, h.log
	h.cmd.Cancel = func() error { return h.cmd.Process.Signal(syscall.SIGTERM) }
	h.cmd.WaitDelay = 20 * time.Second
	if err := h.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	release := w.guard(h.cmd.Process.Pid)
	go func() {
		defer close(h.exited)
		_ = h.cmd.Wait() // its exit code says it
		release()
	}()
	w.t.Cleanup(func() {
		<-h.exited // the test's context has ended it
		if w.t.Failed() {
			w.t.Logf("log of fnhost %v:\n%s", args, h.log.tail(16<<10))
		}
	})
	return h
}

// guard kills a process once the test process is gone, however that ended;
// release lets go of it.
func (w *world) guard(pid int) (release func()) {
	w.t.Helper()
	guard := exec.Command("sh", "-c", "read line; kill -9 "+strconv.Itoa(pid))
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test
	lifeline, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return func() {
		_ = guard.Process.Kill()
		_ = lifeline.Close()
		_ = guard.Wait()
	}
}

// ready waits until /readyz says so.
func (h *hostProcess) ready() *hostProcess {
	h.t.Helper()
	body := ""
	eventually(h.t, func() bool {
		h.mustLive()
		code, text := h.get("/readyz")
		body = text
		return code == http.StatusOK
	}, func() string { return "the host is not ready: " + body })
	return h
}

func (h *hostProcess) mustLive() {
	h.t.Helper()
	select {
	case <-h.exited:
		h.t.Fatalf("the host has ended: %v", h.cmd.ProcessState)
	default:
	}
}

// get asks the host's probes; 0 if it does not answer.
func (h *hostProcess) get(path string) (code int, body string) {
	addr := h.find("listening")["addr"]
	if addr == nil {
		return 0, "it does not listen"
	}
	client := http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(fmt.Sprintf("http://%s%s", addr, path))
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err.Error()
	}
	return answer.StatusCode, string(text)
}

// wantExit waits for the end and checks the exit code.
func (h *hostProcess) wantExit(code int) {
	h.t.Helper()
	select {
	case <-h.exited:
	case <-time.After(patience):
		h.t.Fatalf("the host has not ended after %s", patience)
	}
	if got := h.cmd.ProcessState.ExitCode(); got != code {
		h.t.Errorf("the host ended with %v, want exit code %d", h.cmd.ProcessState, code)
	}
}

func (h *hostProcess) signal(s syscall.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.t.Fatal(err)
	}
}

// stop ends the host as an operator does.
func (h *hostProcess) stop() {
	h.t.Helper()
	h.signal(syscall.SIGTERM)
	h.wantExit(0)
}

// lines gives the log's records with that message.
func (h *hostProcess) lines(message string) (found []map[string]any) {
	for line := range strings.Lines(h.log.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == message {
			found = append(found, record)
		}
	}
	return found
}

// find gives the last record with that message; nil if there is none.
func (h *hostProcess) find(message string) map[string]any {
	found := h.lines(message)
	if len(found) == 0 {
		return nil
	}
	return found[len(found)-1]
}

// pluginPID is the process of a role's active plugin; 0 if none has started.
func (h *hostProcess) pluginPID(role string) int {
	pid := 0
	for _, record := range h.lines("the plugin is ready") {
		if record["role"] == role {
			n, _ := record["plugin_pid"].(float64)
			pid = int(n)
		}
	}
	return pid
}

// alive says whether a process runs; one that has ended and waits for its parent
// to take note does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || !hasProc()
	}
	after := stat[bytes.LastIndexByte(stat, ')')+1:]
	return !bytes.HasPrefix(bytes.TrimSpace(after), []byte("Z"))
}

func hasProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) tail(n int) string {
	text := o.String()
	return text[max(0, len(text)-n):]
}
