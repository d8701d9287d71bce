package stream

import (
	"fmt"
	"hash/fnv"
	"os"
	"testing"

	"github.com/fnhost/fnhost/host/hosttest/model"
)

// The table runs every script in every state that it may find a message in, on a
// real server, and compares the answer and all that Redis holds afterwards with
// what the model's function of the same script makes of it.

// tableProtocol is the protocol as the table has it: a tick is half a lease.
var tableProtocol = model.Protocol{Lease: 2, Delay: 4}

// tableHeld is the grant with which every script of the table is called.
var tableHeld = model.Held{Fence: 7, Attempt: 2, Deaths: 1}

const tableCounter = 9 // of fences

// A tableRow is one script in one state.
type tableRow struct {
	script tableScript
	lock   string
	before model.Store
}

func (r tableRow) String() string {
	m := r.before.M[0]
	at := fmt.Sprintf("%s, lock %s, handed to %s (idle %d, %d times), indexed %v (due %d), deleted %v, group %v",
		r.script.name, r.lock, ownerName(m.Consumer), m.Idle, m.Times, m.Indexed, m.Due, m.Deleted, r.before.Group)
	if r.lock == "" {
		at += fmt.Sprintf("; delivered %d, floor %d, reach %d, the other one %+v", r.before.Delivered, r.before.Floor, r.before.Reach, r.before.M[1])
	}
	return at
}

func ownerName(o model.Owner) string {
	return map[model.Owner]string{model.Nobody: "nobody", model.A: "us", model.B: "another", model.Parked: "nobody until it is due"}[o]
}

var tableLocks = []struct {
	name string
	lock model.Lock
}{
	{"none", model.Lock{}},
	{"ours", undecidedLock(model.A, 7, 1)},
	{"ours, lapsed", undecidedLock(model.A, 7, 0)},
	{"ours, under a newer fence", undecidedLock(model.A, 9, 1)},
	{"ours, under an older fence", undecidedLock(model.A, 5, 1)},
	{"another's", undecidedLock(model.B, 9, 1)},
	{"another's, lapsed", undecidedLock(model.B, 9, 0)},
	{"another's, of our fence", undecidedLock(model.B, 7, 1)},
	{"given up", undecidedLock(model.Nobody, 9, 0)},
	{"waiting", undecidedLock(model.Nobody, 9, 3)},
	{"given up under an older fence", undecidedLock(model.Nobody, 5, 0)},
	{"decided by us", model.Lock{Kind: model.Decided, Owner: model.A, Fence: 7, Outcome: model.OK, Entry: model.Earlier}},
	{"decided by another run of ours", model.Lock{Kind: model.Decided, Owner: model.A, Fence: 6, Outcome: model.OK, Entry: model.Earlier}},
	{"decided by another", model.Lock{Kind: model.Decided, Owner: model.B, Fence: 7, Outcome: model.OK, Entry: model.Earlier}},
	{"a foreign string", model.Lock{Kind: model.Strange}},
	{"a key of another type", model.Lock{Kind: model.StrangeKey}},
}

// undecidedLock has attempts of its own, so that it is seen whose are kept.
func undecidedLock(o model.Owner, fence, left uint8) model.Lock {
	return model.Lock{Kind: model.Undecided, Owner: o, Fence: fence, Attempt: 3, Deaths: 2, Left: left}
}

// A place is where the group has the entry.
type place struct {
	who  model.Owner
	idle uint8
}

var tablePlaces = []place{
	{model.Nobody, 0}, {model.A, 0}, {model.A, 2}, {model.B, 0}, {model.B, 2}, {model.Parked, 0}, {model.Parked, 2},
}

// indexes are: not in it; due; due later.
var tableIndexes = []struct {
	in  bool
	due uint8
}{{}, {true, 0}, {true, 3}}

// tableStore is the state around the message: a stream of two entries, of which
// the first was handed out.
func tableStore(m model.Message) model.Store {
	return model.Store{M: [model.Messages]model.Message{m}, Published: 2, Group: true, Delivered: 1, Fence: tableCounter, State: 5}
}

