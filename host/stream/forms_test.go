package stream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// Whatever entries have in common, and whatever they have of their own, each is
// added as it was given.
func TestEntriesOfManyFormsAreAddedAsTheyAre(t *testing.T) {
	t.Parallel()
	onBoth(t, func(w *world) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		l := w.log(me, time.Minute)
		const n = 120
		w.publish(n)
		want := map[string][][]string{}
		var commits []delivery.Commit
		for _, h := range w.begun(l, n) {
			c := delivery.Commit{Held: h, Outcome: "ok"}
			for range random.IntN(4) {
				a := randomAdd(random, h.ID)
				c.Adds = append(c.Adds, a)
				want[a.Stream] = append(want[a.Stream], a.Fields)
			}
			for range random.IntN(3) {
				a := randomAdd(random, h.ID)
				c.Audit = append(c.Audit, a)
				want[a.Stream] = append(want[a.Stream], a.Fields)
			}
			commits = append(commits, c)
		}
		w.commit(l, commits...)
		for stream, entries := range want {
			got := w.entriesOf(stream)
			if len(got) != len(entries) {
				w.Errorf("%s has %d entries, want %d", stream, len(got), len(entries))
				continue
			}
			for i := range got {
				if !slices.Equal(got[i], entries[i]) {
					w.Errorf("%s entry %d is %q, want %q", stream, i, got[i], entries[i])
				}
			}
		}
	})
}

// randomAdd has few streams, names and values, so that entries meet; more forms
// than are looked through; and values that are the message's id, or each other.
func randomAdd(random *rand.Rand, id string) delivery.Add {
	a := delivery.Add{Stream: fmt.Sprintf("s%d:tasks", random.IntN(3)), MaxLen: int64(random.IntN(2)) * 100_000}
	own := fmt.Sprint(random.IntN(3), "\xff\n")
	for i := range 1 + random.IntN(5) {
		value := []string{"", "the same", id, own, fmt.Sprint(random.IntN(2))}[random.IntN(5)]
		a.Fields = append(a.Fields, fmt.Sprint("f", i), value)
	}
	if random.IntN(4) == 0 {
		a.Fields[0] = fmt.Sprint("name", random.IntN(20))
	}
	return a
}

func TestAFormSaysOnceWhatIsCommon(t *testing.T) {
	t.Parallel()
	ids := []string{"1-0", "2-0", "3-0"}
	f := &forms{}
	for i := range ids {
		own := fmt.Sprint("own", i)
		f.add(&ids[i], []delivery.Add{{Stream: "s", Fields: []string{"id", ids[i], "same", "x", "own", own, "data", fmt.Sprint(i), "again", own}}})
	}
	if len(f.all) != 1 {
		t.Fatalf("%d forms, want one", len(f.all))
	}
	form := f.all[0]
	form.settle()
	if want := []hole{{at: 2}, {at: 6, value: 1}, {at: 8, value: 2}, {at: 10, value: 1}}; !slices.Equal(form.holes, want) {
		t.Errorf("holes %v, want %v", form.holes, want)
	}
	if want := []int{5, 7}; !slices.Equal(form.values, want) {
		t.Errorf("an entry sends the values at %v, want %v", form.values, want)
	}
}
