package sdk_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/fnhost/fnhost/sdk"
)

type question struct {
	Text string `json:"text"`
}

type reply struct {
	Text string `json:"text"`
}

func answer(_ context.Context, q question, _ *sdk.Message) (*sdk.Reply, error) {
	if q.Text == "" {
		return nil, sdk.Permanent(errors.New("the question is empty"))
	}
	r, err := sdk.Result(reply{Text: "42"})
	if err != nil {
		return nil, err
	}
	return r, r.Emit("persist", "persist.write", reply{Text: "42"})
}

// A function is served by the last line of main.
func ExampleServe() {
	mux := sdk.NewMux()
	mux.Handle("oracle.ask", sdk.JSON(answer))
	main := func() {
		sdk.Serve(sdk.Function{Role: "oracle", Version: "1.0", Emits: []string{"persist"}, Handler: mux.Handler()})
	}
	_ = main
}

func ExampleJSON() {
	h := sdk.JSON(answer)
	r, err := h.Handle(context.Background(), &sdk.Message{Data: []byte(`{"text":"of life, the universe and everything"}`)})
	fmt.Println(string(r.Data), r.Emissions[0].To, err)
	_, err = h.Handle(context.Background(), &sdk.Message{Data: []byte(`{"text":7}`)})
	fmt.Println(err)
	// Output:
	// {"text":"42"} persist <nil>
	// the data is not what the handler takes: field `text` is a JSON number, want string (byte 9): json: cannot unmarshal number into Go struct field question.text of type string
}

func ExampleChain() {
	logged := func(next sdk.Handler) sdk.Handler {
		return sdk.HandlerFunc(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
			fmt.Println("handling", m.Type)
			return next.Handle(ctx, m)
		})
	}
	h := sdk.Chain(sdk.JSON(answer), logged)
	_, err := h.Handle(context.Background(), &sdk.Message{Type: "oracle.ask", Data: []byte(`{}`)})
	fmt.Println(err)
	// Output:
	// handling oracle.ask
	// the question is empty
}

// A counter in keyed state: concurrent messages cannot lose each other's count.
func ExampleState() {
	count := sdk.HandlerFunc(func(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
		state, err := sdk.State(ctx, "visits:"+m.Subject)
		if err != nil {
			return nil, err
		}
		var n int
		if err := state.Decode("n", &n); err != nil {
			return nil, sdk.Permanent(err)
		}
		return nil, state.Encode("n", n+1)
	})
	_ = count
}
