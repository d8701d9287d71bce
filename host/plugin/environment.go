package plugin

import (
	"context"
	"log/slog"
	"os"
	"strings"

	"github.com/fnhost/fnhost/sdk"
)

// environment is all that a plugin's process sees of variables, besides
// go-plugin's own: a few of the host's, then the role's, then the contract's.
// Of a name that comes twice the last one counts.
func environment(role []string, log *slog.Logger) []string {
	var env []string
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	env = append(env, sdk.LogLevelKey+"="+leastLevel(log))
	env = append(env, role...)
	return append(env, sdk.LifelineKey+"="+sdk.LifelineStdin)
}

// leastLevel is the least level that the host's log takes: what a plugin logs
// below it need not be sent.
func leastLevel(log *slog.Logger) string {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return strings.ToLower(level.String())
		}
	}
	return "error"
}
