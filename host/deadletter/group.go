package deadletter

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// A Group is the letters of one reason whose errors are of one kind: of the same
// type, with texts that differ in numbers, ids, times and quoted parts only.
type Group struct {
	Fingerprint string    `json:"fingerprint"` // empty: the letters say nothing of an error
	Reason      string    `json:"reason"`
	Count       int       `json:"count"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Sample      Letter    `json:"sample"` // the newest, without its fields
}

// Group gives the letters that match by the kind of their error, the most
// frequent first. It reads the whole queue, or what is left of it after
// filter.Since and filter.Cursor; filter.Limit does not count.
func (d *DeadLetters) Group(ctx context.Context, dlq string, filter Filter) ([]Group, error) {
	groups := map[[2]string]*Group{}
	err := d.Each(ctx, dlq, filter, func(l Letter) bool {
		kind := [2]string{l.Fingerprint, l.Reason}
		g, ok := groups[kind]
		if !ok {
			g = &Group{Fingerprint: l.Fingerprint, Reason: l.Reason, First: l.Time}
			groups[kind] = g
		}
		g.add(l)
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
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Fingerprint, b.Fingerprint), cmp.Compare(a.Reason, b.Reason))
	})
	return list, nil
}

func (g *Group) add(l Letter) {
	g.Count++
	if l.Time.Before(g.First) {
		g.First = l.Time
	}
	if g.Count == 1 || l.Time.After(g.Last) {
		l.Fields, l.Entry = nil, nil // of many groups they would be many
		g.Last, g.Sample = l.Time, l
	}
}
