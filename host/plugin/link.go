package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/client"
)

const (
	// watchdog bounds calls into go-plugin that it does not bound itself.
	watchdog = 5 * time.Second
	// shutdownMethod is go-plugin's way to ask a plugin to end.
	shutdownMethod = "/plugin.GRPCController/Shutdown"
	errorLines     = 10 // of output, in an error

	reasonFailedStart = "its start failed"
)

// inherited are the only variables of the host that a plugin sees.
var inherited = []string{"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// errStartTimeout is the cause of a start's context that has run out.
var errStartTimeout = errors.New("the time to start is over")

// A link is a started process and the connection to it.
type link struct {
	*process
	client *goplugin.Client
	conn   *grpc.ClientConn
}

// connectionPlugin makes go-plugin give us the bare connection.
type connectionPlugin struct {
	goplugin.NetRPCUnsupportedPlugin
}

func (connectionPlugin) GRPCServer(*goplugin.GRPCBroker, *grpc.Server) error {
	return errors.New("the host serves no functions")
}

func (connectionPlugin) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// dial starts a binary and waits for its handshake, as long as ctx lasts. A
// failure is a *FileError, or the cause of ctx's end; nothing is left running.
func dial(ctx context.Context, b *binary, env []string, sockets string, out *output) (*link, error) {
	p := newProcess(ctx, b.path, env, out)
	l := &link{process: p, client: newClient(p, sockets)}
	disarm := context.AfterFunc(ctx, func() { p.kill(context.Cause(ctx).Error()) })
	defer disarm()

	answer, answered := within(ctx, watchdog, func() connection { return connect(l.client) })
	err := answer.err
	switch {
	case !answered:
		err = errors.New("go-plugin does not return")
	case err == nil && ctx.Err() == nil:
		l.conn = answer.conn
		return l, nil
	}
	byItself := l.endsByItself()
	l.abandon()
	return nil, l.whyNot(ctx, b.file, err, byItself)
}

func newClient(p *process, sockets string) *goplugin.Client {
	return goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: sdk.ContractVersion, MagicCookieKey: sdk.MagicCookieKey, MagicCookieValue: sdk.MagicCookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{sdk.ContractVersion: {sdk.PluginName: connectionPlugin{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		GRPCDialOptions:  client.DialOptions(),
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			p.env = append(p.env, cmd.Env...) // go-plugin's own; the last of a name counts
			return p, nil
		},
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: sockets},
		StartTimeout:     time.Hour, // the process is killed when its context ends, which is earlier
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       &lines{emit: p.out.line},
		SyncStderr:       &lines{emit: p.out.line},
	})
}

type connection struct {
	conn *grpc.ClientConn
	err  error
}

func connect(client *goplugin.Client) connection {
	protocol, err := client.Client()
	if err != nil {
		return connection{err: err}
	}
	conn, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return connection{err: err}
	}
	return connection{conn: conn.(*grpc.ClientConn)}
}

// within runs what cannot be cancelled, and waits for it until ctx has ended and
// a grace has passed; false means that it goes on alone.
func within[T any](ctx context.Context, grace time.Duration, run func() T) (result T, ok bool) {
	done := make(chan T, 1)
	go func() { done <- run() }()
	select {
	case result = <-done:
		return result, true
	case <-ctx.Done():
	}
	select {
	case result = <-done:
		return result, true
	case <-time.After(grace):
		return result, false
	}
}

// endsByItself says whether a failed start is due to the process's own end,
// which go-plugin may have noticed before its output was read to the end.
func (l *link) endsByItself() bool {
	return l.endedBy() == "" && l.has(pumpGrace)
}

// has waits so long for the process's end.
func (p *process) has(d time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// abandon kills the process of a start that failed.
func (l *link) abandon() {
	l.kill(reasonFailedStart)
	l.close()
}

// close frees what go-plugin holds. The process must have been killed, or have
// ended: then go-plugin's Kill, which has no deadline, returns at once.
func (l *link) close() {
	if l.ID() != "" {
		<-l.exited // SIGKILL has been sent to the group
	}
	ended, cancel := context.WithCancel(background)
	cancel()
	if _, ok := within(ended, watchdog, func() bool { l.client.Kill(); return true }); !ok {
		l.out.log.Error("go-plugin did not let go of an ended plugin; its memory is lost", "plugin_pid", l.ID())
	}
}

// shutdown asks the plugin to end, and says whether it may be about to: the
// answer may get lost, because the plugin ends its server while it answers.
func (l *link) shutdown(ctx context.Context) bool {
	err := l.conn.Invoke(ctx, shutdownMethod, &emptypb.Empty{}, &emptypb.Empty{})
	code := status.Code(err)
	return code == codes.OK || code == codes.Unavailable
}

// whyNot words a failed start by what was seen of the process.
func (l *link) whyNot(ctx context.Context, file string, err error, byItself bool) error {
	first, printed := l.firstLine()
	e := &FileError{File: file, Stderr: l.out.tail(errorLines)}
	switch {
	case l.ID() == "" && ctx.Err() == nil:
		e.Err, e.Seen, e.Fix = ErrNotStarted, err.Error(), startFix(err)
	case printed && !shakesHands(first):
		e.Err, e.Seen = ErrStrayOutput, fmt.Sprintf("%q", shorten(first))
		e.Fix = "stdout belongs to the handshake: print to stderr, or log, and only after sdk.Serve was called; if it is no fnhost plugin, move it elsewhere"
	case byItself && !printed:
		e.Err, e.Seen = ErrExited, l.ending()
		e.Fix = "see its output; if it is no fnhost plugin (or a plugin of another program), move it elsewhere"
	case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStartTimeout):
		return fmt.Errorf("starting plugin %s: %w", file, context.Cause(ctx))
	case ctx.Err() != nil:
		e.Err, e.Seen = ErrNoHandshake, context.Cause(ctx).Error()
		e.Fix = "it must call sdk.Serve before it does anything slow; if it is no fnhost plugin, move it elsewhere"
	default:
		e.Err, e.Seen = ErrIncompatible, err.Error()
		e.Fix = fmt.Sprintf("this host speaks version %d over gRPC: build the plugin with an sdk of the same version", sdk.ContractVersion)
	}
	return e
}

func startFix(err error) string {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return "it is no program of this system; build it for this host"
	case errors.Is(err, os.ErrNotExist):
		return "the interpreter of its #! line, or a library it needs, is not installed"
	case errors.Is(err, os.ErrPermission):
		return "the state directory must be on a file system that allows programs to run (not mounted noexec)"
	}
	return "try to run it by hand"
}

func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
