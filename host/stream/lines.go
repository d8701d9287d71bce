package stream

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// lines are the open connections of a pool. If one has died unseen, as when a
// firewall forgets it, the others may have too, and each would be found out only
// by a call that times out on it: so all are given up together.
type lines struct {
	mu   sync.Mutex
	open map[*line]struct{}
}

type line struct {
	net.Conn
	of *lines
}

// plainLine is a line that go-redis can look at for its end before it uses it.
type plainLine struct {
	*line
	syscall.Conn
}

// dial gives the dialer of a pool with these options.
func (l *lines) dial(o *redis.Options) func(context.Context, string, string) (net.Conn, error) {
	dial := redis.NewDialer(o)
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		added := l.add(conn)
		if plain, ok := conn.(syscall.Conn); ok {
			return plainLine{added, plain}, nil
		}
		return added, nil
	}
}

func (l *lines) add(conn net.Conn) *line {
	added := &line{conn, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[*line]struct{}{}
	}
	l.open[added] = struct{}{}
	return added
}

// Close closes the connection, once or more often.
func (l *line) Close() error {
	l.of.mu.Lock()
	delete(l.of.open, l)
	l.of.mu.Unlock()
	return l.Conn.Close()
}

// hangUp closes all of them. Calls under way fail, and are repeated by whoever
// may repeat them.
func (l *lines) hangUp() {
	l.mu.Lock()
	open := slices.Collect(maps.Keys(l.open))
	l.mu.Unlock()
	for _, each := range open {
		_ = each.Close()
	}
}

// timedOut says whether nothing was heard of a server that was reached.
func timedOut(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &network) && network.Timeout() && !errors.Is(err, redis.ErrPoolTimeout)
}
