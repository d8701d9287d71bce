package deadletter

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// A Group is the letters whose errors are of one kind.
type Group struct {
	Fingerprint string    `json:"fingerprint"` // empty: not written by fnhost
	Count       int       `json:"count"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Sample      Letter    `json:"sample"` // the newest
}

// Group gives the letters that match by the kind of their error, the most
// frequent first. It reads the whole queue, or what is left of it after
// filter.Since and filter.Cursor; filter.Limit does not count.
func (d *DeadLetters) Group(ctx context.Context, dlq string, filter Filter) ([]Group, error) {
	groups := map[string]*Group{}
	err := d.scan(ctx, dlq, filter, func(l Letter) bool {
		if filter.match(&l) {
			g, ok := groups[l.Fingerprint]
			if !ok {
				g = &Group{Fingerprint: l.Fingerprint, First: l.Time}
				groups[l.Fingerprint] = g
			}
			g.add(l)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	list := make([]Group, 0, len(groups))
	for _, g := range groups {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return list, nil
}

func (g *Group) add(l Letter) {
	g.Count++
	if l.Time.Before(g.First) {
		g.First = l.Time
	}
	if g.Count == 1 || l.Time.After(g.Last) {
		g.Last, g.Sample = l.Time, l
	}
}
