package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

var errPlain = errors.New("no luck")

// verdicts are what handlers return, and what the host is told of it.
var verdicts = []struct {
	name   string
	handle func() (*sdk.Reply, error)
	want   string // the outcome as text, without its number and duration
}{
	{"nothing", func() (*sdk.Reply, error) { return nil, nil }, `done:{}`},
	{"a result", func() (*sdk.Reply, error) { return sdk.Result(map[string]int{"n": 1}) }, `done:{result:"{\"n\":1}"}`},
	{"an emission", func() (*sdk.Reply, error) {
		r := &sdk.Reply{Data: []byte("x"), ContentType: "text/plain"}
		return r, r.Emit("persist", "persist.write", 5, sdk.Attribute{Name: "subject", Value: "\xff"})
	}, `done:{result:"x" content_type:"text/plain" emissions:{to:"persist" attributes:{name:"type" value:"persist.write"} attributes:{name:"subject" value:"\xff"} data:"5"}}`},
	{"a plain error", func() (*sdk.Reply, error) { return nil, errPlain },
		`retry:{error:{type:"*errors.errorString" message:"no luck"}}`},
	{"a typed error, wrapped", func() (*sdk.Reply, error) {
		return nil, fmt.Errorf("reading: %w", &fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist})
	}, `retry:{error:{type:"*fs.PathError" message:"reading: open x: file does not exist"}}`},
	{"joined errors", func() (*sdk.Reply, error) {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}, errPlain)
	},
		`retry:{error:{type:"*fs.PathError" message:"open x: file does not exist\nno luck"}}`},
	{"an error that is not UTF-8", func() (*sdk.Reply, error) { return nil, errors.New("bad \xff") },
		`retry:{error:{type:"*errors.errorString" message:"bad �"}}`},
	{"permanent, wrapped", func() (*sdk.Reply, error) { return nil, fmt.Errorf("step 2: %w", sdk.Permanent(errPlain)) },
		`dead:{error:{type:"*errors.errorString" message:"step 2: no luck"}}`},
	{"retry after, wrapped", func() (*sdk.Reply, error) {
		return nil, fmt.Errorf("busy: %w", sdk.RetryAfter(1500*time.Microsecond, errPlain))
	},
		`retry:{error:{type:"*errors.errorString" message:"busy: no luck"} after_ms:2}`},
	{"retry at once", func() (*sdk.Reply, error) { return nil, sdk.RetryAfter(0, errPlain) },
		`retry:{error:{type:"*errors.errorString" message:"no luck"} after_ms:0}`},
	{"snooze", func() (*sdk.Reply, error) { return nil, sdk.Snooze(time.Minute) },
		`snooze:{after_ms:60000 reason:"snoozed for 1m0s"}`},
	{"drop, wrapped", func() (*sdk.Reply, error) { return nil, fmt.Errorf("x: %w", sdk.Drop("seen before")) },
		`drop:{reason:"seen before"}`},
	{"a canceled context of its own", func() (*sdk.Reply, error) { return nil, context.Canceled },
		`retry:{error:{type:"*errors.errorString" message:"context canceled"}}`},
}

func TestEachVerdictOverTheWire(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) { return verdicts[m.Data[0]].handle() }), 4)
	for i, test := range verdicts {
		d := delivery(uint64(i + 1))
		d.Data = []byte{byte(i)}
		h.worker.Deliver(d)
		o := h.outcome(d.GetNumber())
		o.Delivery, o.HandlerUs = 0, 0
		want := &fnhostv1.Outcome{}
		if err := prototext.Unmarshal([]byte(test.want), want); err != nil {
			t.Fatal(err)
		}
		if got, want := prototext.Format(o), prototext.Format(want); got != want {
			t.Errorf("%s: got %s, want %s", test.name, got, want)
		}
	}
}

func TestPanicIsARetryWithItsStack(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) {
		if m.Data[0] == 2 {
			runtime.Goexit()
		}
		if m.Data[0] == 3 {
			return nil, (*fs.PathError)(nil)
		}
		if m.Data[0] == 4 {
			return nil, nil
		}
		return explode()
	}), 1)
	h.deliver(1, 4)
	e := h.outcome(1).GetRetry().GetError()
	if e.GetType() != "panic" || e.GetMessage() != "boom" || !strings.Contains(e.GetDetail(), "sdk_test.explode") {
		t.Errorf("a panic gave %v; want type panic, message boom, and the stack with the function that panicked", e)
	}
	if e := h.outcome(2).GetRetry().GetError(); e.GetType() != "panic" || !strings.Contains(e.GetMessage(), "Goexit") {
		t.Errorf("runtime.Goexit gave %v", e)
	}
	if e := h.outcome(3).GetRetry().GetError(); e.GetType() != "panic" || !strings.Contains(e.GetMessage(), "nil pointer") {
		t.Errorf("an error that is a nil pointer gave %v", e)
	}
	if h.outcome(4).GetDone() == nil {
		t.Error("the only worker did not survive")
	}
}

func explode() (*sdk.Reply, error) { panic("boom") }

func TestLargeMessagesPassAndTooLargeResultsAreDead(t *testing.T) {
	t.Parallel()
	h := start(t, handler(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) {
		switch m.Attribute("want") {
		case "result":
			return &sdk.Reply{Data: make([]byte, 70<<20)}, nil
		case "emission":
			return &sdk.Reply{Emissions: []sdk.Emission{{To: "persist", Data: make([]byte, 70<<20)}}}, nil
		case "length":
			return sdk.Result(len(m.Data))
		case "sum":
			half := sdk.Emission{To: "persist", Data: make([]byte, 40<<20)}
			return &sdk.Reply{Emissions: []sdk.Emission{half, half}}, nil
		}
		return &sdk.Reply{Data: m.Data}, nil
	}), 1)
	large := delivery(1)
	large.Data = bytes.Repeat([]byte{0xfe}, 6<<20) // more than gRPC's own limit, both ways
	limit := wanting(2, "length")
	limit.Data = make([]byte, sdk.MaxDataBytes)
	h.worker.Deliver(large, limit)
	if !bytes.Equal(h.outcome(1).GetDone().GetResult(), large.GetData()) {
		t.Error("6 MiB did not come back as they went")
	}
	if got := string(h.outcome(2).GetDone().GetResult()); got != "67108864" {
		t.Errorf("64 MiB arrived as %s bytes", got)
	}
	for i, what := range []string{"result", "emission", "sum"} {
		d := wanting(uint64(i+3), what)
		h.worker.Deliver(d)
		if e := h.outcome(d.GetNumber()).GetDead().GetError(); e.GetType() != "oversize" || !strings.Contains(e.GetMessage(), what) && what != "sum" {
			t.Errorf("%s of more than the limit gave %v, want dead as oversize", what, e)
		}
	}
	h.deliver(9, 9)
	if h.outcome(9).GetDone() == nil {
		t.Error("the stream did not survive")
	}
}

func wanting(n uint64, what string) *fnhostv1.Delivery {
	d := delivery(n)
	d.Attributes = []*fnhostv1.Attribute{{Name: []byte("want"), Value: []byte(what)}}
	return d
}
