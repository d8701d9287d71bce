package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// closeLimit is how long Function.Close may take when the host does not say.
const closeLimit = 5 * time.Second

// A Server serves one function over gRPC. [Serve] makes one for a plugin's
// process; tests make their own.
type Server struct {
	fnhostv1.UnimplementedFunctionServer
	function    Function
	description *fnhostv1.Description
	onDescribe  func() // in the first Describe, if set
	closeOnce   sync.Once

	mu          sync.Mutex
	described   bool
	asked       bool // Configure has been called
	concurrency int  // 0: not configured
	stopped     bool
	work        *work
}

// NewServer checks the function and gives a server for it.
func NewServer(f Function) (*Server, error) {
	description, err := f.describe()
	if err != nil {
		return nil, err
	}
	return &Server{function: f, description: description}, nil
}

// Register adds the function's service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) { fnhostv1.RegisterFunctionServer(r, s) }

// Describe says who the function is.
func (s *Server) Describe(context.Context, *fnhostv1.DescribeRequest) (*fnhostv1.Description, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.described && s.onDescribe != nil {
		s.onDescribe()
	}
	s.described = true
	return s.description, nil
}

// Configure hands the function its settings, once.
func (s *Server) Configure(ctx context.Context, req *fnhostv1.ConfigureRequest) (*fnhostv1.ConfigureReply, error) {
	if req.GetConcurrency() == 0 {
		return nil, status.Error(codes.InvalidArgument, "Configure: concurrency must be at least 1")
	}
	if err := s.askOnce(); err != nil {
		return nil, err
	}
	settings := Settings{JSON: req.GetSettings(), StateDir: req.GetStateDir(), Concurrency: int(req.GetConcurrency())}
	if len(settings.JSON) == 0 {
		settings.JSON = json.RawMessage("{}")
	}
	configure := s.function.Configure
	if configure == nil {
		configure = takesNone
	}
	if err := configure(ctx, settings); err != nil {
		return &fnhostv1.ConfigureReply{Errors: settingErrors(err)}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.concurrency = settings.Concurrency
	return &fnhostv1.ConfigureReply{}, nil
}

func (s *Server) askOnce() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked {
		return status.Error(codes.FailedPrecondition, "Configure was called before; a function is configured once")
	}
	s.asked = true
	return nil
}

// Work carries deliveries and outcomes, once.
func (s *Server) Work(stream grpc.BidiStreamingServer[fnhostv1.HostFrame, fnhostv1.FunctionFrame]) error {
	w, err := s.begin(stream)
	if err != nil {
		return err
	}
	stopWithStream := context.AfterFunc(stream.Context(), w.stop)
	defer stopWithStream()
	err = w.read()
	if err != nil {
		w.stop()
	}
	w.close()
	<-w.idle
	w.outbox.Close()
	<-w.sent
	s.close(context.WithoutCancel(stream.Context()))
	return err
}

// begin makes the work of the stream, which there may be one of.
func (s *Server) begin(stream grpc.BidiStreamingServer[fnhostv1.HostFrame, fnhostv1.FunctionFrame]) (*work, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return nil, status.Error(codes.Unavailable, "the function stops")
	case s.concurrency == 0:
		return nil, status.Error(codes.FailedPrecondition, "Work before Configure was answered without errors")
	case s.work != nil:
		return nil, status.Error(codes.FailedPrecondition, "Work was called before; a function has one stream")
	}
	s.work = newWork(s.function.Handler, stream, s.concurrency)
	return s.work, nil
}

// Stop ends the function: running handlers have their context ended with
// [ErrStop], their outcomes are sent if there is still someone to take them, and
// Function.Close is called. It returns an error if ctx ends before they do.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	w := s.work
	s.mu.Unlock()
	if w != nil {
		w.stop()
		if !waitFor(ctx, w.idle) {
			return fmt.Errorf("stopping the function: a handler has not returned: %w", context.Cause(ctx))
		}
		w.outbox.Close()
		if !waitFor(ctx, w.sent) {
			return fmt.Errorf("stopping the function: outcomes could not be sent: %w", context.Cause(ctx))
		}
	}
	s.close(ctx)
	return nil
}

func waitFor(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// close calls Function.Close, once; later callers wait for the first.
func (s *Server) close(ctx context.Context) {
	s.closeOnce.Do(func() {
		if s.function.Close == nil {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, closeLimit)
		defer cancel()
		if err := s.function.Close(ctx); err != nil {
			slog.ErrorContext(ctx, "closing the function", "error", err)
		}
	})
}

// settingErrors flattens joined errors into one for each setting.
func settingErrors(err error) []*fnhostv1.SettingError {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var all []*fnhostv1.SettingError
		for _, e := range many.Unwrap() {
			all = append(all, settingErrors(e)...)
		}
		return all
	}
	var setting *SettingError
	if errors.As(err, &setting) {
		return []*fnhostv1.SettingError{{Setting: clip(setting.Setting, 256), Message: clip(setting.Message, maxErrorMessage)}}
	}
	return []*fnhostv1.SettingError{{Message: clip(err.Error(), maxErrorMessage)}}
}

// takesNone is the Configure of a function that has none: a setting that nobody
// reads is a mistake of the operator's that ought to be seen.
func takesNone(_ context.Context, s Settings) error { return s.Decode(&struct{}{}) }

func (s *Server) wasDescribed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.described
}
