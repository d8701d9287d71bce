package admin

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/host/hosttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve starts a server on a free port, and gives its URL.
func serve(t *testing.T, handler http.Handler) (*Server, string) {
	t.Helper()
	s := NewServer("FNHOST_METRICS_ADDR", "127.0.0.1:0", handler, quiet())
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, "http://" + s.Addr()
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(b)
}

func TestProbes(t *testing.T) {
	t.Parallel()
	var reasons []Reason
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fnhost_up 1\n") })
	_, url := serve(t, Probes(metrics, func() []Reason { return reasons }))

	if status, body := get(t, url+"/metrics"); status != 200 || body != "fnhost_up 1\n" {
		t.Errorf("/metrics: %d %q", status, body)
	}
	if status, body := get(t, url+"/readyz"); status != 200 || strings.TrimSpace(body) != `{"ready":true,"reasons":[]}` {
		t.Errorf("/readyz of a ready host: %d %q", status, body)
	}
	reasons = []Reason{{Part: "redis", Reason: "connection refused"}, {Part: "role rag", Reason: "starting"}}
	status, body := get(t, url+"/readyz")
	var answer struct {
		Ready   bool
		Reasons []Reason
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	if status != 503 || answer.Ready || len(answer.Reasons) != 2 || answer.Reasons[0] != reasons[0] || answer.Reasons[1] != reasons[1] {
		t.Errorf("/readyz of a host that is not: %d %q", status, body)
	}
	if status, _ := get(t, url+"/healthz"); status != 200 {
		t.Errorf("/healthz of a host that is not ready: %d, but its process lives", status)
	}
	if status, _ := get(t, url+"/"); status != 404 {
		t.Errorf("/: %d", status)
	}
}

func TestAddressErrorsNameTheSetting(t *testing.T) {
	t.Parallel()
	taken, _ := serve(t, http.NotFoundHandler())
	for address, want := range map[string]string{
		taken.Addr():        "another process",
		"127.0.0.1":         "host:port",
		"203.0.113.77:9401": "does not have that address",
	} {
		err := NewServer("FNHOST_METRICS_ADDR", address, http.NotFoundHandler(), quiet()).Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), "FNHOST_METRICS_ADDR="+address) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one that names the setting and says %q", address, err, want)
		}
	}
}

func TestStopLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	arrived, finish := make(chan struct{}), make(chan struct{})
	s, url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-finish
		_, _ = io.WriteString(w, "whole")
	}))
	answer := make(chan string)
	go func() {
		_, body := get(t, url)
		answer <- body
	}()
	<-arrived
	stopping := make(chan struct{})
	go func() {
		defer close(stopping)
		s.Stop()
	}()
	close(finish)
	if body := <-answer; body != "whole" {
		t.Errorf("a request that was under way at the stop got %q", body)
	}
	<-stopping
}

func TestStress(t *testing.T) {
	t.Parallel()
	hosttest.Stress(t, NewServer("FNHOST_METRICS_ADDR", "127.0.0.1:0", http.NotFoundHandler(), quiet()))
}
