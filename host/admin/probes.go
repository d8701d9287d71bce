package admin

import (
	"encoding/json"
	"io"
	"net/http"
)

// A Reason says why the host is not ready: which part, and what it waits for.
type Reason struct {
	Part   string `json:"part"` // `redis`, or `role rag`
	Reason string `json:"reason"`
}

// ReadyFunc gives the reasons why the host is not ready; none when it is. It is
// called for each probe and must not block.
type ReadyFunc func() []Reason

// Probes serves `/metrics` by metrics, `/healthz` (200 while the process lives),
// and `/readyz` (200, or 503 with the reasons).
func Probes(metrics http.Handler, ready ReadyFunc) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "ok\n") // a caller that has gone is no failure of ours
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { writeReady(w, ready()) })
	return mux
}

func writeReady(w http.ResponseWriter, reasons []Reason) {
	answer := struct {
		Ready   bool     `json:"ready"`
		Reasons []Reason `json:"reasons"`
	}{len(reasons) == 0, append([]Reason{}, reasons...)}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // strings and a bool always marshal
}
