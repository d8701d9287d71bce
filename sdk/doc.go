// Package sdk is what the author of a function imports.
//
// A function is a program of its own that a host starts: it takes the messages of
// one role and says what becomes of each. It never sees Redis.
// This is a whole one:
//
//	package main
//
//	import (
//		"context"
//
//		"github.com/fnhost/fnhost/sdk"
//	)
//
//	func main() {
//		sdk.Serve(sdk.Function{Role: "echo", Handler: sdk.HandlerFunc(
//			func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) {
//				return &sdk.Reply{Data: m.Data, ContentType: m.ContentType}, nil
//			})})
//	}
//
// Build it into the host's plugin directory and it runs. It reads `echo:tasks` and
// its results are on `echo:results`; [Function.Subscriptions] says otherwise.
//
// # Messages
//
// A [Handler] takes a [Message]. [JSON] decodes its data first, a [Mux] chooses a
// handler by its type, [Chain] wraps one in [Middleware].
//
// # Outcomes
//
// What the handler returns decides: a [Reply] is done, with a result and
// emissions to other streams; an error is tried again, with the role's backoff,
// until its attempts are used up and it goes to the dead letters. [Permanent],
// [RetryAfter], [Snooze] and [Drop] make errors that say something else. A panic
// is an error.
//
// A message is run at least once, and its outcome is published exactly once. So a
// side effect of the handler's own needs a key that makes it safe to repeat:
// [Message.ID] stays the same in every run, and [Message.Fence] rises.
//
// # State
//
// [State] reads keyed state of the role; what a handler changes in it is written
// in the same step as the message's acknowledgement, or not at all. [Cache] is for
// what can be computed again.
//
// # Tests
//
// Package sdktest runs a function in a test over the wire of production.
package sdk
