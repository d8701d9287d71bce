// Package embedded is a Redis inside the process, for development: on a loopback
// port, so that other commands can use it, and nothing in it is durable.
//
// It is miniredis, which knows enough for the message path but not all of Redis:
// a blocked read cannot be ended from outside (it has to wait briefly instead),
// memory has no limit, and a group's lag is not known.
package embedded

import (
	"fmt"

	"github.com/alicebob/miniredis/v2"
)

// A Server is an embedded Redis.
type Server struct{ redis *miniredis.Miniredis }

// Start starts a server on a free loopback port.
func Start() (*Server, error) { return StartAt("127.0.0.1:0") }

// StartAt starts a server on that address.
func StartAt(addr string) (*Server, error) {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("start the embedded redis on %s: %w", addr, err)
	}
	m.ClockTTL(true) // keys expire by the wall clock, not only when a test says so
	return &Server{redis: m}, nil
}

// Addr is host:port.
func (s *Server) Addr() string { return s.redis.Addr() }

// URL is what REDIS_URL wants.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Close stops the server and waits for its connections to end. All data is gone.
func (s *Server) Close() { s.redis.Close() }
