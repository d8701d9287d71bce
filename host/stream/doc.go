// Package stream is the only one that reads and writes the message path in
// Redis: publish, read, begin, renew, commit, rerun, hand back, reclaim.
//
// Each transition of a message is one script, in lua/, with its keys, arguments
// and answers described above it. A [Log] is one subscription's stream, group,
// locks and outcomes; a [Client] holds the connections.
//
// Every error of the package that a caller decides by is one of
// [ErrUnavailable] (try again), [ErrOutOfMemory] (try again, and stop reading),
// or [ErrConfig] (a person has to act).
package stream
