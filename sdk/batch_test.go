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

// batcher answers a batch with each message's data behind how many there are.
type batcher struct {
	sdk.HandlerFunc
	batch func(ctx context.Context, messages []*sdk.Message) (*sdk.BatchReply, error)
}

func (b batcher) HandleBatch(ctx context.Context, messages []*sdk.Message) (*sdk.BatchReply, error) {
	return b.batch(ctx, messages)
}

func startBatcher(t *testing.T, batch func(context.Context, []*sdk.Message) (*sdk.BatchReply, error)) *host {
	t.Helper()
	single := sdk.HandlerFunc(func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) {
		return &sdk.Reply{Data: append([]byte("alone "), m.Data...)}, nil
	})
	return start(t, sdk.Function{Handler: batcher{single, batch}, Batch: 10}, 1)
}

// deliverBatch delivers messages of these data as one delivery.
func (h *host) deliverBatch(number uint64, data ...string) *fnhostv1.Outcome {
	h.t.Helper()
	d := &fnhostv1.Delivery{Number: number, EntryId: "1-0", Data: []byte(data[0]), Attributes: fields("id", "i-"+data[0])}
	for _, more := range data[1:] {
		d.More = append(d.More, &fnhostv1.Delivery{EntryId: "2-0", Data: []byte(more), Attributes: fields("id", "i-"+more)})
	}
	h.worker.Deliver(d)
	return h.outcome(number)
}

func TestABatchHasOneOutcomeWithAPartForEachMessage(t *testing.T) {
	t.Parallel()
	h := startBatcher(t, func(_ context.Context, messages []*sdk.Message) (*sdk.BatchReply, error) {
		reply := &sdk.BatchReply{}
		for i, m := range messages {
			if i == 1 {
				reply.Replies = append(reply.Replies, nil)
				continue
			}
			r := &sdk.Reply{Data: []byte(m.ID)}
			r.Emissions = []sdk.Emission{{To: "other", Data: m.Data, NotBefore: time.UnixMilli(1234)}}
			reply.Replies = append(reply.Replies, r)
		}
		return reply, nil
	})
	done := h.deliverBatch(1, "a", "b", "c").GetDone()
	if done == nil || string(done.GetResult()) != "i-a" || len(done.GetParts()) != 2 {
		t.Fatalf("outcome %v", done)
	}
	second, third := done.GetParts()[0], done.GetParts()[1]
	if len(second.GetResult())+len(second.GetEmissions()) != 0 || string(third.GetResult()) != "i-c" ||
		string(third.GetEmissions()[0].GetData()) != "c" || third.GetEmissions()[0].GetNotBefore() != 1234 {
		t.Errorf("parts %v, %v", second, third)
	}
	if done := h.deliverBatch(2, "x").GetDone(); string(done.GetResult()) != "alone x" || len(done.GetParts()) != 0 {
		t.Errorf("a message by itself: %v", done)
	}
}

func TestAnEmptyBatchReplyIsDoneWithNothingToSay(t *testing.T) {
	t.Parallel()
	h := startBatcher(t, func(context.Context, []*sdk.Message) (*sdk.BatchReply, error) { return nil, nil })
	if done := h.deliverBatch(1, "a", "b", "c").GetDone(); done == nil || len(done.GetParts()) != 2 {
		t.Errorf("outcome %v", done)
	}
}

func TestWhatIsWrongWithABatchIsItsVerdict(t *testing.T) {
	t.Parallel()
	h := startBatcher(t, func(_ context.Context, messages []*sdk.Message) (*sdk.BatchReply, error) {
		switch string(messages[0].Data) {
		case "panic":
			panic("boom")
		case "short":
			return &sdk.BatchReply{Replies: make([]*sdk.Reply, 1)}, nil
		case "large":
			return &sdk.BatchReply{Replies: []*sdk.Reply{nil, {Data: make([]byte, sdk.MaxDataBytes+1)}}}, nil
		}
		return nil, errors.New("no")
	})
	for i, want := range []string{"panic", "short", "error"} {
		o := h.deliverBatch(uint64(i), want, "b")
		if o.GetRetry() == nil {
			t.Errorf("%s: %v", want, o)
		}
		if want == "short" && !strings.Contains(o.GetRetry().GetError().GetMessage(), "1 replies to 2 messages") {
			t.Errorf("%v", o)
		}
	}
	if o := h.deliverBatch(9, "large", "b"); o.GetDead().GetError().GetType() != "oversize" {
		t.Errorf("large: %v", o)
	}
}

func TestBatchNeedsABatchHandler(t *testing.T) {
	t.Parallel()
	f := handler(func(context.Context, *sdk.Message) (*sdk.Reply, error) { return nil, nil })
	f.Role, f.Batch = "test", 2
	if _, err := sdk.NewServer(f); err == nil || !strings.Contains(err.Error(), "HandleBatch") {
		t.Errorf("%v", err)
	}
	f.Handler = batcher{HandlerFunc: func(context.Context, *sdk.Message) (*sdk.Reply, error) { return nil, nil }}
	d, err := serve(t, f).function.Describe(t.Context(), &fnhostv1.DescribeRequest{})
	if err != nil || d.GetPolicies().GetBatch() != 2 {
		t.Errorf("%v, %v", d, err)
	}
}
