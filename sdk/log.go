package sdk

import (
	"context"
	"io"
	"log/slog"
	"os"
)

// newLogger gives the logger of a plugin: JSON lines with the keys time, level,
// msg and the attributes. A record that is logged with a handler's context says
// which message it is about: message_id, entry_id, stream.
func newLogger(to io.Writer) *slog.Logger {
	var level slog.LevelVar
	_ = level.UnmarshalText([]byte(os.Getenv(LogLevelKey))) // unset or no level: info
	root := slog.NewJSONHandler(to, &slog.HandlerOptions{Level: &level})
	return slog.New(deliveryLog{Handler: root, root: root})
}

// deliveryLog adds the running delivery to records.
type deliveryLog struct {
	slog.Handler
	root  slog.Handler
	steps []func(slog.Handler) slog.Handler // from root to Handler, once there is a group
}

func (h deliveryLog) Handle(ctx context.Context, record slog.Record) error {
	r, ok := ctx.Value(runningKey{}).(*running)
	if !ok {
		return h.Handler.Handle(ctx, record)
	}
	attrs := []slog.Attr{
		slog.String("message_id", r.message.ID), slog.String("entry_id", r.message.EntryID),
		slog.String("stream", r.message.Stream),
	}
	if len(h.steps) == 0 {
		record = record.Clone()
		record.AddAttrs(attrs...)
		return h.Handler.Handle(ctx, record)
	}
	// Within a group the attributes would end up in it: begin again at the root.
	handler := h.root.WithAttrs(attrs)
	for _, step := range h.steps {
		handler = step(handler)
	}
	return handler.Handle(ctx, record)
}

func (h deliveryLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.then(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) }, len(h.steps) > 0)
}

func (h deliveryLog) WithGroup(name string) slog.Handler {
	return h.then(func(h slog.Handler) slog.Handler { return h.WithGroup(name) }, true)
}

// then takes a step. Steps before the first group are taken by the root as well
// and need not be remembered.
func (h deliveryLog) then(step func(slog.Handler) slog.Handler, remember bool) deliveryLog {
	next := deliveryLog{Handler: step(h.Handler), root: h.root, steps: h.steps}
	if remember {
		next.steps = append(h.steps[:len(h.steps):len(h.steps)], step)
	} else {
		next.root = step(h.root)
	}
	return next
}
