package main

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// directClient is a client whose reads and writes are plain system calls of the
// calling thread. Answers that come by way of the runtime's poller are late here:
// while the publisher's thread sleeps, nobody may be polling, and the time of an
// answer would be that of the next message.
func directClient(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1, Dialer: dialDirect})
}

// direct is a connection in blocking mode. It knows no deadlines: all that reads
// from it asks Redis for an answer within a second.
type direct struct {
	net.Conn // closed; for the addresses alone
	file     *os.File
	fd       int
}

func dialDirect(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // the file is a descriptor of its own
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return nil, err
	}
	d := direct{conn, file, int(file.Fd())}
	if err := syscall.SetNonblock(d.fd, false); err != nil {
		_ = file.Close()
		return nil, err
	}
	return d, nil
}

func (d direct) Read(b []byte) (int, error) {
	for {
		n, err := syscall.Read(d.fd, b)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (d direct) Write(b []byte) (int, error) {
	for done := 0; ; {
		n, err := syscall.Write(d.fd, b[done:])
		if err != nil && err != syscall.EINTR {
			return done, os.NewSyscallError("write", err)
		}
		if done += max(n, 0); done == len(b) {
			return done, nil
		}
	}
}

func (d direct) Close() error                   { return d.file.Close() }
func (direct) SetDeadline(time.Time) error      { return nil }
func (direct) SetReadDeadline(time.Time) error  { return nil }
func (direct) SetWriteDeadline(time.Time) error { return nil }
