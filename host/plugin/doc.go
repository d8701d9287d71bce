// Package plugin turns binaries on disk into running functions: it finds them,
// stages a copy of each, starts the copy as a process, speaks with it, and
// replaces it when it ends.
//
// [Load] looks at a directory and gives a [Set] of [Function]s, one for each
// role. Behind a Function stands a generation: one running process of one exact
// binary. When a generation ends uninvited, every delivery that it still had is
// answered with the verdict Died, and the Function starts the next one. A plugin
// has a clean environment, lives no longer than the host, and nothing that it
// prints, or does not do, can hold up or crash the host.
//
// This is the only package of the host that knows go-plugin.
package plugin
