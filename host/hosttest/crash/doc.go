// Package crash has no code of its own: its tests break hosts, the way to Redis,
// and Redis itself, at every point that matters, and count what became of the
// messages. Nothing may be lost, and nothing may have two outcomes.
//
//   - kill_test.go: a host's process is killed at a named point (SIGKILL), or
//     stopped there for longer than its lease, and another goes on
//   - cut_test.go: the connection is cut before a request is executed, after it,
//     or in the middle of its answer, at every round trip
//   - answer_test.go: Redis answers with an error, in every phase
//   - server_test.go: a server is killed, fails over, loses data, or stalls
//   - host_test.go: a few of these with whole hosts and a plugin's process
//
// A host here is a worker: host/stream and host/dispatch as the host wires them,
// with a function in the same process, whose behaviour each message chooses.
//
// FNHOST_CRASH=full runs every case; without it a choice that meets each point
// once.
package crash
