package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fnhost/fnhost/sdk/client"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// startsAtOnce bounds the processes that start at the same time: a start costs
// more of a processor than anything that comes after.
const startsAtOnce = 2

// Options say what to load and how.
type Options struct {
	Dir      string   // the plugin directory; empty: only Files
	Files    []string // further plugins, wherever they are
	StateDir string   // for staged copies, sockets and the roles' own directories; default `.fnhost`

	HostVersion  string        // told to the plugins
	StartTimeout time.Duration // for a handshake; default 10 s
	Concurrency  int           // of a role that neither the operator nor its plugin gives one; default 64

	// Role gives what the operator wrote for a role; nil: nothing for any. A file
	// is first started as if its name were its role, to learn the role.
	Role     func(role string) RoleOptions
	Logger   *slog.Logger // default slog.Default()
	Observer Observer     // may be nil

	timing timing // zero: defaultTiming
}

// RoleOptions are what the operator wrote for a role.
type RoleOptions struct {
	Settings    json.RawMessage // `plugin.settings`, a JSON object; empty: `{}`
	Env         []string        // `NAME=value`, added to the clean environment
	SHA256      string          // the file must have this checksum, in hex; empty: any
	Concurrency int             // handlers at once; 0: as the plugin says
}

// An Observer is told what happens to plugins, for metrics. Its methods must not
// block.
type Observer interface {
	PluginStarted(role string, took time.Duration)
	PluginStartFailed(role string)
	PluginExited(role, reason string)              // reason is one of the Exit constants
	PluginBreach(role, kind string)                // of the contract: `no verdict`, `unknown delivery`
	PluginOutputSuppressed(role string, lines int) // printed beyond the limit
}

type noObserver struct{}

func (noObserver) PluginStarted(string, time.Duration) {}
func (noObserver) PluginStartFailed(string)            {}
func (noObserver) PluginExited(string, string)         {}
func (noObserver) PluginBreach(string, string)         {}
func (noObserver) PluginOutputSuppressed(string, int)  {}

// A Problem is a file that gives no function, and why: a [FileError] mostly.
type Problem struct {
	File string
	Err  error
}

// A Set is the functions that a directory gives.
type Set struct {
	options    Options
	log        *slog.Logger
	observer   Observer
	sockets    *socketDir
	startLimit *semaphore.Weighted
	functions  []*Function
	problems   []Problem

	stopOnce sync.Once
	stopErr  error
}

// Load finds plugins, learns their roles, and starts one process for each role.
// It returns when each has been tried once; a function whose process did not
// start is there all the same, not ready, and is tried again and again. Files
// that are no plugins are problems, and hinder no others. A missing directory, or
// a state directory that cannot be used, is an error; an empty directory is not.
// Of two files for one role the first, by name, has it.
func Load(ctx context.Context, options Options) (*Set, error) {
	s, err := newSet(options)
	if err != nil {
		return nil, err
	}
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	if s.sockets, err = newSocketDir(s.options.StateDir); err != nil {
		return nil, err
	}
	if candidates := s.probeAll(ctx, files); ctx.Err() == nil {
		s.claim(ctx, candidates)
	}
	s.start(ctx)
	if ctx.Err() != nil {
		return nil, errors.Join(fmt.Errorf("loading the plugins: %w", context.Cause(ctx)), s.Stop(ctx))
	}
	return s, nil
}

// start starts the functions and waits until each has been tried once.
func (s *Set) start(ctx context.Context) {
	for _, f := range s.functions {
		go f.supervise()
	}
	for _, f := range s.functions {
		select {
		case <-f.tried:
		case <-ctx.Done():
		}
	}
}

