package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"
)

// fnhost is `fnhost serve` with examples/echo as its one plugin, or with several
// roles, each by a plugin of its own that does the same. concurrency is for
// throughput; 0 keeps the default. Latency is measured with the defaults.
type fnhost struct {
	name        string
	concurrency int
	audit       bool
	roles       int // 0: one, by examples/echo
	hosts       int // 0: one
}

func (f fnhost) Name() string { return f.name }

func (f fnhost) What() string {
	what := []string{"fnhost serve"}
	if f.hosts > 0 {
		what[0] = fmt.Sprintf("%d times fnhost serve", f.hosts)
	}
	if f.roles > 0 {
		what = append(what, fmt.Sprintf("roles: %d, each in its own process", f.roles))
	} else {
		what = append(what, "examples/echo in its own process")
	}
	if f.concurrency == 0 {
		what = append(what, "default concurrency")
	} else {
		what = append(what, fmt.Sprintf("FNHOST_CONCURRENCY=%d for drains", f.concurrency))
	}
	if f.audit {
		return strings.Join(append(what, "full audit"), ", ")
	}
	return strings.Join(append(what, "audit off"), ", ")
}

// roleNames are the roles that are served.
func (f fnhost) roleNames() []string {
	if f.roles == 0 {
		return []string{"echo"}
	}
	names := make([]string, f.roles)
	for i := range names {
		names[i] = fmt.Sprintf("echo-%02d", i+1)
	}
	return names
}

// Publish gives the roles their share in turn, in parts of at most a thousand.
func (f fnhost) Publish(ctx context.Context, rdb *redis.Client, payload string, n int) ([]string, error) {
	keys := make([]string, 0, n)
	roles := f.roleNames()
	for len(keys) < n {
		share := min((n-len(keys)+len(roles)-1)/len(roles), 1000)
		for _, role := range roles {
			more, err := publishFields(ctx, rdb, "bench:"+role+":tasks", min(share, n-len(keys)), task(payload))
			if err != nil {
				return nil, err
			}
			keys = append(keys, more...)
		}
	}
	return keys, nil
}

// up says whether every host serves every role.
func (f fnhost) up(ctx context.Context, rdb *redis.Client) (bool, error) {
	beats, err := rdb.Keys(ctx, "bench:ops:hb:*").Result()
	return len(beats) >= max(f.hosts, 1)*len(f.roleNames()), err
}

// Commands are the hosts; each has a directory of its own for its state.
func (f fnhost) Commands(s Site) ([]*exec.Cmd, error) {
	plugins, err := f.plugins(s)
	if err != nil {
		return nil, err
	}
	cmds := make([]*exec.Cmd, max(f.hosts, 1))
	for i := range cmds {
		cmds[i] = exec.Command(s.Bin.Fnhost, "serve")
		cmds[i].Dir = s.Dir
		cmds[i].Env = f.environ(s, plugins, fmt.Sprintf("state-%d", i+1))
	}
	return cmds, nil
}

// plugins is the directory of the plugins. That of several roles has one binary
// under as many names.
func (f fnhost) plugins(s Site) (string, error) {
	if f.roles == 0 {
		return s.Bin.Plugins, nil
	}
	dir := filepath.Join(s.Dir, "plugins")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, role := range f.roleNames() {
		if err := os.Link(s.Bin.Echo, filepath.Join(dir, role)); err != nil && !os.IsExist(err) {
			return "", err
		}
	}
	return dir, nil
}

func (f fnhost) environ(s Site, plugins, state string) []string {
	audit := "0"
	if f.audit {
		audit = "1"
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "TMPDIR=" + s.Dir,
		"REDIS_URL=redis://" + s.Addr, "REDIS_NAMESPACE=bench", "REDIS_GROUP_START=0-0",
		"FNHOST_PLUGIN_DIR=" + plugins, "FNHOST_STATE_DIR=" + filepath.Join(s.Dir, state),
		"FNHOST_METRICS_ADDR=127.0.0.1:0", "FNHOST_ADMIN_ADDR=off", "FNHOST_LOG_FORMAT=text",
		"OPS_AUDIT_ENABLED=" + audit,
	}
	if f.concurrency > 0 && s.Purpose == Throughput {
		env = append(env, fmt.Sprintf("FNHOST_CONCURRENCY=%d", f.concurrency))
	}
	return env
}

func (f fnhost) Results() []string {
	keys := f.roleNames()
	for i, role := range keys {
		keys[i] = "bench:" + role + ":results"
	}
	return keys
}

func (fnhost) KeyField() string { return "entryid" }
