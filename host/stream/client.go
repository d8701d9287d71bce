package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/fnhost/fnhost/host/topology"
)

// Options of a [Client].
type Options struct {
	URL         string // redis://, rediss:// or unix://
	Namespace   string // the first part of every key
	IdempPrefix string // of locks; empty: topology.DefaultIdempPrefix
	ClientName  string // shown by CLIENT LIST; empty: none
}

const (
	// maxBlock bounds how long a read waits in Redis: a connection that has died
	// unseen is found out this long, and blockMargin, after the read began.
	maxBlock    = 5 * time.Second
	blockMargin = 7 * time.Second
	// maxIdle is how long a connection may wait for its next use: one that a
	// firewall has forgotten meanwhile would be found out only by a timeout.
	maxIdle = time.Minute
	// ioTimeout bounds one reply of a command, of 64 MiB on a busy machine.
	ioTimeout = 20 * time.Second
)

// A Client holds the connections to one Redis. Commands, renewals, and each
// blocking read have connections of their own, so that none waits for another.
// Nothing is sent twice by the client itself: whether a command may be repeated
// is for its caller to know.
type Client struct {
	base     redis.Options
	keys     topology.Keys
	commands *redis.Client
	lines    lines // of commands
	renewals *redis.Client
	waits    *redis.Client // blocking reads without a group
	lookout  lookout

	mu      sync.Mutex
	readers []*redis.Client
	closed  bool
}

// Open prepares a client; it does not connect. The error is [ErrUnsupportedURL].
func Open(o Options) (*Client, error) {
	quiet()
	base, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	logOnce.Do(func() { redis.SetLogger(clientLog{}) })
	base.ClientName = o.ClientName
	base.Protocol = 2 // replies of one shape from every server
	base.MaxRetries = -1
	base.DisableIdentity = true
	base.DialTimeout = 5 * time.Second
	base.DialerRetries = 1
	base.ReadTimeout, base.WriteTimeout = ioTimeout, ioTimeout
	base.ContextTimeoutEnabled = true
	base.ConnMaxIdleTime = maxIdle
	base.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c := &Client{base: *base, keys: topology.Keys{Namespace: o.Namespace, IdempPrefix: o.IdempPrefix}}
	c.commands = c.connect(func(o *redis.Options) { o.Dialer = c.lines.dial(o) })
	c.renewals = c.connect(func(o *redis.Options) { o.PoolSize = 4 })
	c.waits = c.connect(func(o *redis.Options) { o.ReadTimeout = maxBlock + blockMargin })
	return c, nil
}

var logOnce sync.Once

// clientLog takes what go-redis would print to stderr: its errors reach our
// callers anyway.
type clientLog struct{}

func (clientLog) Printf(ctx context.Context, format string, args ...any) {
	slog.DebugContext(ctx, fmt.Sprintf(format, args...))
}

func (c *Client) connect(change func(*redis.Options)) *redis.Client {
	o := c.base
	if change != nil {
		change(&o)
	}
	return redis.NewClient(&o)
}

// reader gives a client with the one connection of a read loop that waits for
// so long.
func (c *Client) reader(block time.Duration, onConnect func(context.Context, *redis.Conn) error) *redis.Client {
	r := c.connect(func(o *redis.Options) {
		o.PoolSize = 1
		o.ReadTimeout = block + blockMargin
		o.OnConnect = onConnect
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readers = append(c.readers, r)
	return r
}

// Commands is the client for everything that does not block.
func (c *Client) Commands() *redis.Client { return c.commands }

// Keys names the keys.
func (c *Client) Keys() topology.Keys { return c.keys }

// String is the server's address, without credentials.
func (c *Client) String() string { return fmt.Sprintf("%s (db %d)", c.base.Addr, c.base.DB) }

// Ping asks for a sign of life.
func (c *Client) Ping(ctx context.Context) error {
	return wrap(c.commands.Ping(ctx).Err(), "ping redis at %s", c)
}

// Close closes all connections; what still waits on one fails.
func (c *Client) Close() error {
	c.lookout.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	var errs []error
	for _, r := range append(c.readers, c.commands, c.renewals, c.waits) {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// Info is what a host wants to know of its server. What the server does not
// tell is empty.
type Info struct {
	Version         string
	MaxMemoryPolicy string
	Cluster         bool
	// Warnings are for the operator's eyes: what about the server endangers the
	// promise of exactly one outcome a message.
	Warnings []string
}

// Info asks the server what it is.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var info Info
	for _, section := range []string{"server", "memory", "cluster"} {
		text, err := c.commands.Info(ctx, section).Result()
		if err = wrap(err, "ask redis at %s for its %s info", c, section); errors.Is(err, ErrUnavailable) {
			return Info{}, err
		}
		if err != nil { // a server may not tell this section, or not to us
			slog.DebugContext(ctx, "redis does not tell about itself", "section", section, "err", err)
			continue
		}
		info.read(text)
	}
	if strings.HasPrefix(info.MaxMemoryPolicy, "volatile-") || strings.HasPrefix(info.MaxMemoryPolicy, "allkeys-") {
		info.Warnings = append(info.Warnings, fmt.Sprintf(
			"redis evicts keys (maxmemory-policy %s): an evicted done mark lets a message run twice, an evicted stream loses it; set maxmemory-policy noeviction", info.MaxMemoryPolicy))
	}
	return info, nil
}

func (i *Info) read(text string) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "redis_version":
			i.Version = value
		case "maxmemory_policy":
			i.MaxMemoryPolicy = value
		case "cluster_enabled":
			i.Cluster = value == "1"
		}
	}
}
