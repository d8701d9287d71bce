package stream

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
)

// Limits of one script's run: it holds up Redis for everyone.
const (
	maxBatch      = 128     // messages of a begin or commit
	maxBatchBytes = 1 << 20 // of a commit; a larger message goes alone
	maxRenew      = 512     // messages of a renewal
	// maxFields is the most names and values of one entry: an XADD in a script
	// is one call, and its arguments lie on a stack of fixed size.
	maxFields = 3500
)

func chunks[T any](all []T, n int) iter.Seq[[]T] { return slices.Chunk(all, n) }

func errShort(got, want int) error {
	return fmt.Errorf("unexpected reply of redis: %d answers to %d messages", got, want)
}

// places gives each key of a script's call its place in KEYS.
type places struct {
	c     *call
	place map[string]int
}

func newPlaces(c *call) places { return places{c: c, place: make(map[string]int, 8)} }

// of gives the key's place, adding it if it is new.
func (p places) of(key string) int {
	at, ok := p.place[key]
	if !ok {
		p.c.keys = append(p.c.keys, key)
		at = len(p.c.keys)
		p.place[key] = at
	}
	return at
}

// text, ref, int and number append an argument. It is appended as a pointer: a
// value would be copied to the heap to be an `any`.
func (p places) text(v string)    { p.ref(&v) }
func (p places) ref(v *string)    { p.c.args = append(p.c.args, v) }
func (p places) number(v *uint64) { p.c.args = append(p.c.args, v) }
func (p places) int(v int) {
	if v < len(smallInts) {
		p.ref(&smallInts[v])
		return
	}
	p.text(strconv.Itoa(v))
}

// smallInts are the counts and places that nearly all calls are made of.
var smallInts = func() (all [512]string) {
	for i := range all {
		all[i] = strconv.Itoa(i)
	}
	return all
}()

// list appends a count and the values.
func (p places) list(values []string) {
	p.int(len(values))
	for i := range values {
		p.ref(&values[i])
	}
}
