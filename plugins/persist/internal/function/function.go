// Package function is persist as the host sees it: its message types, what each
// error means for the message, and its settings.
package function

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
	"github.com/fnhost/fnhost/plugins/persist/internal/store"
	"github.com/fnhost/fnhost/sdk"
)

// maxIdentityBytes bounds what names a message: it is kept for each one.
const maxIdentityBytes = 4096

// New gives the function of role persist. Its database is persist.db in the
// state directory; it is opened by Configure and closed by Close.
func New(version string) sdk.Function {
	p := &persist{}
	mux := sdk.NewMux()
	mux.Handle(contract.TypeWrite, sdk.JSON(p.write))
	mux.Handle(contract.TypeDelete, sdk.JSON(p.delete))
	mux.Handle(contract.TypeGet, sdk.JSON(p.get))
	mux.Handle(contract.TypeQuery, sdk.JSON(p.query))
	return sdk.Function{
		Name: "persist", Role: "persist", Version: version,
		Handler:   mux.Handler(),
		Configure: p.configure, Close: p.close,
	}
}

type persist struct{ store *store.Store }

func (p *persist) configure(ctx context.Context, s sdk.Settings) error {
	settings, err := readSettings(s)
	if err != nil {
		return err
	}
	if s.StateDir == "" {
		return errors.New("persist has no state directory to keep its database in")
	}
	p.store, err = store.Open(ctx, filepath.Join(s.StateDir, "persist.db"), store.Options{InboxRetention: settings.inboxRetention})
	return err
}

func (p *persist) close(ctx context.Context) error {
	if p.store == nil {
		return nil
	}
	return p.store.Close(ctx)
}

func (p *persist) write(ctx context.Context, w contract.Write, m *sdk.Message) (*sdk.Reply, error) {
	task, err := taskOf(m)
	if err = errors.Join(err, w.Validate()); err != nil {
		return nil, verdict(err)
	}
	answer, err := p.store.Write(ctx, task, w)
	return reply(answer, err)
}

func (p *persist) delete(ctx context.Context, d contract.Delete, m *sdk.Message) (*sdk.Reply, error) {
	task, err := taskOf(m)
	if err = errors.Join(err, d.Validate()); err != nil {
		return nil, verdict(err)
	}
	answer, err := p.store.Delete(ctx, task, d)
	return reply(answer, err)
}

func (p *persist) get(ctx context.Context, g contract.Get, _ *sdk.Message) (*sdk.Reply, error) {
	if err := g.Validate(); err != nil {
		return nil, verdict(err)
	}
	answer, err := p.store.Get(ctx, g)
	return reply(answer, err)
}

func (p *persist) query(ctx context.Context, q contract.Query, _ *sdk.Message) (*sdk.Reply, error) {
	if err := q.Validate(); err != nil {
		return nil, verdict(err)
	}
	answer, err := p.store.Query(ctx, q)
	return reply(answer, err)
}

func taskOf(m *sdk.Message) (store.Task, error) {
	if n := len(m.Stream) + len(m.Source) + len(m.ID); n > maxIdentityBytes {
		return store.Task{}, contract.Refuse("the message's source and id have %d bytes; %d is the limit", n, maxIdentityBytes)
	}
	return store.NewTask(m.Stream, m.Source, m.ID, m.Type, m.Data), nil
}

func reply(answer any, err error) (*sdk.Reply, error) {
	if err != nil {
		return nil, verdict(err)
	}
	return sdk.Result(answer)
}

// verdict makes a refusal permanent; whatever else goes wrong, a busy or failing
// disk above all, may go well next time.
func verdict(err error) error {
	if _, refused := errors.AsType[*contract.RefusedError](err); refused {
		return sdk.Permanent(fmt.Errorf("persist refuses the message: %w", err))
	}
	return err
}
