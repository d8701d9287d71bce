package stream

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

const (
	// maxReclaim bounds one look at the group, and one at the index.
	maxReclaim = 64
	// maxReclaimBytes bounds the entries that one look takes over.
	maxReclaimBytes = 8 << 20
	// fullFor is how long nothing is taken over after Redis said that it is out of
	// memory. Begin and commit are repeated every second, and say so again.
	fullFor = 1500 * time.Millisecond
)

// Reclaim takes over what nobody has renewed for a lease, what was handed back,
// and what was parked and is due, at most room messages; skip names what we
// hold. It looks at a bounded part of the group, remembers where it was, and
// writes the floor. lost are entries that were deleted before they had an
// outcome. While Redis is out of memory nothing is taken over; for a lease after the start, and after Redis could not be reached,
// leases that lapsed are left alone: their owners could not renew them either.
func (l *Log) Reclaim(ctx context.Context, skip func(id string) bool, room int) (taken []delivery.Reclaimed, lost []string, err error) {
	defer func() { l.noteScan(err) }()
	found, err := l.scan(ctx, skip)
	if err != nil {
		return nil, nil, l.failed(ctx, err, "look for messages to take over")
	}
	l.setAgain(found.reach)
	l.o.Observer.Floor(l.sub, found.age)
	ids := append(found.due, found.idle...)
	seen := 0
	if room > 0 && len(ids) > 0 && !l.outOfMemory() {
		seen, taken, lost, err = l.takeOver(ctx, ids, room)
		if err != nil {
			return nil, nil, l.failed(ctx, err, "take over %d messages", len(ids))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch untried := seen - len(found.due); {
	case seen == len(ids):
		l.cursor = found.next
	case untried >= 0:
		l.cursor = found.idle[untried]
	}
	return taken, lost, nil
}

// candidates are ids that could be taken over.
type candidates struct {
	due  []string // parked, and due
	idle []string // not renewed for a lease; ascending
	next string   // where the next look for idle ones begins
	// age of the floor, and the reach while the group is below it: see scan.lua.
	age   time.Duration
	reach string
}

func (l *Log) scan(ctx context.Context, skip func(id string) bool) (candidates, error) {
	l.mu.Lock()
	from := l.cursor
	l.mu.Unlock()
	c := l.call(0, l.floor, l.delayed, l.reach)
	c.args = append(c.args, l.o.Lease.Milliseconds(), parkedConsumer, from, maxReclaim)
	reply, err := run(ctx, l.c.commands, scanScript, c)
	if err != nil {
		return candidates{}, err
	}
	row, err := list(reply, 4)
	if err != nil {
		return candidates{}, err
	}
	found := candidates{
		idle: texts(row[0]), due: slices.DeleteFunc(texts(row[1]), skip), next: "-",
		age: time.Duration(number(row[2])) * time.Millisecond, reach: text(row[3]),
	}
	slices.SortFunc(found.idle, delivery.CompareIDs)
	if len(found.idle) >= maxReclaim { // each consumer gave at most that many: beyond, there may be gaps
		found.idle = found.idle[:maxReclaim]
		found.next = following(found.idle[maxReclaim-1])
	}
	found.idle = slices.DeleteFunc(found.idle, func(id string) bool { return skip(id) || slices.Contains(found.due, id) })
	return found, nil
}

// takeOver tries the ids in order until room are taken, and says how many it has
// looked at.
func (l *Log) takeOver(ctx context.Context, ids []string, room int) (seen int, taken []delivery.Reclaimed, lost []string, err error) {
	c := l.call(len(ids), l.fence, l.delayed)
	c.args = append(c.args, l.o.Lease.Milliseconds(), lockLife.Milliseconds(), flag(l.gentle()), room, maxReclaimBytes)
	for _, id := range ids {
		c.keys = append(c.keys, l.lock(id))
		c.args = append(c.args, id)
	}
	reply, err := run(ctx, l.c.commands, takeoverScript, c)
	if err != nil {
		return 0, nil, nil, err
	}
	rows, err := list(reply, -1)
	if err != nil {
		return 0, nil, nil, err
	}
	for i, r := range rows {
		row, err := list(r, -1)
		if err != nil || len(row) == 0 || i >= len(ids) {
			return 0, nil, nil, errShort(len(rows), len(ids))
		}
		switch number(row[0]) {
		case 0:
			entry := delivery.Entry{ID: ids[i], Fields: texts(row[5]), Delivered: number(row[4])}
			taken = append(taken, delivery.Reclaimed{Entry: entry, Grant: grant(row[1], row[2], row[3])})
		case 3:
			lost = append(lost, ids[i])
		}
	}
	return len(rows), taken, lost, nil
}

// gentle says whether leases that lapsed are to be left alone.
func (l *Log) gentle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.since) < l.o.Lease
}

// outOfMemory says whether Redis was so a moment ago. It would let us take
// messages over even then, but not commit what becomes of them.
func (l *Log) outOfMemory() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.full) < fullFor
}

// following is the lowest id above id.
func following(id string) string {
	ms, seq, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil || n+1 == 0 {
		return id
	}
	return ms + "-" + strconv.FormatUint(n+1, 10)
}
