package soak

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A host is a running `fnhost serve`.
type host struct {
	name   string
	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{} // closed when it has ended and its log is whole
	born   time.Time

	mu      sync.Mutex
	addr    string         // of its probes
	plugins map[int]string // every plugin process it had, with its role
	active  map[string]int // the process that serves a role now
	since   time.Time      // of the active probe
	crashes int            // of the probe, since one last was in service for long
}

// forgotten is how long a plugin has to serve until the host forgets that it
// crashed: until then it pauses before each further start.
const forgotten = time.Minute

// startHost starts a host. Its log is a file, and what it says of plugins is
// noted as it says so.
func startHost(name, dir string, env []string) (*host, error) {
	h := &host{name: name, exited: make(chan struct{}), born: time.Now(), plugins: map[int]string{}, active: map[string]int{}}
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	h.log = log
	h.cmd = exec.Command(filepath.Join(built, "fnhost"), "serve")
	h.cmd.Dir, h.cmd.Env = dir, env
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the test, which then ends it
	stderr, err := h.cmd.StderrPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		_ = log.Close()
		return nil, fmt.Errorf("start host %s: %w", name, err)
	}
	release, err := guard(h.cmd.Process.Pid)
	go func() {
		defer close(h.exited)
		h.follow(stderr)
		release()
	}()
	if err != nil {
		h.kill()
		return nil, err
	}
	return h, nil
}

// guard kills a process once the test process is gone, however that ended;
// release lets go of it.
func guard(pid int) (release func(), err error) {
	cmd := exec.Command("sh", "-c", "read line; kill -9 "+strconv.Itoa(pid))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	lifeline, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return func() {}, fmt.Errorf("start the guard of a host: %w", err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = lifeline.Close()
		_ = cmd.Wait()
	}, nil
}

// follow reads the log to its end, and then waits for the process.
func (h *host) follow(stderr io.Reader) {
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadBytes('\n')
		_, _ = h.log.Write(line)
		h.note(line)
		if err != nil {
			break
		}
	}
	_ = h.cmd.Wait() // how it ended is in its state
	_ = h.log.Close()
}

func (h *host) note(line []byte) {
	var record struct {
		Msg, Addr, Role string
		PID             int `json:"plugin_pid"`
	}
	if json.Unmarshal(line, &record) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch record.Msg {
	case "listening":
		h.addr = record.Addr
	case "the plugin is ready":
		h.plugins[record.PID], h.active[record.Role] = record.Role, record.PID
		if record.Role == "probe" {
			h.since = time.Now()
		}
	case "the plugin is ready for messages that must run alone":
		h.plugins[record.PID] = record.Role
	case "the plugin ended; its role waits for the next process":
		if h.active[record.Role] == record.PID {
			delete(h.active, record.Role)
		}
		if record.Role == "probe" && time.Since(h.since) >= forgotten {
			h.crashes = 0
		}
		if record.Role == "probe" {
			h.crashes++
		}
	}
}

// pausing says that the host would start the probe again only after a pause.
func (h *host) pausing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.crashes > 0 && time.Since(h.since) < forgotten
}

// probes gives all processes of role probe that the host had, those for messages
// that must run alone among them.
func (h *host) probes() map[int]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	pids := map[int]bool{}
	for pid, role := range h.plugins {
		if role == "probe" {
			pids[pid] = true
		}
	}
	return pids
}

// plugin gives the process that serves a role; 0 if none does.
func (h *host) plugin(role string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.active[role]
}

func (h *host) alive() bool {
	select {
	case <-h.exited:
		return false
	default:
		return true
	}
}

// get asks the host's probes.
func (h *host) get(path string) (code int, body string, err error) {
	h.mu.Lock()
	addr := h.addr
	h.mu.Unlock()
	if addr == "" {
		return 0, "", errors.New("it does not listen yet")
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + addr + path)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

func (h *host) ready() bool {
	code, _, err := h.get("/readyz")
	return err == nil && code == http.StatusOK
}

// metric gives a metric without labels; false if the host does not answer.
func metric(body, name string) (float64, bool) {
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return v, err == nil
		}
	}
	return 0, false
}

func (h *host) signal(s syscall.Signal) { _ = h.cmd.Process.Signal(s) } // it may have ended

// wait waits for the host's end.
func (h *host) wait(limit time.Duration) error {
	select {
	case <-h.exited:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("host %s has not ended after %s", h.name, limit)
	}
}

// kill ends the host as kill -9 does.
func (h *host) kill() {
	h.signal(syscall.SIGKILL)
	<-h.exited
}