func newSet(o Options) (*Set, error) {
	if o.StateDir == "" {
		o.StateDir = ".fnhost"
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = 10 * time.Second
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 64
	}
	if o.Role == nil {
		o.Role = func(string) RoleOptions { return RoleOptions{} }
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	if o.timing == (timing{}) {
		o.timing = defaultTiming
	}
	return &Set{options: o, log: o.Logger, observer: o.Observer, startLimit: semaphore.NewWeighted(startsAtOnce)}, nil
}

func (s *Set) files() ([]string, error) {
	if s.options.Dir == "" {
		return s.options.Files, nil
	}
	found, err := discover(s.options.Dir)
	if err == nil && len(found) == 0 && len(s.options.Files) == 0 {
		s.log.Warn("the plugin directory is empty: no function will run", "dir", s.options.Dir)
	}
	return append(found, s.options.Files...), err
}

// A candidate is a file that described itself, or why it did not.
type candidate struct {
	file        string
	binary      *binary
	description *fnhostv1.Description
	err         error
}

func (s *Set) probeAll(ctx context.Context, files []string) []candidate {
	candidates := make([]candidate, len(files))
	var probes sync.WaitGroup
	for i, file := range files {
		probes.Go(func() { candidates[i] = s.probe(ctx, file) })
	}
	probes.Wait()
	return candidates
}

// probe stages a file and runs it just to hear what it is.
func (s *Set) probe(ctx context.Context, file string) candidate {
	c := candidate{file: file}
	if c.err = inspect(file); c.err != nil {
		return c
	}
	if c.binary, c.err = stage(filepath.Join(s.options.StateDir, "gens"), file); c.err != nil {
		return c
	}
	guess := s.options.Role(filepath.Base(file))
	if c.err = c.binary.check(guess.SHA256); c.err != nil {
		return c
	}
	var l *link
	log := s.log.With("file", file)
	out := newOutput(log, nil)
	if l, c.description, c.err = s.describe(ctx, c.binary, environment(guess.Env, log), out); c.err == nil {
		l.end(ctx, s.options.timing)
		l.close()
	}
	return c
}

// check compares the checksum with the one that the operator pinned, if any.
func (b *binary) check(pin string) error {
	if pin == "" || strings.EqualFold(pin, b.sha256) {
		return nil
	}
	return &FileError{File: b.file, Err: ErrChecksum, Seen: "it has " + b.sha256 + ", pinned is " + pin,
		Fix: "install the file that was meant, or correct plugin.sha256"}
}

// describe starts a binary and asks it what it is. The link is the caller's to
// end and close; after an error there is none.
func (s *Set) describe(ctx context.Context, b *binary, env []string, out *output) (*link, *fnhostv1.Description, error) {
	if err := s.startLimit.Acquire(ctx, 1); err != nil {
		return nil, nil, fmt.Errorf("waiting to start plugin %s: %w", b.file, context.Cause(ctx))
	}
	defer s.startLimit.Release(1)
	starting, cancel := context.WithTimeoutCause(ctx, s.options.StartTimeout,
		fmt.Errorf("%w, which is %s", errStartTimeout, s.options.StartTimeout))
	defer cancel()
	l, err := dial(starting, b, env, s.sockets.path, out)
	if err != nil {
		return nil, nil, err
	}
	describing, cancel := context.WithTimeout(ctx, s.options.timing.describe)
	defer cancel()
	d, err := client.Describe(describing, l.conn, s.options.HostVersion)
	if err != nil {
		l.abandon()
		return nil, nil, &FileError{File: b.file, Err: ErrNoDescribe, Seen: err.Error(),
			Fix: "see its output: the first line a plugin prints must be its handshake, which sdk.Serve does", Stderr: out.tail(errorLines)}
	}
	return l, d, nil
}

// claim gives each role to the first file that has it.
func (s *Set) claim(ctx context.Context, candidates []candidate) {
	owners := map[string]string{}
	for _, c := range candidates {
		role := c.description.GetRole()
		err := c.err
		if err == nil {
			err = c.binary.check(s.options.Role(role).SHA256)
		}
		if owner, taken := owners[role]; err == nil && taken {
			err = &FileError{File: c.file, Err: ErrRoleTaken, Seen: fmt.Sprintf("%s has role %q", owner, role),
				Fix: "remove one of the two, or give one another role"}
		}
		if err != nil {
			s.problems = append(s.problems, Problem{File: c.file, Err: err})
			s.log.Error("a file of the plugins is left out", "file", c.file, "error", err)
			continue
		}
		owners[role] = c.file
		s.functions = append(s.functions, newFunction(ctx, s, c.binary, c.description, s.options.Role(role)))
	}
}

// Functions are the functions, in the order of their files.
func (s *Set) Functions() []*Function { return s.functions }

// Problems are the files that gave no function.
func (s *Set) Problems() []Problem { return s.problems }

// Stop stops all functions and waits for their processes' ends. Deliveries that
// are out may finish as long as ctx lasts; after that, ending a process takes up
// to a few seconds. It may be called again, and gives the same answer.
func (s *Set) Stop(ctx context.Context) error {
	s.stopOnce.Do(func() {
		var stops sync.WaitGroup
		for _, f := range s.functions {
			stops.Go(func() { f.stop(ctx) })
		}
		stops.Wait()
		if err := s.sockets.remove(); err != nil {
			s.stopErr = fmt.Errorf("removing the plugins' sockets: %w", err)
		}
	})
	return s.stopErr
}
