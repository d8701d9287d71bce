// Command probe is a function whose behaviour each message chooses. It is for
// trying what a host does with functions that fail, hang, crash or say too much.
//
// A message's data is a JSON object, whose fields are all optional; without data
// the probe answers at once.
//
//	sleep_ms       wait so long first, or until the context ends
//	not_before     a time (RFC 3339): until then, snooze
//	fail           retry, permanent, drop, panic, exit or hang (for ever, whatever the context says)
//	fail_attempts  fail only while the attempt is not above it; without it: always
//	after_ms       ask for this delay with fail retry, in place of the role's backoff
//	reply          any JSON, returned in the result
//	reply_bytes    return a string of so many bytes in place of it
//	emit           [{"stream": S, "data": any, "delay_ms": N}]: entries for other streams
//	state          {"key": S, "add": N}: add to a counter in keyed state, and return it
//	log_lines      log so many records, and print as many lines
//
// The result's data is {"reply", "pid", "version", "attempt", "state"}.
//
// The setting `executions` names a file that gets a line when a handler begins and
// when it ends: {"at", "event", "entry", "attempt", "fence", "pid"}, where at is
// in nanoseconds since 1970 and event is begin or end. A handler that takes its
// process with it has no end.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/sdk"
)

// version is set by -ldflags "-X main.version=...".
var version = "dev"

// exitCode is the status of a process that a message asked to exit.
const exitCode = 3

func main() { sdk.Serve(function()) }

func function() sdk.Function {
	x := &executions{}
	return sdk.Function{
		Role: "probe", Version: version, Emits: []string{"echo", "probe"},
		Configure: x.configure, Close: x.close,
		Handler: sdk.Chain(sdk.HandlerFunc(handle), x.record),
	}
}

type request struct {
	SleepMS      int64      `json:"sleep_ms"`
	NotBefore    time.Time  `json:"not_before"`
	Fail         string     `json:"fail"`
	FailAttempts *int       `json:"fail_attempts"`
	AfterMS      *int64     `json:"after_ms"`
	Reply        any        `json:"reply"`
	ReplyBytes   int        `json:"reply_bytes"`
	Emit         []emission `json:"emit"`
	State        *counter   `json:"state"`
	LogLines     int        `json:"log_lines"`
}

type emission struct {
	Stream  string `json:"stream"`
	Data    any    `json:"data"`
	DelayMS int64  `json:"delay_ms"`
}

type counter struct {
	Key string `json:"key"`
	Add int64  `json:"add"`
}

type answer struct {
	Reply   any    `json:"reply"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Attempt int    `json:"attempt"`
	State   *int64 `json:"state,omitempty"`
}

var fromJSON = sdk.JSON(behave)

func handle(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	if len(m.Data) == 0 {
		return behave(ctx, request{}, m)
	}
	return fromJSON.Handle(ctx, m)
}

func behave(ctx context.Context, q request, m *sdk.Message) (*sdk.Reply, error) {
	say(ctx, q.LogLines)
	if err := sleep(ctx, time.Duration(q.SleepMS)*time.Millisecond); err != nil {
		return nil, err
	}
	if wait := time.Until(q.NotBefore); wait > 0 {
		return nil, sdk.Snooze(wait)
	}
	if q.FailAttempts == nil || m.Attempt <= *q.FailAttempts {
		if err := fail(q); err != nil {
			return nil, err
		}
	}
	return reply(ctx, q, m)
}

func say(ctx context.Context, lines int) {
	for n := range lines {
		slog.InfoContext(ctx, "probe", "line", n+1, "of", lines)
		fmt.Println("probe prints line", n+1, "of", lines)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errProbe = errors.New("the message asked for a failure")

func fail(q request) error {
	switch q.Fail {
	case "":
		return nil
	case "retry":
		if q.AfterMS != nil {
			return sdk.RetryAfter(time.Duration(*q.AfterMS)*time.Millisecond, errProbe)
		}
		return errProbe
	case "permanent":
		return sdk.Permanent(errProbe)
	case "drop":
		return sdk.Drop("the message asked to be dropped")
	case "panic":
		panic("the message asked for a panic")
	case "exit":
		os.Exit(exitCode)
	case "hang":
		select {}
	}
	return sdk.Permanent(fmt.Errorf("fail %q: want retry, permanent, drop, panic, exit or hang", q.Fail))
}

func reply(ctx context.Context, q request, m *sdk.Message) (*sdk.Reply, error) {
	a := answer{Reply: q.Reply, PID: os.Getpid(), Version: version, Attempt: m.Attempt}
	if q.ReplyBytes > 0 {
		a.Reply = strings.Repeat("x", q.ReplyBytes)
	}
	if q.State != nil {
		count, err := add(ctx, *q.State)
		if err != nil {
			return nil, err
		}
		a.State = &count
	}
	r, err := sdk.Result(a)
	if err != nil {
		return nil, err
	}
	for _, e := range q.Emit {
		if err := r.Emit(e.Stream, "probe.emission", e.Data); err != nil {
			return nil, err
		}
		if e.DelayMS > 0 {
			r.Emissions[len(r.Emissions)-1].NotBefore = time.Now().Add(time.Duration(e.DelayMS) * time.Millisecond)
		}
	}
	return r, nil
}

// add adds to the counter in the field `count` of the key.
func add(ctx context.Context, c counter) (int64, error) {
	state, err := sdk.State(ctx, c.Key)
	if err != nil {
		return 0, err
	}
	var count int64
	if err := state.Decode("count", &count); err != nil {
		return 0, sdk.Permanent(err)
	}
	count += c.Add
	state.Set("count", strconv.FormatInt(count, 10))
	return count, nil
}
