package engine

import (
	"strings"
	"sync"
)

// State is where a run is kept. Frames are small and asked for at nearly every
// answer; values, items and outputs may be large, and are asked for when they
// are needed. A write is seen by the reads behind it.
type State interface {
	// Frame gives a small record, nil if there is none; SetFrame with nil removes it.
	Frame(name string) ([]byte, error)
	SetFrame(name string, data []byte) error

	// Value gives a value that has been set.
	Value(name string) (any, error)
	SetValue(name string, data []byte) error
	RemoveValue(name string) error

	// SetItems keeps the items of a loop, once. Item gives one of them.
	SetItems(loop string, items [][]byte) error
	Item(loop string, i int) (any, error)
	// SetOutput keeps the output of one iteration. Outputs gives those of all n in
	// order, nil for an iteration without.
	SetOutput(loop string, i int, data []byte) error
	Outputs(loop string, n int) ([]any, error)
	// RemoveLoop removes items and outputs.
	RemoveLoop(loop string) error
}

// Values of a run beside the data of its lists.
const (
	rawInput = "input" // as it came with the start
	input    = "in"    // what input.from has made of it, if there is one
)

func loopFrame(path string) string { return "f:" + path }
func listFrame(path string) string { return "l:" + path }

// Frames gives the names of all frames that an answer to the path may need, so
// that they can be loaded together.
func Frames(path string) []string {
	names := []string{listFrame("")}
	tokens := strings.Split(strings.TrimPrefix(path, "/"), "/")
	at := ""
	for len(tokens) >= 3 { // do, position, name
		at += "/" + strings.Join(tokens[:3], "/")
		tokens = tokens[3:]
		names = append(names, listFrame(at), loopFrame(at))
		if len(tokens) >= 2 && tokens[0] == "for" {
			at += "/for/" + tokens[1]
			tokens = tokens[2:]
			names = append(names, listFrame(at))
		}
	}
	return names
}

// LoopOf gives the path of the loop whose frame has the name.
func LoopOf(frame string) (path string, ok bool) { return strings.CutPrefix(frame, "f:") }

// lazy is a value that is got when it is needed, once.
type lazy func() (any, error)

func known(v any) lazy { return func() (any, error) { return v, nil } }

func once(get lazy) lazy { return sync.OnceValues(get) }
