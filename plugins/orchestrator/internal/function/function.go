// Package function is the orchestrator as the host sees it: its messages, and how
// what the engine says becomes entries of streams and keyed state.
package function

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fnhost/fnhost/sdk"
)

const (
	commands = "orchestrator:commands"
	tasks    = "orchestrator:tasks"
	results  = "orchestrator:results"

	batch       = 128 // the most that the sdk hands over
	concurrency = 64
)

// New gives the function of role orchestrator.
func New(version string) sdk.Function {
	o := &orchestrator{settings: defaults(), definitions: newDefinitions(), values: newCache(maxCached), clock: time.Now}
	retries, backoff := 10, 200*time.Millisecond
	return sdk.Function{
		Name: "orchestrator", Role: "orchestrator", Version: version,
		Handler: o, Configure: o.configure,
		Subscriptions: []sdk.Subscription{{Stream: commands, Group: "orchestrators"}, {Stream: tasks, Group: "orchestrators"}},
		Emits:         []string{commands, tasks, results, "rag", "persist", "echo", "probe", "cm"},
		Concurrency:   concurrency, Batch: batch, MaxRetries: &retries, RetryBackoff: &backoff,
	}
}

type orchestrator struct {
	settings    settings
	definitions *definitions
	values      *cache
	clock       func() time.Time
}

// Handle takes one message.
func (o *orchestrator) Handle(ctx context.Context, m *sdk.Message) (*sdk.Reply, error) {
	if m.Stream == tasks {
		return o.route(m)
	}
	all, err := o.HandleBatch(ctx, []*sdk.Message{m})
	if err != nil {
		return nil, err
	}
	return all.Replies[0], nil
}

// HandleBatch takes messages of one run: their state is loaded once, and written
// once.
func (o *orchestrator) HandleBatch(ctx context.Context, messages []*sdk.Message) (*sdk.BatchReply, error) {
	s := &session{orchestrator: o, ctx: ctx, now: o.clock(), runs: map[string]*run{}, ahead: aheadOf(messages)}
	all := &sdk.BatchReply{Replies: make([]*sdk.Reply, len(messages))}
	for i, m := range messages {
		reply, err := s.handle(m)
		if err != nil {
			return nil, err
		}
		all.Replies[i] = reply
	}
	emissions, err := s.finish()
	if err != nil {
		return nil, err
	}
	if len(emissions) > 0 {
		last := &all.Replies[len(messages)-1]
		if *last == nil {
			*last = &sdk.Reply{}
		}
		(*last).Emissions = append((*last).Emissions, emissions...)
	}
	return all, nil
}

func (s *session) handle(m *sdk.Message) (*sdk.Reply, error) {
	switch m.Type {
	case typeStart:
		return decoded(m, s.start)
	case typeCancel:
		return decoded(m, s.cancel)
	case typeStatus:
		return decoded(m, s.status)
	case typeShow:
		return decoded(m, s.show)
	case typeValidate:
		return decoded(m, s.validate)
	case typeSweep:
		return decoded(m, s.sweep)
	case typeForget:
		return decoded(m, s.forget)
	case typeDispatch:
		return s.route(m)
	}
	if strings.HasSuffix(m.Type, ".result") {
		return nil, s.answer(m)
	}
	return nil, sdk.Permanent(fmt.Errorf("%w %q: this function knows %s, and the results of its calls",
		sdk.ErrUnknownType, m.Type, strings.Join(commandTypes, ", ")))
}

// decoded runs a handler with the message's data; see [sdk.JSON].
func decoded[T any](m *sdk.Message, handle func(T, *sdk.Message) (any, error)) (*sdk.Reply, error) {
	h := sdk.JSON(func(_ context.Context, v T, m *sdk.Message) (*sdk.Reply, error) {
		answer, err := handle(v, m)
		if err != nil || answer == nil {
			return nil, err
		}
		return sdk.Result(answer)
	})
	return h.Handle(context.Background(), m)
}
