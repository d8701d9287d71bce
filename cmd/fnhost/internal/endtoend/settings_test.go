package endtoend

import (
	"strings"
	"testing"
)

// TestBadSettings: each names the setting, what is wrong, and what was probably
// meant; nothing is started.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	const invalid = 8
	w := newWorld(t, []string{"echo"})
	for name, c := range map[string]struct {
		env, args []string
		yaml      string
		stderr    []string
	}{
		"misspelt":           {env: []string{"REDIS_MAX_RETRIS=3"}, stderr: []string{"REDIS_MAX_RETRIS (environment)", "did you mean REDIS_MAX_RETRIES?"}},
		"misspelt prefix":    {env: []string{"FNHSOT_CONCURRENCY=3"}, stderr: []string{"FNHSOT_CONCURRENCY", "did you mean FNHOST_CONCURRENCY?"}},
		"not a number":       {env: []string{"REDIS_MAX_RETRIES=two"}, stderr: []string{"REDIS_MAX_RETRIES (environment)", `"two" is not a whole number`}},
		"not a duration":     {args: []string{"--ops-lease-ttl", "soon"}, stderr: []string{"OPS_LEASE_TTL (flag --ops-lease-ttl)", `"soon" is not a duration`}},
		"heartbeat":          {env: []string{"OPS_HB_INTERVAL=30"}, stderr: []string{"OPS_HB_INTERVAL", "not shorter than OPS_HB_TTL"}},
		"lease":              {env: []string{"OPS_LEASE_TTL=1ms"}, stderr: []string{"OPS_LEASE_TTL", "shorter than 100ms"}},
		"window":             {env: []string{"FNHOST_WINDOW=8"}, stderr: []string{"FNHOST_WINDOW", "fewer than FNHOST_CONCURRENCY"}},
		"backoff":            {env: []string{"REDIS_RETRY_BACKOFF_MS=60000"}, stderr: []string{"REDIS_RETRY_BACKOFF_MS", "REDIS_RETRY_BACKOFF_MAX_MS"}},
		"two things":         {env: []string{"OPS_IDEMP_TTL=x", "REDIS_DB=-1"}, stderr: []string{"OPS_IDEMP_TTL", "REDIS_DB"}},
		"cluster":            {env: []string{"REDIS_URL=redis://a:6379,b:6379"}, stderr: []string{"REDIS_URL: Redis Cluster is not available yet", "one server"}},
		"sentinel":           {env: []string{"REDIS_URL=redis+sentinel://a:26379/mymaster"}, stderr: []string{"REDIS_URL: Redis Sentinel is not available yet", "one server"}},
		"no URL":             {env: []string{"REDIS_URL=localhost:6379"}, stderr: []string{"REDIS_URL", "redis://"}},
		"a key of yaml":      {yaml: "roles:\n  echo:\n    concurency: 4\n", stderr: []string{"fnhost.yaml:3", "concurency", "concurrency"}},
		"a value of yaml":    {yaml: "roles:\n  echo:\n    timeout: never\n", stderr: []string{"roles.echo.timeout", "fnhost.yaml:3", "never"}},
		"a variable of yaml": {yaml: "roles:\n  echo:\n    plugin:\n      settings:\n        key: ${env:NOT_SET}\n", stderr: []string{"fnhost.yaml:5", "NOT_SET"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := *w
			w.t, w.dir = t, t.TempDir()
			w.env = append(w.env[:len(w.env):len(w.env)], c.env...)
			if c.yaml != "" {
				w.config(c.yaml)
			}
			d := w.run(append([]string{"serve", "--plugins", w.plugins}, c.args...)...).want(t, invalid, c.stderr...)
			if strings.Contains(d.stderr, "goroutine") || d.stdout != "" || strings.Contains(d.stderr, "starting plugins") {
				t.Errorf("stdout %q, stderr:\n%s", d.stdout, d.stderr)
			}
		})
	}
}

// TestKubernetesServiceLinks are ignored, and strangers' variables only warned of.
func TestKubernetesServiceLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo"},
		"REDIS_PORT=tcp://10.0.0.1:6379", "REDIS_SERVICE_HOST=10.0.0.1", "REDIS_SERVICE_PORT=6379", "REDIS_SERVICE_PORT_CLIENT=6379",
		"REDIS_PORT_6379_TCP=tcp://10.0.0.1:6379", "REDIS_PORT_6379_TCP_ADDR=10.0.0.1", "REDIS_PORT_6379_TCP_PROTO=tcp", "REDIS_PORT_6379_TCP_PORT=6379",
		"FNHOST_SERVICE_HOST=10.0.0.2", "FNHOST_PORT=tcp://10.0.0.2:80", "REDIS_EXPORTER_INCL_SYSTEM_METRICS=1")
	h := w.serve().ready()
	wantEach(t, w.results("echo", w.send("echo", 3, `1`)), uncharged)
	if said := h.log.String(); strings.Contains(said, "10.0.0.1") || strings.Contains(said, "REDIS_SERVICE") || strings.Contains(said, "TCP") {
		t.Errorf("service links are spoken of:\n%s", said)
	}
	if strings.Count(h.log.String(), "REDIS_EXPORTER_INCL_SYSTEM_METRICS is not a setting of fnhost, and is ignored") != 1 {
		t.Error("an unknown name is not warned of once")
	}
}

// TestMetricsAddressTaken: a clear error, and no host that half runs.
func TestMetricsAddressTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"echo"})
	taken, _ := w.serve().ready().find("listening")["addr"].(string)
	w.env = append(w.env, "FNHOST_METRICS_ADDR="+taken)
	w.run("serve", "--plugins", w.plugins).want(t, 1, "FNHOST_METRICS_ADDR", taken, "set another port")
}
