package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a process may take to start or to stop.
const patience = 30 * time.Second

// A server is a private redis-server without persistence, fresh for each run.
type server struct {
	*process
	addr string
	rdb  *redis.Client
}

func startServer(ctx context.Context, dir string) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no", "--daemonize", "no")
	p, err := start(cmd)
	if err != nil {
		return nil, fmt.Errorf("starting redis-server (is it installed?): %w", err)
	}
	s := &server{process: p, addr: "127.0.0.1:" + strconv.Itoa(port)}
	err = eventually(ctx, 5*time.Millisecond, func() (bool, error) { return listens(s.addr), p.ended() })
	s.rdb = client(s.addr)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("waiting for redis-server: %w", err)
	}
	return s, nil
}

func (s *server) close() {
	_ = s.rdb.Close()
	s.stop()
}

func listens(addr string) bool {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// client is one without name and retries, so that nothing is sent but what is
// asked for.
func client(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, ReadTimeout: patience, WriteTimeout: patience})
}

var errLate = errors.New("it took too long")

// eventually waits until a condition holds.
func eventually(ctx context.Context, every time.Duration, holds func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	late := time.After(patience)
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-late:
			return errLate
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A count is what the server has done since it started.
type count struct {
	calls  map[string]float64 // by command, those inside scripts too
	micros map[string]float64 // that they took; a script's include what it called
	reads  float64            // times that it read from a connection: about one a round trip
	writes float64
}

// counts asks the server.
func (s *server) counts(ctx context.Context) (count, error) {
	c := count{calls: map[string]float64{}, micros: map[string]float64{}}
	text, err := s.rdb.Info(ctx, "commandstats", "stats").Result()
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		var calls, micros float64
		switch command, ok := strings.CutPrefix(name, "cmdstat_"); {
		case ok:
			_, _ = fmt.Sscanf(value, "calls=%g,usec=%g", &calls, &micros) // 0 in another form
			c.calls[command], c.micros[command] = calls, micros
		case name == "total_reads_processed":
			c.reads, _ = strconv.ParseFloat(value, 64)
		case name == "total_writes_processed":
			c.writes, _ = strconv.ParseFloat(value, 64)
		}
	}
	return c, nil
}

// since gives what was done between two counts, but for our own questions.
func (c count) since(before count, own int) count {
	d := count{calls: map[string]float64{}, micros: map[string]float64{}, reads: c.reads - before.reads - float64(own) - 1, writes: c.writes - before.writes - float64(own) - 1}
	for name, n := range c.calls {
		if n -= before.calls[name]; n > 0 && name != "xlen" && name != "info" {
			d.calls[name], d.micros[name] = n, c.micros[name]-before.micros[name]
		}
	}
	return d
}

func (c count) commands() float64 {
	total := 0.0
	for _, n := range c.calls {
		total += n
	}
	return total
}
