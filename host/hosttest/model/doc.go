// Package model is the message protocol as a step machine, without Redis: a
// [Store] with what the scripts of host/stream see and write, one function for
// each script, and a [State] of two hosts that use them while they crash, stall,
// lose answers, and fail over to a replica that lags.
//
// [Explore] visits every state that can be reached within a [Setup] and checks
// the invariants in each. The functions of the scripts are the expectation of
// the table test in host/stream, which runs the real scripts on a real server:
// so what is proven here is said of them.
//
// A [Protocol] can be switched to one [Mutant], a protocol with a known fault.
// Each must break an invariant.
//
// Time is counted in ticks, relative to now, and ends at a lease: nothing here
// happens because of the length of time, only because something is over. Fences
// are compared, never counted on: a state holds their order. A host that has
// crashed comes back under another name, so of the dead one stays what it left
// behind. What is left out: batches (each message of one is decided by itself),
// deaths of plugins (they are written like attempts), several groups, and
// clocks that go back.
package model
