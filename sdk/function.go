package sdk

import (
	"context"
	"encoding/json"
	"time"
)

// A Handler turns one message into its outcome.
//
// Handle is called concurrently, up to the function's concurrency. Its context
// ends at the handler timeout, when the lease is lost and when the host stops;
// [context.Cause] tells them apart ([ErrTimeout], [ErrLostLease], [ErrStop]).
// After that Handle should return promptly: what it returns may come too late to
// count. It may be called again with the same [Message.ID]: a message is run at
// least once, its outcome is published exactly once.
//
// A nil error means done: the reply's result, emissions and state writes become
// true in one step, together with the message's acknowledgement. A nil reply
// means done with nothing to say. An error means: try again, unless it is made
// by [Permanent], [RetryAfter], [Snooze] or [Drop]. A panic is an error.
type Handler interface {
	Handle(ctx context.Context, m *Message) (*Reply, error)
}

// A BatchHandler is a [Handler] that can take several messages of one
// partitionkey together, as many as [Function.Batch] allows: so a busy key costs
// one commit for many messages. Messages without a partitionkey, and those that
// failed before, come singly through Handle.
//
// The messages are in their order in the stream. A nil error means that all of
// them are done: their replies, and what was changed through [State] and [Cache],
// which belong to the whole batch, become true in one step, all or nothing. After
// an error, of whatever kind, or a panic, nothing of it does, no message is
// charged, and each is run again through Handle, one after another: so the
// verdict on a single message is always Handle's.
type BatchHandler interface {
	Handler
	HandleBatch(ctx context.Context, messages []*Message) (*BatchReply, error)
}

// HandlerFunc makes a function a [Handler].
type HandlerFunc func(ctx context.Context, m *Message) (*Reply, error)

// Handle calls f.
func (f HandlerFunc) Handle(ctx context.Context, m *Message) (*Reply, error) { return f(ctx, m) }

// Middleware wraps a handler.
type Middleware func(Handler) Handler

// A Function is what a plugin serves: one handler for one role.
type Function struct {
	Name    string // for people; default: Role
	Role    string // the role it plays: lower-case letters, digits and '-'
	Version string // for people; default "dev"
	Handler Handler

	// Subscriptions are the input streams. Default: one, `<role>:tasks` in
	// group `<role>-workers` with results on `<role>:results`.
	Subscriptions []Subscription
	// Emits names the streams, or roles, that replies may emit to.
	Emits []string
	// Schemas are JSON Schemas of the data by message type, for tools.
	Schemas map[string]json.RawMessage

	// Zero values leave the choice to the host. fnhost.yaml overrides them all.
	Concurrency  int            // handlers at once
	Window       int            // messages held by the host for this function
	Batch        int            // messages of one partitionkey handed over together, at most 128; needs a [BatchHandler]
	Timeout      time.Duration  // of one handler run
	MaxRetries   *int           // attempts = 1 + retries
	RetryBackoff *time.Duration // before the first retry; doubles

	// Configure, if set, is called once before the first message. Return a
	// *[SettingError] (or several, joined) to name the setting at fault.
	Configure func(ctx context.Context, s Settings) error
	// Close, if set, is called once after the last message.
	Close func(ctx context.Context) error
}

// A Subscription is one input stream of a role. Names are without the namespace.
type Subscription struct {
	Stream  string
	Group   string // default `<role>-workers`
	Results string // stream for the results; empty: none are published
}

// Settings are what the operator wrote for this function in fnhost.yaml.
type Settings struct {
	// JSON is the object under `plugin.settings`, `{}` if there is none.
	JSON json.RawMessage
	// StateDir is an existing directory of the role's own, for embedded databases.
	StateDir string
	// Concurrency is how many handlers will run at once.
	Concurrency int
}

// A SettingError says what is wrong with one setting.
type SettingError struct {
	Setting string // its path, as `database.url`
	Message string // what is wrong, and what would be right
}

func (e *SettingError) Error() string {
	if e.Setting == "" {
		return e.Message
	}
	return "setting " + e.Setting + ": " + e.Message
}