// messageRows are all states of one message, for the scripts that work on one.
func messageRows(scripts []tableScript) (rows []tableRow) {
	for _, script := range scripts {
		for _, l := range tableLocks {
			for _, at := range tablePlaces {
				for _, index := range tableIndexes {
					for _, deleted := range []bool{false, true} {
						m := model.Message{Deleted: deleted, Lock: l.lock, Consumer: at.who, Idle: at.idle, Indexed: index.in, Due: index.due}
						if at.who != model.Nobody {
							m.Times = 3
						}
						rows = append(rows, tableRow{script, l.name, tableStore(m)})
						if at.who == model.Nobody {
							rows = append(rows, tableRow{script, l.name, withoutGroup(tableStore(m))})
						}
					}
				}
			}
		}
	}
	return rows
}

func withoutGroup(s model.Store) model.Store {
	s.Group, s.Delivered = false, 0
	return s
}

// groupRows are states of two messages, for the scripts that look at the group,
// and of groups that are gone.
func groupRows(scripts []tableScript) (rows []tableRow) {
	for _, script := range scripts {
		for _, first := range placedMessages() {
			for _, second := range placedMessages() {
				if script.file == "scan" || second == first || second == (model.Message{}) { // else it depends on each alone
					rows = append(rows, pairRows(script, first, second)...)
				}
			}
			for floor := range uint8(model.NoFloor + 1) {
				if first.Consumer == model.Nobody {
					s := withoutGroup(tableStore(first))
					s.Floor, s.Reach = floor, floor%3
					rows = append(rows, tableRow{script, "", s})
				}
			}
		}
	}
	return rows
}

// pairRows have the group at each place in the stream, with one floor and reach
// or another.
func pairRows(script tableScript, first, second model.Message) (rows []tableRow) {
	for delivered := range uint8(3) {
		s := tableStore(first)
		s.M[1], s.Delivered, s.Floor = second, delivered, 2
		s.Reach = (delivered + first.Due + uint8(second.Consumer)) % 3
		rows = append(rows, tableRow{script, "", s})
		if script.file == "trim" {
			s.Floor = 0
			rows = append(rows, tableRow{script, "", s})
		}
	}
	return rows
}

func placedMessages() (all []model.Message) {
	for _, at := range tablePlaces {
		for _, index := range tableIndexes {
			m := model.Message{Consumer: at.who, Idle: at.idle, Indexed: index.in, Due: index.due, Later: index.due % 2}
			if at.who != model.Nobody {
				m.Times = 3
			}
			deleted := m
			deleted.Deleted = true
			all = append(all, m)
			if index.in {
				all = append(all, deleted)
			}
		}
	}
	return all
}

// tableRows are all rows, or with a share of n about every n-th.
func tableRows(n uint32) (rows []tableRow) {
	for _, row := range append(messageRows(messageScripts), groupRows(groupScripts)...) {
		h := fnv.New32a()
		fmt.Fprint(h, row)
		if h.Sum32()%n == 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// tableShare is how much of the table is run: all of it with FNHOST_TABLE=full.
func tableShare(w *world) uint32 {
	switch {
	case os.Getenv("FNHOST_TABLE") == "full":
		return 1
	case w.srv == nil:
		return 8 // the embedded server is slow under the race detector
	}
	return 3
}

func TestTable(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		b, rows := newBench(w), tableRows(tableShare(w))
		known, failed := knownDifferences(w), 0
		for _, row := range rows {
			want, got := row.expected(), b.run(row)
			known.mend(row, want, &got)
			if want != got {
				failed++
			}
			if want != got && failed <= 20 {
				w.Errorf("%s\n%s", row, want.difference(got))
			}
		}
		if failed > 20 {
			w.Errorf("and %d states more", failed-20)
		}
		known.check(w)
		w.Logf("%d scripts in %d states", len(messageScripts)+len(groupScripts), len(rows))
	})
}
