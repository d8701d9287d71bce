package endtoend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/hosttest"
)

// patience is how long a test waits for what has to come: much longer than it
// takes, since the machine may be busy.
const patience = 90 * time.Second

// heavy keeps tests apart that move a hundred MiB.
var heavy sync.Mutex

// A world is one test's Redis, plugin directory and settings.
type world struct {
	t       *testing.T
	server  *hosttest.RedisServer
	redis   *redis.Client
	ns      string // namespace
	dir     string // work directory of all commands
	plugins string // plugin directory
	env     []string
}

// newWorld starts a Redis and fills the plugin directory; env is added to every
// command's environment.
func newWorld(t *testing.T, plugins []string, env ...string) *world {
	t.Helper()
	return worldOn(t, hosttest.Redis(t), plugins, env...)
}

func worldOn(t *testing.T, server *hosttest.RedisServer, plugins []string, env ...string) *world {
	t.Helper()
	w := &world{t: t, server: server, redis: client(t, server), ns: "e2e", dir: t.TempDir()}
	w.plugins = filepath.Join(w.dir, "plugins")
	if err := os.Mkdir(w.plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range plugins {
		w.install(name, name)
	}
	w.env = append([]string{"REDIS_URL=" + server.URL(), "REDIS_NAMESPACE=" + w.ns}, env...)
	return w
}

// client is patient, and never adds an entry twice by trying again.
func client(t *testing.T, server *hosttest.RedisServer) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr: server.Addr(), Protocol: 2, DisableIdentity: true,
		MaxRetries: -1, ReadTimeout: patience, WriteTimeout: patience,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// install puts a built plugin into the plugin directory under that name.
func (w *world) install(plugin, as string) {
	w.t.Helper()
	if err := os.Symlink(filepath.Join(built, plugin), filepath.Join(w.plugins, as)); err != nil {
		w.t.Fatal(err)
	}
}

// file writes a file below the work directory.
func (w *world) file(name, content string, mode os.FileMode) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(content), mode); err != nil {
		w.t.Fatal(err)
	}
}

// config writes fnhost.yaml.
func (w *world) config(yaml string) { w.t.Helper(); w.file("fnhost.yaml", yaml, 0o600) }

// command is fnhost with the world's settings and nothing of the tester's own.
func (w *world) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(built, "fnhost"), args...)
	cmd.Dir = w.dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + built, "HOME=" + w.dir,
		"FNHOST_METRICS_ADDR=127.0.0.1:0", "FNHOST_ADMIN_ADDR=off",
	}, w.env...)
	return cmd
}

// A done is what a command did.
type done struct {
	args           []string
	code           int
	stdout, stderr string
}

// run runs a command to its end.
func (w *world) run(args ...string) done {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := w.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("fnhost %v: %v", args, err)
	}
	return done{args, cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// want checks the exit code, and that stderr has each text.
func (d done) want(t *testing.T, code int, stderr ...string) done {
	t.Helper()
	if d.code != code {
		t.Errorf("fnhost %v: exit code %d, want %d; stdout:\n%s\nstderr:\n%s", d.args, d.code, code, d.stdout, d.stderr)
	}
	for _, text := range stderr {
		if !strings.Contains(d.stderr, text) {
			t.Errorf("fnhost %v: stderr has no %q:\n%s", d.args, text, d.stderr)
		}
	}
	return d
}

// decode reads JSON, strictly enough to notice that it is another thing.
func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not the JSON that is wanted: %v\n%.2000s", err, text)
	}
	return v
}

// eventually waits until a condition holds; what says how far it is.
func eventually(t *testing.T, holds func() bool, what func() string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !holds(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("after %s: %s", patience, what())
		case <-t.Context().Done():
			t.Fatal("the test was ended")
		}
	}
}

// saying is a constant for eventually.
func saying(what string) func() string { return func() string { return what } }

// key gives the key of a name without the namespace.
func (w *world) key(name string) string { return w.ns + ":" + name }

// add adds one entry and gives its id.
func (w *world) add(stream string, fields ...string) string {
	w.t.Helper()
	return w.addAt(stream, "*", fields...)
}

