package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// Sink takes what a function has to say. Its methods must not block, and may be
// called from within [Function.Deliver].
type Sink interface {
	// Replies takes replies; every delivery gets exactly one.
	Replies([]delivery.Reply)
	// Loads takes requests, each to be answered once by [Function.Loaded].
	Loads([]delivery.Load)
}

// State is what a function is doing.
type State string

// States of a function.
const (
	StateStarting State = "starting"
	StateReady    State = "ready"
	StateWaiting  State = "waiting" // to start again, after a crash or a failed start
	StateStopped  State = "stopped"
)

// Info is what status pages show of a function.
type Info struct {
	Role, File, Name, Version, SHA256 string

	State      State
	Generation int       // 0: none has been in service yet
	PID        int       // 0: no process is in service
	Started    time.Time // when the generation came into service; zero: none is
	Restarts   int       // after the first start
	LastError  string    // why the last generation ended or did not start; empty: none has

	QuarantinePID   int    // 0: no process runs messages alone
	QuarantineError string // why there is none for those that wait; empty: there is, or none waits
}

// A Function is a role's function, whichever generation of it is active. Its
// methods may be called from several goroutines and never block; deliveries of
// one goroutine arrive in its order.
type Function struct {
	slot
	set         *Set
	binary      *binary
	description *fnhostv1.Description
	options     RoleOptions
	concurrency int
	log         *slog.Logger

	sink       atomic.Pointer[Sink]
	loads      atomic.Uint64
	quarantine *Quarantine

	quit    context.Context // ends when the function is to stop
	cancel  context.CancelCauseFunc
	once    sync.Once     // of tried
	tried   chan struct{} // closed after the first try to start
	stopped chan struct{} // closed when the supervisor has ended

	mu      sync.Mutex
	info    Info
	stopCtx context.Context // of the stop; set before quit ends
}

func newFunction(ctx context.Context, set *Set, b *binary, d *fnhostv1.Description, options RoleOptions) *Function {
	f := &Function{
		set: set, binary: b, description: d, options: options,
		concurrency: concurrencyOf(d, options, set.options.Concurrency),
		log:         set.log.With("role", d.GetRole()),
		tried:       make(chan struct{}), stopped: make(chan struct{}),
		info: Info{
			Role: d.GetRole(), File: b.file, Name: d.GetName(), Version: d.GetVersion(), SHA256: b.sha256, State: StateStarting,
		},
	}
	f.slot, f.quarantine = newSlot(&f.sink), newQuarantine(f)
	f.quit, f.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	return f
}

// concurrencyOf decides: the operator's word, the plugin's wish, the default.
func concurrencyOf(d *fnhostv1.Description, role RoleOptions, fallback int) int {
	if role.Concurrency > 0 {
		return role.Concurrency
	}
	if wish := d.GetPolicies().GetConcurrency(); wish > 0 {
		return int(wish)
	}
	return fallback
}

// Attach gives the function its sink. It must come before the first Deliver.
func (f *Function) Attach(sink Sink) { f.sink.Store(&sink) }

// Concurrency is how many handlers run at once; at least 1.
func (f *Function) Concurrency() int { return f.concurrency }

// Quarantine runs messages alone, in a process of its own.
func (f *Function) Quarantine() *Quarantine { return f.quarantine }

// Role is the role that the function plays.
func (f *Function) Role() string { return f.description.GetRole() }

// File is the plugin's file, as the operator knows it.
func (f *Function) File() string { return f.binary.file }

// Description is what the plugin says of itself. It must not be changed.
func (f *Function) Description() *fnhostv1.Description { return f.description }

// Info is how the function is at this moment.
func (f *Function) Info() Info {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.info
}

// activate makes a generation, or none, the active one.
func (f *Function) activate(g *generation, state State, lastError string) {
	f.put(g)
	f.mu.Lock()
	f.info.State, f.info.PID, f.info.Started = state, 0, time.Time{}
	if lastError != "" {
		f.info.LastError = lastError
	}
	if g != nil {
		f.info.Restarts = g.number - 1
		f.info.Generation, f.info.PID, f.info.Started = g.number, g.plugin.PID, g.started
	}
	f.mu.Unlock()
	f.signal()
}

// start starts a generation. ctx ends when the function is to stop.
func (f *Function) start(ctx context.Context, number int) (*generation, error) {
	begun := time.Now()
	g, err := f.launch(ctx, f.log.With("generation", number), number, f.concurrency)
	if err == nil {
		g.log.Info("the plugin is ready", "name", g.plugin.Name, "version", g.plugin.Version, "plugin_pid", g.plugin.PID, "took", time.Since(begun))
	}
	return g, err
}

// launch starts a process and takes it into service, for so many handlers at once.
func (f *Function) launch(ctx context.Context, log *slog.Logger, number, concurrency int) (*generation, error) {
	g := &generation{
		number: number, concurrency: concurrency, log: log, timing: f.set.options.timing,
		sink:     func() Sink { return *f.sink.Load() },
		protocol: func(breach string) { f.set.observer.PluginBreach(f.Role(), breach) },
		nextLoad: func() uint64 { return f.loads.Add(1) },
		out:      map[uint64]uint64{}, loads: map[uint64]uint64{},
	}
	begun := time.Now()
	var d *fnhostv1.Description
	var err error
	out := newOutput(log, func(lines int) { f.set.observer.PluginOutputSuppressed(f.Role(), lines) })
	if g.link, d, err = f.set.describe(ctx, f.binary, environment(f.options.Env, log), out); err != nil {
		return nil, err
	}
	if err := f.admit(ctx, g, d); err != nil {
		g.abandon()
		return nil, &FileError{File: f.File(), Err: ErrNotReady, Seen: err.Error(), Fix: admitFix(err), Stderr: g.tail(errorLines)}
	}
	g.started = time.Now()
	f.set.observer.PluginStarted(f.Role(), g.started.Sub(begun))
	return g, nil
}

// admit checks that the process is what it was when it was loaded, and takes it
// into service.
func (f *Function) admit(ctx context.Context, g *generation, d *fnhostv1.Description) error {
	if !proto.Equal(d, f.description) {
		return errChanged
	}
	g.plugin = delivery.Plugin{Name: d.GetName(), Version: d.GetVersion(), SHA256: f.binary.sha256, PID: g.processID()}
	settings := f.options.Settings
	if len(settings) == 0 {
		settings = json.RawMessage("{}")
	}
	stateDir, err := filepath.Abs(filepath.Join(f.set.options.StateDir, "data", f.Role()))
	if err != nil {
		return err
	}
	return g.serve(ctx, settings, stateDir)
}

func admitFix(err error) string {
	var rejected *client.ConfigureError
	switch {
	case errors.As(err, &rejected):
		return "correct its plugin.settings"
	case errors.Is(err, errChanged):
		return "a plugin's description must be the same at every start"
	}
	return "it is started again after a while"
}
