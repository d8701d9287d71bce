package ops

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

//go:embed lua/survey.lua
var surveySource string

var surveyScript = redis.NewScript(surveySource)

// A StreamInfo is what Redis knows of a stream.
type StreamInfo struct {
	Type    string // as TYPE says; `none` if there is no such key, and what is no stream has nothing else
	Length  int64
	Added   int64 // entries ever added; -1 if Redis does not know
	FirstID string
	LastID  string
	Groups  map[string]GroupInfo
}

// A GroupInfo is what Redis knows of a group.
type GroupInfo struct {
	Consumers         int64
	Pending           int64
	Lag               int64  // entries not read yet; -1 if Redis does not know
	OldestPending     string // id; empty if none
	OldestUndelivered string // id; empty if none
}

// A Survey is what Redis knows of some streams at one moment.
type Survey struct {
	At      time.Time // by the clock of Redis
	Streams map[string]StreamInfo
}

// Age is how old the entry with that id is; 0 for an empty id.
func (s Survey) Age(id string) time.Duration {
	if id == "" {
		return 0
	}
	return max(0, s.At.Sub(delivery.IDTime(id)))
}

// Look surveys the streams in one round trip. No entry leaves Redis.
func Look(ctx context.Context, client redis.Scripter, keys topology.Keys, streams []string) (Survey, error) {
	names := make([]string, len(streams))
	for i, stream := range streams {
		names[i] = keys.Stream(stream)
	}
	answer, err := surveyScript.Run(ctx, client, names).Slice()
	if err != nil {
		return Survey{}, fmt.Errorf("looking at %d streams: %w", len(streams), err)
	}
	survey := Survey{At: time.UnixMilli(integer(answer[0])), Streams: make(map[string]StreamInfo, len(streams))}
	for i, stream := range streams {
		survey.Streams[stream] = streamInfo(answer[i+1].([]any))
	}
	return survey, nil
}

func streamInfo(row []any) StreamInfo {
	info := StreamInfo{
		Type: row[0].(string), Length: integer(row[1]), Added: integer(row[2]),
		FirstID: text(row[3]), LastID: text(row[4]), Groups: map[string]GroupInfo{},
	}
	for _, g := range row[5].([]any) {
		g := g.([]any)
		info.Groups[text(g[0])] = GroupInfo{
			Consumers: integer(g[1]), Pending: integer(g[2]), Lag: integer(g[3]),
			OldestPending: text(g[4]), OldestUndelivered: text(g[5]),
		}
	}
	return info
}

func integer(v any) int64 {
	n, _ := v.(int64)
	return n
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
