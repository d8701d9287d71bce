package sdktest_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

// counter counts messages in state: one by one, or many at once.
type counter struct{ t *testing.T }

func (c counter) Handle(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	reply, err := c.HandleBatch(ctx, []*sdk.Message{m})
	if err != nil {
		return nil, err
	}
	return reply.Replies[0], nil
}

func (c counter) HandleBatch(ctx context.Context, messages []*sdk.Message) (*sdk.BatchReply, error) {
	v, err := sdk.State(ctx, "count", "n")
	if err != nil {
		return nil, err
	}
	n := 0
	if err := v.Decode("n", &n); err != nil {
		return nil, err
	}
	reply := &sdk.BatchReply{}
	for _, m := range messages {
		if m.Type == "bad" {
			return nil, errors.New("bad")
		}
		n++
		r := &sdk.Reply{Data: []byte(strconv.Itoa(n))}
		r.Emissions = append(r.Emissions, sdk.Emission{To: "other", NotBefore: time.UnixMilli(int64(1000 * n))})
		reply.Replies = append(reply.Replies, r)
	}
	return reply, v.Encode("n", n)
}

func TestDeliverBatchGivesEachMessageItsResult(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, sdk.Function{Role: "test", Emits: []string{"other"}, Handler: counter{t}, Batch: 10})
	h.SetState("count", map[string]string{"n": "4", "large": "x"})
	h.Deliver("", nil).RequireDone(t)
	for i, r := range h.DeliverBatch("", sdktest.In(nil), sdktest.In(nil, sdktest.Type("x")), sdktest.In(nil)) {
		r.RequireDone(t)
		if want := strconv.Itoa(6 + i); string(r.Data()) != want || !r.Emissions()[0].NotBefore.Equal(time.Unix(int64(6+i), 0)) {
			t.Errorf("message %d: %s, %+v; want %s", i, r, r.Emissions(), want)
		}
	}
	for _, r := range h.DeliverBatch("", sdktest.In(nil), sdktest.In(nil, sdktest.Type("bad"))) {
		r.Require(t, sdktest.Retry)
	}
	if s := h.State("count"); s["n"] != "8" || s["large"] != "x" {
		t.Errorf("state %v", s)
	}
}
