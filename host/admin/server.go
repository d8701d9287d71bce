// Package admin is the host's HTTP side: a server that starts and stops as any
// other part of the host, and what it serves.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/fnhost/fnhost/host/lifecycle"
)

// grace is how long open requests may take once the server is told to stop.
const grace = 3 * time.Second

// Server serves one handler on one TCP address. Each listener of the host
// (metrics and probes, dashboard and API) is a Server of its own.
type Server struct {
	lifecycle.Base
	setting, address string
	handler          http.Handler
	log              *slog.Logger

	mu       sync.Mutex
	listener net.Listener
}

// NewServer gives a server of handler on address, `host:port`; port 0 takes a
// free one. setting is the name of the setting that the address came from, for
// errors.
func NewServer(setting, address string, handler http.Handler, log *slog.Logger) *Server {
	return &Server{setting: setting, address: address, handler: handler, log: log}
}

// Start listens and serves. The error names the setting and what to change.
func (s *Server) Start(ctx context.Context) error { return s.Go(ctx, s.listen, s.serve) }

// Addr is the address that the server listens on, with its real port; before the
// first start, the address that it was given.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return s.address
	}
	return s.listener.Addr().String()
}

func (s *Server) listen(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return s.explain(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = listener
	s.log.InfoContext(ctx, "listening", "setting", s.setting, "addr", listener.Addr().String())
	return nil
}

func (s *Server) explain(err error) error {
	hint := "it takes host:port"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another process, perhaps another fnhost, listens there: stop it or set another port (0 takes a free one)"
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 need privileges: set another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this machine does not have that address"
	}
	return fmt.Errorf("listening on %s=%s: %w; %s", s.setting, s.address, err, hint)
}

func (s *Server) serve(ctx context.Context) {
	server := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	down := make(chan struct{})
	go func() {
		defer close(down)
		<-ctx.Done()
		s.shutdown(ctx, server)
	}()
	if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("http server ended", "setting", s.setting, "addr", s.Addr(), "error", err)
	}
	<-down
}

func (s *Server) shutdown(ctx context.Context, server *http.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.log.Warn("http requests cut off", "setting", s.setting, "after", grace, "error", err)
		_ = server.Close() // only repeats what closing the listener said
	}
}
