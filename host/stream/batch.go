package stream

import (
	"fmt"
	"iter"
	"slices"
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

func (p places) arg(args ...any) { p.c.args = append(p.c.args, args...) }

func (p places) list(values []string) {
	p.arg(len(values))
	for _, v := range values {
		p.c.args = append(p.c.args, v)
	}
}
