package stream

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/redis/go-redis/v9"
)

// debugLog takes what go-redis would print to stderr by itself. All of it comes
// back as an error too, which whoever called then logs once.
type debugLog struct{}

func (debugLog) Printf(ctx context.Context, format string, v ...any) {
	slog.DebugContext(ctx, "go-redis: "+fmt.Sprintf(format, v...))
}

// quiet is for the whole process: go-redis has one logger.
var quiet = sync.OnceFunc(func() { redis.SetLogger(debugLog{}) })
