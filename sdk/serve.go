package sdk

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// exitLimit is how long a plugin has to end once its host wants it to or is gone.
const exitLimit = 5 * time.Second

// Serve serves the function to the host that started this process. It is the last
// call of a plugin's main and does not return: the process ends when the host
// says so, and when the host is gone.
//
// From then on the process's output is the host's log: what goes to
// [slog.Default], to package log, and to os.Stdout and os.Stderr (fmt.Println)
// leaves line by line on the stderr that the process was started with. Print
// nothing to stdout before Serve: its first line is the handshake.
//
// SIGTERM and SIGINT are ignored while the host is there, because a terminal or
// an init system sends them to all processes at once, and the host wants its
// functions to finish what they have.
//
// Run by hand, Serve says what the program is and exits with status 1.
func Serve(f Function) {
	server, err := NewServer(f)
	if os.Getenv(MagicCookieKey) != MagicCookieValue {
		byHand(os.Stderr, f, err)
		os.Exit(1)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p := &process{server: server, stderr: os.Stderr}
	slog.SetDefault(newLogger(p.stderr))
	p.watch()
	spare := headroom()
	status := p.serve()
	runtime.KeepAlive(spare)
	os.Exit(status)
}

// headroom is memory that is never touched, so that it takes none of the machine's.
// It counts for the next garbage collection, which otherwise comes at each 4 MiB
// that a small function allocates: under load, hundreds of times a second. GOGC
// holds as ever, and whoever sets GOMEMLIMIT decides alone.
func headroom() []byte {
	if os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, 8<<20)
}

func byHand(to io.Writer, f Function, problem error) {
	program := filepath.Base(os.Args[0])
	fmt.Fprintf(to, "%s is a function for fnhost (role %q) and does not run by itself: a host starts it.\n\n", program, f.Role)
	fmt.Fprintf(to, "  cp %s bin/plugins/ && fnhost dev     to try it, without a Redis\n", os.Args[0])
	fmt.Fprintf(to, "  fnhost serve --plugins DIR          to serve a directory of functions\n")
	if problem != nil {
		fmt.Fprintf(to, "\nNo host would take it as it is: %v\n", problem)
	}
}

// process is the plugin's process around its server.
type process struct {
	server *Server
	stderr *os.File // as the process was started with
}

// serve runs go-plugin's server until the host shuts it down, and gives the exit
// status.
func (p *process) serve() int {
	p.server.onDescribe = p.redirect
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: ContractVersion, MagicCookieKey: MagicCookieKey, MagicCookieValue: MagicCookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{ContractVersion: {PluginName: &glue{server: p.server}}},
		GRPCServer:       GRPCServer,
		// Its errors are worth a line of the log; the rest is about itself.
		Logger: hclog.New(&hclog.LoggerOptions{
			Level: hclog.Error, DisableTime: true, Output: slog.NewLogLogger(slog.Default().Handler(), slog.LevelError).Writer(),
		}),
	})
	if !p.server.wasDescribed() {
		return 1 // it never came to serve; go-plugin has logged why
	}
	return p.end()
}

// redirect undoes what go-plugin does to os.Stdout and os.Stderr when it begins
// to serve: its pipes hold 64 KiB and are drained, if at all, in chunks of 1 KiB
// that know no lines. It is called in the first call of the host, before any
// handler.
func (p *process) redirect() { os.Stdout, os.Stderr = p.stderr, p.stderr }

// watch makes the process outlive signals and not its host.
func (p *process) watch() {
	if os.Getenv(LifelineKey) != LifelineStdin {
		return
	}
	// Not signal.Ignore: that would be inherited by programs the function starts.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, os.Interrupt)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it, nobody holds the other end
		signal.Reset(syscall.SIGTERM, os.Interrupt)
		os.Exit(p.end())
	}()
}

// end stops the function within the limit, and gives the exit status.
func (p *process) end() int {
	hard := time.AfterFunc(exitLimit+time.Second, func() { os.Exit(1) })
	defer hard.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), exitLimit)
	defer cancel()
	if err := p.server.Stop(ctx); err != nil {
		slog.Error("the function did not stop in time", "error", err)
		return 1
	}
	return 0
}

// glue registers the server with go-plugin.
type glue struct {
	goplugin.NetRPCUnsupportedPlugin
	server *Server
}

func (g *glue) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	g.server.Register(s)
	return nil
}

// GRPCClient is the host's half, which the host brings itself.
func (g *glue) GRPCClient(context.Context, *goplugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, fmt.Errorf("this is the plugin's side")
}
