package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// background is for log calls that belong to no message.
var background = context.Background()

// Names that the loggers of the languages use: slog, hclog, pino, structlog, ECS.
var (
	levelKeys   = []string{"level", "@level", "log.level", "severity"}
	messageKeys = []string{"msg", "@message", "message", "event"}
	timeKeys    = []string{"time", "@timestamp", "timestamp", "ts"}
)

// ours are the attributes that the host itself adds to a plugin's lines.
var ours = []string{"role", "generation"}

// parseLine reads a line of a plugin's log: a JSON object of any of the usual
// loggers, or else plain text, which is at level info. Values of unexpected
// types are passed on as they are; nothing here trusts the plugin.
func parseLine(line []byte) (slog.Level, string, []slog.Attr) {
	trimmed := bytes.TrimSpace(line)
	var fields map[string]json.RawMessage
	if len(trimmed) == 0 || trimmed[0] != '{' || json.Unmarshal(trimmed, &fields) != nil {
		return plainLevel(trimmed), strings.ToValidUTF8(string(line), "\uFFFD"), nil
	}
	level := levelOf(take(fields, levelKeys))
	message := text(take(fields, messageKeys))
	take(fields, timeKeys) // the host's log has its own
	var attrs []slog.Attr
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		value := fields[key]
		if slices.Contains(ours, key) {
			key = "plugin." + key
		}
		attrs = append(attrs, slog.Any(key, valueOf(value)))
	}
	return level, message, attrs
}

// plainLevel raises what the runtime of a Go plugin prints when it dies.
func plainLevel(line []byte) slog.Level {
	if bytes.HasPrefix(line, []byte("panic: ")) || bytes.HasPrefix(line, []byte("fatal error: ")) {
		return slog.LevelError
	}
	return slog.LevelInfo
}

// take removes the first of the keys that is there, and gives its value.
func take(fields map[string]json.RawMessage, keys []string) json.RawMessage {
	for _, key := range keys {
		if value, ok := fields[key]; ok {
			delete(fields, key)
			return value
		}
	}
	return nil
}

// text is a string's value, or what else there is, as it stands.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// valueOf gives what slog shows well: strings, numbers and truth values as such.
func valueOf(raw json.RawMessage) any {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	switch v := v.(type) {
	case string, bool:
		return v
	case float64:
		return json.Number(raw)
	}
	return raw
}

// levelOf reads a level's name, as slog's `WARN+1` too, or pino's number.
func levelOf(raw json.RawMessage) slog.Level {
	var number float64
	if json.Unmarshal(raw, &number) == nil && len(raw) > 0 && raw[0] != 'n' {
		return numbered(number)
	}
	name := strings.ToLower(text(raw))
	switch name {
	case "trace":
		return slog.LevelDebug
	case "warning":
		return slog.LevelWarn
	case "err", "fatal", "critical", "panic", "emerg", "alert":
		return slog.LevelError
	}
	var level slog.Level
	if level.UnmarshalText([]byte(name)) != nil {
		return slog.LevelInfo
	}
	return level
}

// numbered reads pino's levels: 20 debug, 30 info, 40 warn, 50 error, 60 fatal.
func numbered(n float64) slog.Level {
	switch {
	case n >= 50:
		return slog.LevelError
	case n >= 40:
		return slog.LevelWarn
	case n >= 30:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}
