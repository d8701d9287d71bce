package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/fnhost/fnhost/sdk"
)

// executions writes down when handlers begin and end, for who counts them from
// outside. Without a file it does nothing.
type executions struct{ file *os.File }

type execution struct {
	At      int64  `json:"at"` // ns since 1970
	Event   string `json:"event"`
	Entry   string `json:"entry"`
	Attempt int    `json:"attempt"`
	Fence   uint64 `json:"fence"`
	PID     int    `json:"pid"`
}

func (x *executions) configure(_ context.Context, s sdk.Settings) error {
	var settings struct {
		Executions string `json:"executions"`
	}
	if err := s.Decode(&settings); err != nil || settings.Executions == "" {
		return err
	}
	var err error
	if x.file, err = os.OpenFile(settings.Executions, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		return &sdk.SettingError{Setting: "executions", Message: fmt.Sprintf("cannot be appended to: %v", err)}
	}
	return nil
}

func (x *executions) close(context.Context) error {
	if x.file == nil {
		return nil
	}
	return x.file.Close()
}

func (x *executions) record(next sdk.Handler) sdk.Handler {
	return sdk.HandlerFunc(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		x.note("begin", m)
		defer x.note("end", m)
		return next.Handle(ctx, m)
	})
}

// note writes a line in one call, so that lines of several processes do not mix.
func (x *executions) note(event string, m *sdk.Message) {
	if x.file == nil {
		return
	}
	line, err := json.Marshal(execution{time.Now().UnixNano(), event, m.EntryID, m.Attempt, m.Fence, os.Getpid()})
	if err == nil {
		_, err = x.file.Write(append(line, '\n'))
	}
	if err != nil {
		slog.Error("an execution is not in the file of executions", "entry", m.EntryID, "error", err)
	}
}
