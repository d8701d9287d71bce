package stream

import (
	"context"

	"github.com/fnhost/fnhost/host/delivery"
)

// Load reads one key of the role's keyed state or cache: all fields, or those
// named; the ones that are not there are left out. The error is in the answer.
func (l *Log) Load(ctx context.Context, load delivery.Load) delivery.Loaded {
	key := l.c.keys.State(l.sub.Role, load.Key)
	if load.Cache {
		key = l.c.keys.Cache(l.sub.Role, load.Key)
	}
	all, err := l.hash(ctx, key, load.Fields)
	if err != nil {
		return delivery.Loaded{Request: load.Request, Err: l.failed(ctx, err, "load %s", key)}
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

// hash gives names and values of a hash, nil if there is none.
func (l *Log) hash(ctx context.Context, key string, fields []string) ([]string, error) {
	if len(fields) == 0 {
		reply, err := l.c.commands.Do(ctx, "HGETALL", key).Result()
		if all := texts(reply); len(all) > 0 {
			return all, err
		}
		return nil, err
	}
	pipe := l.c.commands.TxPipeline() // both of one moment
	exists := pipe.Exists(ctx, key)
	some := pipe.HMGet(ctx, key, append([]string{versionField}, fields...)...)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	if exists.Val() == 0 {
		return nil, nil
	}
	all := []string{}
	for i, v := range some.Val() {
		if v == nil {
			continue
		}
		name := versionField
		if i > 0 {
			name = fields[i-1]
		}
		all = append(all, name, text(v))
	}
	return all, nil
}