func (w *world) addAt(stream, id string, fields ...string) string {
	w.t.Helper()
	id, err := w.redis.XAdd(w.t.Context(), &redis.XAddArgs{Stream: w.key(stream), ID: id, Values: fields}).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// send adds n messages with that data for a role, and gives their entries' ids.
func (w *world) send(role string, n int, data string) []string {
	w.t.Helper()
	return w.sendEach(role, slices.Repeat([]string{data}, n))
}

func (w *world) sendEach(role string, data []string) []string {
	w.t.Helper()
	made, err := w.redis.Pipelined(w.t.Context(), func(p redis.Pipeliner) error {
		for _, d := range data {
			p.XAdd(w.t.Context(), &redis.XAddArgs{Stream: w.key(role + ":tasks"), Values: []string{"type", "test", "data", d}})
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ids := make([]string, len(made))
	for i, cmd := range made {
		ids[i] = cmd.(*redis.StringCmd).Val()
	}
	return ids
}

// An entry is a stream entry; of a field that comes twice the last one.
type entry map[string]string

func (w *world) entries(stream string) []entry {
	w.t.Helper()
	found, err := w.redis.XRange(w.t.Context(), w.key(stream), "-", "+").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	all := make([]entry, len(found))
	for i, m := range found {
		all[i] = entry{}
		for name, value := range m.Values {
			all[i][name], _ = value.(string)
		}
	}
	return all
}

func (w *world) length(stream string) int {
	n, err := w.redis.XLen(w.t.Context(), w.key(stream)).Result()
	if err != nil {
		return -1 // Redis is down at this moment
	}
	return int(n)
}

// until waits for so many entries in a stream.
func (w *world) until(stream string, n int) {
	w.t.Helper()
	eventually(w.t, func() bool { return w.length(stream) >= n }, func() string {
		return stream + " has not the entries that were waited for: " + w.state(stream, n)
	})
}

func (w *world) state(stream string, want int) string {
	role, _, _ := strings.Cut(stream, ":")
	pending, err := w.redis.XPending(w.t.Context(), w.key(role+":tasks"), role+"-workers").Result()
	text, _ := json.Marshal(map[string]any{"have": w.length(stream), "want": want, "dead": w.length(role + ":dlq"), "pending": pending, "error": err})
	return string(text)
}

// results waits until each message has its result, checks that there is exactly
// one for each and nothing pending, and gives them by the message's entry id.
func (w *world) results(role string, ids []string) map[string]entry {
	w.t.Helper()
	w.until(role+":results", len(ids))
	w.settled(role)
	byID := map[string]entry{}
	for _, r := range w.entries(role + ":results") {
		id := r["entryid"]
		switch {
		case byID[id] != nil:
			w.t.Errorf("message %s has two results: %v and %v", id, byID[id], r)
		case !slices.Contains(ids, id):
			w.t.Errorf("a result of a message that nobody sent: %v", r)
		}
		byID[id] = r
	}
	for _, id := range ids {
		if byID[id] == nil {
			w.t.Errorf("message %s has no result", id)
		}
	}
	return byID
}

// settled waits until nothing of a role is pending or unread.
func (w *world) settled(role string) {
	w.t.Helper()
	eventually(w.t, func() bool {
		groups, err := w.redis.XInfoGroups(w.t.Context(), w.key(role+":tasks")).Result()
		return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
	}, func() string { return "messages are pending or unread: " + w.state(role+":results", 0) })
}

// wantEach checks fields of every result.
func wantEach(t *testing.T, results map[string]entry, fields entry) {
	t.Helper()
	for id, r := range results {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if r[name] != fields[name] {
				t.Errorf("result of %s: %s is %q, want %q (error %s)", id, name, r[name], fields[name], r["error"])
			}
		}
	}
}

// dead waits for so many dead letters, and gives them by the message's entry id.
func (w *world) dead(role string, n int) map[string]entry {
	w.t.Helper()
	w.until(role+":dlq", n)
	byID := map[string]entry{}
	for _, l := range w.entries(role + ":dlq") {
		byID[l["dlqid"]] = l
	}
	if len(byID) != n {
		w.t.Errorf("%d dead letters, want %d: %v", len(byID), n, byID)
	}
	return byID
}

// wantLetter checks a dead letter's reason, and that its error has the texts.
func wantLetter(t *testing.T, l entry, reason string, texts ...string) {
	t.Helper()
	if l["dlqreason"] != reason {
		t.Errorf("dead letter: reason %q, want %q: %.500v", l["dlqreason"], reason, l)
	}
	for _, text := range texts {
		if !strings.Contains(l["dlqerror"], text) {
			t.Errorf("dead letter: error %q does not say %q", l["dlqerror"], text)
		}
	}
}
