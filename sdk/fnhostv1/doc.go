// Package fnhostv1 is the wire contract between a host and a function, version 1.
// The comments in function.proto are the specification.
package fnhostv1

//go:generate go run ./internal/protogen .
