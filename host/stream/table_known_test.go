package stream

import "github.com/fnhost/fnhost/host/hosttest/model"

// A difference is something that a server is known to do in another way.
type difference struct {
	name string
	// mend makes what the server did what it should have done, where that is the
	// difference and nothing else; it says whether it was.
	mend func(row tableRow, want outcome, got *outcome) bool
	seen int
}

type differences []*difference

// knownDifferences are those of the embedded server; the real one has none.
func knownDifferences(w *world) differences {
	if w.srv != nil {
		return nil
	}
	return differences{
		{name: "XCLAIM keeps, or even makes, the group's entry of a deleted message", mend: eachMessage(claimsDeleted)},
		{name: "XCLAIM with JUSTID counts a delivery", mend: eachMessage(countsJustID)},
		{name: "XPENDING does not list a consumer that has deleted messages only", mend: hidesDeleted},
	}
}

// eachMessage mends both messages.
func eachMessage(mend func(row tableRow, want, got *model.Message) bool) func(tableRow, outcome, *outcome) bool {
	return func(row tableRow, want outcome, got *outcome) (mended bool) {
		for i := range want.store.M {
			mended = mend(row, &want.store.M[i], &got.store.M[i]) || mended
		}
		return mended
	}
}

func claimsDeleted(row tableRow, want, got *model.Message) bool {
	if !want.Deleted || want.Consumer != model.Nobody || got.Consumer == model.Nobody || !claims(row) {
		return false
	}
	got.Consumer, got.Idle, got.Times = model.Nobody, 0, 0
	return true
}

func countsJustID(row tableRow, want, got *model.Message) bool {
	if got.Consumer == model.Nobody || got.Times != want.Times+1 || !claims(row) {
		return false
	}
	got.Times--
	return true
}

// claims says whether a script claims with JUSTID; a group that is made again
// does so with what waits.
func claims(row tableRow) bool {
	switch row.script.file {
	case "begin", "renew", "rerun", "handback":
		return true
	}
	return !row.before.Group
}

func hidesDeleted(row tableRow, want outcome, got *outcome) bool {
	if row.script.file != "scan" || !row.before.Group {
		return false
	}
	seen := row.before
	for i := range seen.M {
		if seen.M[i].Deleted && !listed(&row.before, seen.M[i].Consumer) {
			seen.M[i].Consumer = model.Nobody
		}
	}
	as := outcome{answer: row.script.model(&seen), store: want.store}
	as.store.Floor = seen.Floor
	if as == want || as != *got {
		return false
	}
	*got = want
	return true
}

// listed says whether a consumer has a message that is not deleted.
func listed(s *model.Store, who model.Owner) bool {
	for i := range s.M {
		if s.M[i].Consumer == who && !s.M[i].Deleted {
			return true
		}
	}
	return false
}

func (all differences) mend(row tableRow, want outcome, got *outcome) {
	for _, d := range all {
		if d.mend(row, want, got) {
			d.seen++
		}
	}
}

// check complains of differences that are no more.
func (all differences) check(w *world) {
	w.Helper()
	for _, d := range all {
		if d.seen == 0 {
			w.Errorf("no row shows the difference %q any more: take it off the list", d.name)
		}
		w.Logf("%s: %d rows", d.name, d.seen)
	}
}
