package sdk_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

type query struct {
	Text string `json:"text"`
	Page struct {
		Size int `json:"size"`
	} `json:"page"`
}

func TestJSONSaysWhatIsWrongWithTheData(t *testing.T) {
	t.Parallel()
	h := sdk.JSON(func(_ context.Context, q query, _ *sdk.Message) (*sdk.Reply, error) { return sdk.Result(q.Text) })
	for data, want := range map[string]string{
		``:                            "has no data",
		`{"text":`:                    "not JSON at byte 8",
		`{"text":"a"} x`:              "not JSON at byte 14",
		`{"page":{"size":"ten"}}`:     "field `page.size` is a JSON string, want int",
		`[1]`:                         "the value is a JSON array, want sdk_test.query",
		`{"text":"a","unknown":true}`: "",
	} {
		r, err := h.Handle(t.Context(), &sdk.Message{Data: []byte(data)})
		var permanent *sdk.PermanentError
		var reason *sdk.DataError
		switch {
		case want == "":
			if err != nil || string(r.Data) != `"a"` {
				t.Errorf("%s: %v, %v", data, r, err)
			}
		case !errors.As(err, &permanent) || !errors.As(err, &reason) || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v; want a permanent error with %q", data, err, want)
		}
	}
}

func TestMuxChoosesByType(t *testing.T) {
	t.Parallel()
	mux := sdk.NewMux()
	mux.HandleFunc("b.two", func(context.Context, *sdk.Message) (*sdk.Reply, error) { return sdk.Result(2) })
	mux.Handle("a.one", sdk.JSON(func(_ context.Context, n int, _ *sdk.Message) (*sdk.Reply, error) { return sdk.Result(n) }))
	h := mux.Handler()
	if r, err := h.Handle(t.Context(), &sdk.Message{Type: "a.one", Data: []byte("1")}); err != nil || string(r.Data) != "1" {
		t.Errorf("a.one: %v, %v", r, err)
	}
	_, err := h.Handle(t.Context(), &sdk.Message{Type: "c"})
	var permanent *sdk.PermanentError
	if !errors.As(err, &permanent) || !errors.Is(err, sdk.ErrUnknownType) || !strings.Contains(err.Error(), `"c": this function knows a.one, b.two`) {
		t.Errorf("c: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a type was given a second handler")
		}
	}()
	mux.Handle("a.one", h)
}

func TestChainPutsTheFirstOutermost(t *testing.T) {
	t.Parallel()
	var path string
	step := func(name string) sdk.Middleware {
		return func(next sdk.Handler) sdk.Handler {
			return sdk.HandlerFunc(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
				path += name
				return next.Handle(ctx, m)
			})
		}
	}
	end := sdk.HandlerFunc(func(context.Context, *sdk.Message) (*sdk.Reply, error) { path += "c"; return nil, nil })
	if _, err := sdk.Chain(end, step("a"), step("b")).Handle(t.Context(), nil); err != nil || path != "abc" {
		t.Errorf("path %q, %v", path, err)
	}
}

func TestAMessageIsWhatTheEntrySays(t *testing.T) {
	t.Parallel()
	got := make(chan *sdk.Message, 2)
	h := start(t, handler(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) {
		got <- m
		return nil, nil
	}), 1)
	d := delivery(1)
	d.Attempt, d.Fence = 3, 42
	d.Attributes = fields("id", "order-1", "type", "t", "type", "second", "source", "/s", "subject", "u", "time", "2026-02-03T04:05:06Z",
		"datacontenttype", "text/plain", "partitionkey", "p", "x\xff", "\xfe\x00", "id", "later")
	bare := delivery(2)
	bare.Attributes = fields("time", "yesterday")
	h.worker.Deliver(d, bare)
	m := receive(t, "the message", got)
	if m.ID != "order-1" || m.Type != "t" || m.Source != "/s" || m.Subject != "u" || m.ContentType != "text/plain" || m.PartitionKey != "p" ||
		!m.Time.Equal(time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)) {
		t.Errorf("lifted: %+v", m)
	}
	if m.Stream != "test:tasks" || m.EntryID != "7-0" || m.Attempt != 3 || m.Fence != 42 || string(m.Data) != "\x01" {
		t.Errorf("of the delivery: %+v", m)
	}
	if len(m.Attributes) != 10 || m.Attributes[8] != (sdk.Attribute{Name: "x\xff", Value: "\xfe\x00"}) || m.Attribute("type") != "t" {
		t.Errorf("attributes: %q", m.Attributes)
	}
	if m := receive(t, "the bare one", got); m.ID != "7-0" || !m.Time.IsZero() || m.Attribute("time") != "yesterday" {
		t.Errorf("bare: %+v", m)
	}
}

func TestDescriptionCarriesTheFunctionsWishes(t *testing.T) {
	t.Parallel()
	retries, backoff := 0, 250*time.Millisecond
	f := handler(func(context.Context, *sdk.Message) (*sdk.Reply, error) { return nil, nil })
	f.Role, f.Version, f.Emits = "rag", "1.2", []string{"persist"}
	f.Subscriptions = []sdk.Subscription{{Stream: "rag:tasks", Group: "g", Results: "rag:results"}}
	f.Concurrency, f.Window, f.Timeout, f.MaxRetries, f.RetryBackoff = 3, 9, 1500*time.Microsecond, &retries, &backoff
	d, err := serve(t, f).function.Describe(t.Context(), &fnhostv1.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	p := d.GetPolicies()
	if d.GetName() != "rag" || d.GetVersion() != "1.2" || d.GetSdk() != "go/1" || len(d.GetSubscriptions()) != 1 || len(d.GetEmits()) != 1 {
		t.Errorf("description %v", d)
	}
	if p.GetConcurrency() != 3 || p.GetWindow() != 9 || p.GetTimeoutMs() != 2 || p.MaxRetries == nil || p.GetMaxRetries() != 0 || p.GetRetryBackoffMs() != 250 {
		t.Errorf("policies %v", p)
	}
}

func TestAnInvalidFunctionIsRefused(t *testing.T) {
	t.Parallel()
	_, err := sdk.NewServer(sdk.Function{Role: "No Role", Concurrency: -1})
	for _, want := range []string{"Handler is nil", `role "No Role"`, "may not be negative"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q in it", err, want)
		}
	}
}
