package host_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host"
	"github.com/fnhost/fnhost/host/config"
	"github.com/fnhost/fnhost/host/embedded"
	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

// Every test of this package, with a host of its own that it stops, proves that a
// stop leaves no goroutine.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newHost(t *testing.T, settings ...string) (*host.Host, error) {
	t.Helper()
	cfg, err := config.Load(config.Sources{WorkDir: t.TempDir(), Environ: append([]string{
		"FNHOST_STATE_DIR=" + t.TempDir(), "FNHOST_METRICS_ADDR=127.0.0.1:0", "FNHOST_DRAIN_TIMEOUT=10s"}, settings...)})
	if err != nil {
		t.Fatal(err)
	}
	return host.New(cfg, host.Options{Version: "test", Logger: slog.New(slog.DiscardHandler)})
}

func TestAMessageRunsInAProcessOfItsOwn(t *testing.T) {
	h := sdktest.Start(t, sdk.Function{Role: "pid", Handler: sdk.HandlerFunc(func(context.Context, *sdk.Message) (*sdk.Reply, error) {
		return sdk.Result(os.Getpid())
	})})
	var pid int
	if got := h.Run([]byte("{}")); json.Unmarshal(got.Data, &pid) != nil || pid == os.Getpid() {
		t.Errorf("answer %+v, want the id of another process than %d", got, os.Getpid())
	}
}

func TestWhatCannotBeServedIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	if _, err := newHost(t, "REDIS_URL=redis+cluster://a,b"); err == nil || !strings.Contains(err.Error(), "Redis Cluster") {
		t.Errorf("a cluster: %v", err)
	}
	h, err := newHost(t, "REDIS_URL=redis://127.0.0.1:1", "FNHOST_PLUGIN_DIR="+filepath.Join(t.TempDir(), "none"))
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a plugin directory that is missing: %v", err)
	}
}

func TestAHostWithoutPluginsWaitsAndSaysSo(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	h, err := newHost(t, "REDIS_URL="+server.URL(), "FNHOST_PLUGIN_DIR="+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	<-h.Loaded()
	if got := untilReadyz(t, h, "no plugin gives a function"); got != http.StatusServiceUnavailable {
		t.Errorf("readyz answers %d, want 503", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the host ended with %v", err)
	}
}

// While Redis cannot be reached the host waits, and still ends when it is told to.
func TestAHostThatWaitsForRedisCanBeStopped(t *testing.T) {
	t.Parallel()
	h, err := newHost(t, "REDIS_URL=redis://127.0.0.1:1", "FNHOST_PLUGIN_DIR="+t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	<-h.Loaded()
	if got := untilReadyz(t, h, "waiting for Redis"); got != http.StatusServiceUnavailable {
		t.Errorf("readyz answers %d, want 503", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the host ended with %v", err)
	}
}

// untilReadyz asks until the answer has the words, and gives its status.
func untilReadyz(t *testing.T, h *host.Host, words string) int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var last string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		answer, err := client.Get("http://" + h.MetricsAddr() + "/readyz")
		if err != nil {
			last = err.Error()
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if last = string(body); strings.Contains(last, words) {
			return answer.StatusCode
		}
	}
	t.Fatalf("readyz never said %q; the last answer: %s", words, last)
	return 0
}

// scrape gives the host's metrics.
func scrape(t *testing.T, h *host.Host) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + h.MetricsAddr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
