package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

// tally counts messages of one key in keyed state. `fan` has it sent n messages
// later, `add` counts one or many, `get` tells.
type tally struct{}

type counts struct {
	Messages int `json:"messages"`
	Runs     int `json:"runs"`
	Early    int `json:"early"`
}

const fanOut = 300

func (tally) Handle(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	switch m.Type {
	case "fan":
		reply := &sdk.Reply{}
		due := time.Now().Add(time.Second)
		for i := range fanOut {
			if err := reply.Emit("tally", "add", due.UnixMilli(), sdk.Attribute{Name: "partitionkey", Value: "k"}); err != nil {
				return nil, err
			}
			reply.Emissions[i].NotBefore = due
		}
		return reply, nil
	case "add":
		return nil, add(ctx, m)
	}
	v, err := sdk.State(ctx, "counts", "c")
	if err != nil {
		return nil, err
	}
	c, _ := v.Get("c")
	return &sdk.Reply{Data: []byte(c)}, nil
}

func (tally) HandleBatch(ctx context.Context, messages []*sdk.Message) (*sdk.BatchReply, error) {
	for _, m := range messages {
		if m.Attempt != 1 {
			return nil, errors.New("a message that has failed is in a batch")
		}
	}
	return nil, add(ctx, messages...)
}

func add(ctx context.Context, messages ...*sdk.Message) error {
	v, err := sdk.State(ctx, "counts", "c")
	if err != nil {
		return err
	}
	var c counts
	if err := v.Decode("c", &c); err != nil {
		return err
	}
	c.Runs++
	for _, m := range messages {
		c.Messages++
		var due int64
		if json.Unmarshal(m.Data, &due) != nil || time.Now().UnixMilli() < due {
			c.Early++
		}
	}
	time.Sleep(10 * time.Millisecond)
	return v.Encode("c", c)
}

// A fan-out that is emitted for later comes back, not before its time, in
// batches, and each of its messages counts once.
func TestAFanOutForLaterIsCountedInBatches(t *testing.T) {
	h := sdktest.Start(t, sdk.Function{Role: "tally", Emits: []string{"tally"}, Handler: tally{}, Batch: 50})
	if got := h.Run(nil, "type", "fan"); got.Status != "ok" {
		t.Fatalf("answer %+v", got)
	}
	var c counts
	for end := time.Now().Add(time.Minute); c.Messages < fanOut && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got := h.Run(nil, "type", "get"); len(got.Data) > 0 && json.Unmarshal(got.Data, &c) != nil {
			t.Fatalf("answer %+v", got)
		}
	}
	if c.Messages != fanOut || c.Early != 0 || c.Runs > fanOut/4 {
		t.Errorf("counted %+v, want %d messages in far fewer runs, none early", c, fanOut)
	}
}

func TestTheAnswerGoesUnderTheReplyKey(t *testing.T) {
	h := sdktest.Start(t, sdk.Function{Role: "answer", Handler: sdk.HandlerFunc(func(context.Context, *sdk.Message) (*sdk.Reply, error) {
		return nil, nil
	})})
	for want, attributes := range map[string][]string{
		"run-1": {"replykey", "run-1", "partitionkey", "mine"}, "run-2": {"replykey", "run-2"}, "mine": {"partitionkey", "mine"}, "": nil,
	} {
		if got := h.Run([]byte("{}"), attributes...); got.Fields["partitionkey"] != want {
			t.Errorf("%v: the result has partitionkey %q, want %q", fmt.Sprint(attributes), got.Fields["partitionkey"], want)
		}
	}
}
