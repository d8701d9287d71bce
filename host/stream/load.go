package stream

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
)

// Load reads keys of the role's keyed state or cache, all as of one moment: all
// fields, or those named; the ones that are not there are left out. An error is
// in the answer of the key that it is about.
func (l *Log) Load(ctx context.Context, loads ...delivery.Load) []delivery.Loaded {
	pipe := l.c.commands.TxPipeline()
	asked := make([]hash, len(loads))
	for i, load := range loads {
		asked[i] = l.ask(ctx, pipe, load)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	answers := make([]delivery.Loaded, len(loads))
	for i, load := range loads {
		answers[i] = l.loaded(ctx, load, asked[i])
	}
	return answers
}

// hash is a key on its way: whole, or some of its fields.
type hash struct {
	key    string
	whole  *redis.Cmd
	exists *redis.IntCmd
	some   *redis.SliceCmd
}

func (l *Log) ask(ctx context.Context, pipe redis.Pipeliner, load delivery.Load) hash {
	h := hash{key: l.c.keys.State(l.sub.Role, load.Key)}
	if load.Cache {
		h.key = l.c.keys.Cache(l.sub.Role, load.Key)
	}
	if len(load.Fields) == 0 {
		h.whole = pipe.Do(ctx, "HGETALL", h.key)
		return h
	}
	h.exists = pipe.Exists(ctx, h.key)
	h.some = pipe.HMGet(ctx, h.key, append([]string{versionField}, load.Fields...)...)
	return h
}

func (l *Log) loaded(ctx context.Context, load delivery.Load, h hash) delivery.Loaded {
	all, err := h.fields(load.Fields)
	if err != nil {
		err = l.failed(ctx, err, "load %s", h.key)
		return delivery.Loaded{Request: load.Request, Err: err, Unavailable: errors.Is(err, ErrUnavailable)}
	}
	out := delivery.Loaded{Request: load.Request, Found: all != nil}
	version := "0" // of a hash that something else has written
	for i := 0; i+1 < len(all); i += 2 {
		if all[i] == versionField {
			version = all[i+1]
			continue
		}
		out.Fields = append(out.Fields, all[i], all[i+1])
	}
	if out.Found && !load.Cache {
		out.Version = version
	}
	return out
}

// fields gives names and values, nil if there is no such key.
func (h hash) fields(names []string) ([]string, error) {
	if h.whole != nil {
		reply, err := h.whole.Result()
		if all := texts(reply); len(all) > 0 {
			return all, err
		}
		return nil, err
	}
	some, err := h.some.Result()
	if err != nil || h.exists.Val() == 0 {
		return nil, err
	}
	all := []string{}
	for i, v := range some {
		if v == nil {
			continue
		}
		name := versionField
		if i > 0 {
			name = names[i-1]
		}
		all = append(all, name, text(v))
	}
	return all, nil
}
