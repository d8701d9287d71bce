package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/sdk"
)

// The test binary is its own plugin, and its own host: these variables say what
// it is to be.
const (
	playKey = "TEST_PLAY" // one of plays
	roleKey = "TEST_ROLE"
	// leaveKey names a file: a grandchild leaves the process group, and its
	// number is written there.
	leaveKey = "TEST_LEAVE"
)

func TestMain(m *testing.M) {
	if play, ok := plays[os.Getenv(playKey)]; ok {
		play()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// plays are the kinds of plugins that the tests need. They are run in processes
// of their own.
var plays = map[string]func(){
	"serve": serve,
	"stray": func() { fmt.Println("loading the model"); serve() },
	"part":  func() { fmt.Print("no newline"); hang() },
	"hang":  hang,
	"exit":  func() { fmt.Fprintln(os.Stderr, "cannot open the model"); os.Exit(3) },
	"other": func() { fmt.Println("1|7|unix|/nowhere|grpc"); hang() },
	"odd json": func() {
		fmt.Fprintln(os.Stderr, `{"@message":1,"@level":{},"@timestamp":[]}`)
		serve()
	},
	"long line": func() {
		fmt.Fprintf(os.Stderr, "{\"level\":\"warn\",\"msg\":\"long\",\"x\":%q}\n", strings.Repeat("x", lineMax-100))
		serve()
	},
	"grandchild": func() {
		child := exec.Command("sleep", "60")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if os.Getenv(leaveKey) != "" {
			child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		}
		if err := child.Start(); err != nil {
			panic(err)
		}
		if file := os.Getenv(leaveKey); file != "" {
			pids, _ := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			fmt.Fprintln(pids, child.Process.Pid)
		}
		serve()
	},
	"rejects": func() {
		sdk.Serve(sdk.Function{Role: "echo", Handler: sdk.HandlerFunc(handle), Configure: func(context.Context, sdk.Settings) error {
			return &sdk.SettingError{Setting: "database.url", Message: "there is none"}
		}})
	},
	"raw":  serveRaw,
	"host": serveHost,
}

func hang() { time.Sleep(time.Hour) }

func serve() {
	role := os.Getenv(roleKey)
	if role == "" {
		role = "echo"
	}
	sdk.Serve(sdk.Function{Role: role, Version: "1.2.3", Handler: sdk.HandlerFunc(handle), Concurrency: 2})
}

// handle does what the message's type says.
func handle(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	switch m.Type {
	case "exit":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(7)
	case "panic":
		go panic("outside of the handler")
		<-ctx.Done()
	case "wait":
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case "ignore":
		hang()
	case "environ":
		return sdk.Result(os.Environ())
	case "pid":
		return sdk.Result(os.Getpid())
	case "spam":
		line := strings.Repeat("spam ", 20)
		for range 200_000 {
			fmt.Println(line)
		}
	case "log":
		slog.WarnContext(ctx, "careful", "n", 5)
	case "fail":
		return nil, errors.New("failed")
	case "load":
		s, err := sdk.State(ctx, "k")
		if err != nil {
			return nil, err
		}
		value, _ := s.Get("field")
		return sdk.Result(value)
	}
	return sdk.Result(len(m.Data))
}

// serveHost is a host that loads a directory, says which processes it has, and
// waits to be killed.
func serveHost() {
	os.Unsetenv(playKey)
	set, err := Load(context.Background(), Options{Dir: os.Getenv("TEST_DIR"), StateDir: os.Getenv("TEST_STATE")})
	if err != nil {
		panic(err)
	}
	for _, f := range set.Functions() {
		fmt.Println(f.Info().PID)
	}
	hang()
}

// fastTiming makes supervision quick enough to be watched.
func fastTiming() timing {
	t := defaultTiming
	t.backoff, t.backoffMax = 20*time.Millisecond, time.Second
	return t
}

// install writes a plugin that is a script: it plays a part of this binary.
func install(t *testing.T, dir, name, play string, env ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, e := range append(env, playKey+"="+play) {
		key, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&b, "export %s='%s'\n", key, value)
	}
	fmt.Fprintf(&b, "exec '%s'\n", self)
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(b.String()), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

// load loads, and stops at the end of the test.
func load(t *testing.T, options Options) *Set {
	t.Helper()
	if options.StateDir == "" {
		options.StateDir = t.TempDir()
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if options.timing == (timing{}) {
		options.timing = fastTiming()
	}
	if options.StartTimeout == 0 {
		options.StartTimeout = time.Minute
	}
	set, err := Load(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := set.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return set
}

// one loads a directory with one plugin, and gives its function and its sink.
func one(t *testing.T, play string, options Options, env ...string) (*Function, *sink) {
	t.Helper()
	options.Dir = t.TempDir()
	install(t, options.Dir, "echo", play, env...)
	set := load(t, options)
	if len(set.Functions()) != 1 {
		t.Fatalf("no function: %v", set.Problems())
	}
	f, s := set.Functions()[0], newSink()
	f.Attach(s)
	return f, s
}

// sink keeps what it gets.
type sink struct {
	mu      sync.Mutex
	replies map[uint64]delivery.Reply
	twice   []uint64
	loads   chan delivery.Load
	news    chan struct{}
}

func newSink() *sink {
	return &sink{replies: map[uint64]delivery.Reply{}, loads: make(chan delivery.Load, 100), news: make(chan struct{}, 1)}
}

func (s *sink) Replies(replies []delivery.Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range replies {
		if _, ok := s.replies[r.Number]; ok {
			s.twice = append(s.twice, r.Number)
		}
		s.replies[r.Number] = r
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *sink) Loads(loads []delivery.Load) {
	for _, l := range loads {
		s.loads <- l
	}
}

// wait waits for n replies, one each.
func (s *sink) wait(t *testing.T, n int) map[uint64]delivery.Reply {
	t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		if len(s.replies) >= n {
			defer s.mu.Unlock()
			if len(s.replies) > n || len(s.twice) > 0 {
				t.Fatalf("%d replies, want %d; twice: %v", len(s.replies), n, s.twice)
			}
			return s.replies
		}
		s.mu.Unlock()
		select {
		case <-s.news:
		case <-deadline:
			t.Fatalf("waited for %d replies in vain", n)
		}
	}
}

const patience = time.Minute // on a loaded machine

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// message makes a delivery whose type says what the handler does.
func message(number uint64, kind string, data string) *delivery.Delivery {
	d := &delivery.Delivery{
		Number: number, Stream: "echo:tasks", Timeout: time.Minute,
		Entry: delivery.Entry{ID: fmt.Sprintf("%d-0", number), Fields: []string{"type", kind, "data", data}},
		Grant: delivery.Grant{Fence: number, Attempt: 1},
	}
	d.Message = delivery.Read(&d.Entry)
	return d
}

// ask delivers one message and gives its result.
func ask[T any](t *testing.T, f *Function, s *sink, number uint64, kind string) T {
	t.Helper()
	f.Deliver([]*delivery.Delivery{message(number, kind, "{}")})
	var reply delivery.Reply
	eventually(t, "a reply to "+kind, func() (ok bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		reply, ok = s.replies[number]
		return ok
	})
	var result T
	if err := json.Unmarshal(reply.Result, &result); err != nil {
		t.Fatalf("%s: %+v: %v", kind, reply, err)
	}
	return result
}

// observed counts what an observer is told.
type observed struct {
	mu     sync.Mutex
	counts map[string]int
}

func (o *observed) add(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.counts == nil {
		o.counts = map[string]int{}
	}
	o.counts[what]++
}

func (o *observed) count(what string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts[what]
}

func (o *observed) PluginStarted(role string, _ time.Duration) { o.add("started " + role) }
func (o *observed) PluginStartFailed(role string)              { o.add("start failed " + role) }
func (o *observed) PluginExited(role, reason string)           { o.add("exited " + role + " " + reason) }
func (o *observed) PluginBreach(role, kind string)             { o.add("breach " + role + " " + kind) }
func (o *observed) PluginOutputSuppressed(role string, _ int)  { o.add("suppressed " + role) }

// alive says whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	state := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(state) > 0 && state[0] != 'Z' && state[0] != 'X'
}

// logged is a log that can be searched.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
