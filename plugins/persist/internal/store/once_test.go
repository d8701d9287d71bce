package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
)

const one = `{"collection":"c","records":[{"key":"a","doc":{"n":1}}]}`

func TestRedeliveryGivesTheFirstAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const answer = `{"written":1,"inserted":1,"updated":0,"unchanged":0,"versions":{"a":1},"errors":[],"duplicate":%t}`
	f.is("first", f.write("m", one), fmt.Sprintf(answer, false))
	f.is("answer lost", f.write("m", one), fmt.Sprintf(answer, true))
	f.reopen()
	f.is("after a crash", f.write("m", one), fmt.Sprintf(answer, true))
	f.write("other", `{"collection":"c","records":[{"key":"a","doc":{"n":2}}]}`)
	f.is("overtaken", f.write("m", one), fmt.Sprintf(answer, true))
	f.docIs("a", `{"n":2}@2`)
	f.delete("d", "a")
	f.is("deleted since", f.write("m", one), fmt.Sprintf(answer, true))
	f.docIs("a", "none")
}

func TestRedeliveryOfARefusal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const data = `{"collection":"c","records":[{"key":"a","doc":1,"if_version":1}]}`
	first := f.write("m", data)
	f.write("other", `{"collection":"c","records":[{"key":"a","doc":0}]}`)
	again := f.write("m", data) // would succeed now
	first.Duplicate = true
	if fmt.Sprint(first) != fmt.Sprint(again) {
		t.Errorf("answers differ: %+v and %+v", first, again)
	}
	f.docIs("a", "0@1")
}

func TestRedeliveryOfADelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("1", one)
	f.is("first", f.delete("d", "a", "b"), `{"deleted":1,"missing":1,"duplicate":false}`)
	f.write("2", one)
	f.reopen()
	f.is("again", f.delete("d", "a", "b"), `{"deleted":1,"missing":1,"duplicate":true}`)
	if f.doc("a") == "none" {
		t.Error("the redelivery deleted what was written since")
	}
}

// What did not commit leaves nothing: not the records without the inbox row, not
// the row without the records.
func TestCrashBeforeTheCommit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.writer
	broken := &job{ctx: t.Context(), task: NewTask("s", "", "m", "t", nil), done: make(chan struct{}), apply: func(s *session) (outcome, error) {
		if _, err := s.write(Task{id: "m"}, contract.Write{Collection: "c"}, []record{{key: "a", doc: nil, text: "null"}}, time.Now()); err != nil {
			return nil, err
		}
		_, err := s.conn.ExecContext(context.Background(), "ROLLBACK") // as SQLite does when the disk is full
		return newWritten(), errors.Join(errors.New("disk full"), err)
	}}
	err := w.do(t.Context(), broken)
	if err == nil || !strings.Contains(err.Error(), "writing to the database") || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("error %v, want that of the transaction and its cause", err)
	}
	f.reopen()
	f.docIs("a", "none")
	if n := f.count(`SELECT count(*) FROM inbox`); n != 0 {
		t.Errorf("%d inbox rows, want none", n)
	}
	if got := f.write("m2", one); got.Inserted != 1 {
		t.Errorf("the next write: %+v", got)
	}
}

func TestFailingJobSparesTheOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	boom := errors.New("boom")
	work := func(key string, err error) *job {
		task := NewTask("s", "", key, "t", nil)
		return &job{ctx: t.Context(), task: task, done: make(chan struct{}), apply: func(s *session) (outcome, error) {
			answer, writeErr := s.write(task, contract.Write{Collection: "c"}, []record{{key: key, text: "null"}}, time.Now())
			return answer, errors.Join(writeErr, err)
		}}
	}
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("lease lost"))
	batch := []*job{work("a", nil), work("b", boom), work("c", nil), work("d", nil)}
	batch[3].ctx = gone
	onLoop(t, f, func() { f.writer.commit(batch) })
	if batch[0].err != nil || !errors.Is(batch[1].err, boom) || batch[2].err != nil || batch[3].err == nil {
		t.Errorf("errors %v, %v, %v, %v", batch[0].err, batch[1].err, batch[2].err, batch[3].err)
	}
	for key, want := range map[string]string{"a": "null@1", "b": "none", "c": "null@1", "d": "none"} {
		f.docIs(key, want)
	}
	if n := f.count(`SELECT count(*) FROM inbox`); n != 2 {
		t.Errorf("%d inbox rows, want those of the two that were written", n)
	}
}

func TestSameIDWithOtherContentIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.write("m", one)
	_, err := f.tryWrite("m", `{"collection":"c","records":[{"key":"a","doc":{"n":2}}]}`)
	var refused *contract.RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), `["persist:tasks","/test","m"]`) {
		t.Errorf("error %v, want a refusal that names the task", err)
	}
	f.docIs("a", `{"n":1}@1`)
}

func TestProducersDoNotCollide(t *testing.T) {
	t.Parallel()
	seen := map[Task]bool{}
	for _, s := range [][3]string{
		{"s", "/a", "1"}, {"s", "/b", "1"}, {"s2", "/a", "1"}, {"s", "", "/a1"}, {"s", "/a1", ""}, {"s", `/a","1`, ""}, {"s", "/a\x001", ""},
	} {
		task := NewTask(s[0], s[1], s[2], "t", nil)
		task.digest = [32]byte{}
		if seen[task] {
			t.Errorf("%q collides", s)
		}
		seen[task] = true
	}
	if NewTask("s", "", "1", "ab", []byte("c")) == NewTask("s", "", "1", "a", []byte("bc")) {
		t.Error("the type is not told from the data")
	}
}

func TestSameMessageAtTheSameTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	answers := make([]contract.Written, 32)
	parallel(len(answers), func(i int) { answers[i], _ = f.tryWrite("m", one) })
	firsts := 0
	for _, a := range answers {
		if !a.Duplicate {
			firsts++
		}
		if a.Versions["a"] != 1 {
			t.Errorf("answer %+v", a)
		}
	}
	if firsts != 1 {
		t.Errorf("%d answers are not a duplicate's, want 1", firsts)
	}
}

func TestManyWritersCountExactly(t *testing.T) {
	t.Parallel()
	const workers, each = 64, 25
	f := newFixture(t)
	parallel(workers, func(w int) {
		for i := range each {
			own := fmt.Sprintf(`{"collection":"c","records":[{"key":"%d-%d","doc":{"w":%d}},{"key":"all","doc":{"w":%d,"i":%d}}]}`, w, i, w, w, i)
			if got, err := f.tryWrite(fmt.Sprintf("%d-%d", w, i), own); err != nil || got.Written != 2 {
				t.Errorf("answer %+v, %v", got, err)
			}
		}
	})
	if n := f.count(`SELECT count(*) FROM records`); n != workers*each+1 {
		t.Errorf("%d records, want %d", n, workers*each+1)
	}
	if n := f.count(`SELECT count(*) FROM inbox`); n != workers*each {
		t.Errorf("%d inbox rows, want %d", n, workers*each)
	}
	if v := f.get("all").Records[0].Version; v != workers*each {
		t.Errorf("the shared key is at version %d, want one for each write: %d", v, workers*each)
	}
}

// Two processes, the old and the new one of a swap, write the same database.
func TestTwoStoresOnOneDatabase(t *testing.T) {
	t.Parallel()
	a := newFixture(t)
	b := &fixture{tb: t, path: a.path}
	b.open()
	t.Cleanup(b.close)
	parallel(8, func(w int) {
		f := []*fixture{a, b}[w%2]
		for i := range 20 {
			data := fmt.Sprintf(`{"collection":"c","records":[{"key":"k","doc":%d}]}`, w*1000+i)
			if _, err := f.tryWrite(fmt.Sprintf("%d-%d", w, i), data); err != nil {
				t.Error(err)
			}
		}
	})
	if v := a.get("k").Records[0].Version; v != 160 {
		t.Errorf("version %d, want 160", v)
	}
	a.write("shared", one)
	if got := b.write("shared", one); !got.Duplicate {
		t.Errorf("the other store did not know the message: %+v", got)
	}
}

func TestInboxIsPrunedByAge(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	old := 2*maxPruned + 10
	parallel(64, func(w int) {
		for i := w; i < old; i += 64 {
			if _, err := f.tryWrite(fmt.Sprint(i), fmt.Sprintf(`{"collection":"c","records":[{"key":"k%d","doc":1}]}`, i)); err != nil {
				t.Error(err)
			}
		}
	})
	f.advance(59 * time.Minute)
	f.write("young", one)
	f.advance(2 * time.Minute) // the old ones are 61 minutes old, young is 2
	for step, want := range []int{old + 1 - maxPruned, old + 1 - 2*maxPruned, 1} {
		onLoop(t, f, func() { f.writer.commit(nil) })
		if n := f.count(`SELECT count(*) FROM inbox`); n != want {
			t.Errorf("step %d: %d inbox rows, want %d", step, n, want)
		}
	}
	if got := f.write("young", one); !got.Duplicate {
		t.Errorf("a row younger than the retention is gone: %+v", got)
	}
	if n := f.count(`SELECT count(*) FROM records`); n != old+1 {
		t.Errorf("pruning the inbox left %d records of %d", n, old+1)
	}
}

// onLoop runs fn in the place of the writer's loop, between two transactions.
func onLoop(t *testing.T, f *fixture, fn func()) {
	t.Helper()
	w := f.writer
	close(w.closing)
	select {
	case <-w.stopped:
	case <-time.After(time.Minute):
		t.Fatal("the writer does not stop")
	}
	fn()
	w.closing, w.stopped = make(chan struct{}), make(chan struct{})
	go w.loop()
}

func TestWriteAfterClose(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := f.Store
	f.close()
	_, err := s.Write(t.Context(), NewTask("s", "", "m", "t", nil), contract.Write{Collection: "c"})
	if !errors.Is(err, ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
	f.open()
}

func TestWriteWhoseTimeIsOver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("handler timeout")
	cancel(late)
	for range 20 { // either side of the hand-over may see it first
		_, err := f.Write(ctx, NewTask("s", "", f.fresh(), "t", nil), contract.Write{Collection: "c", Records: []contract.Record{{Key: "a", Doc: []byte("1")}}})
		if !errors.Is(err, late) {
			t.Errorf("error %v, want the context's cause", err)
		}
	}
}

func TestDatabaseOfANewerPlugin(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.close()
	db, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "#", "%23", "?", "%3f").Replace(f.path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), f.path, Options{})
	if err == nil || !strings.Contains(err.Error(), "schema is version 99 and this plugin knows up to 1") {
		t.Errorf("error %v", err)
	}
	if _, err := db.Exec("PRAGMA user_version = 1"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f.open()
}

func TestFileThatIsNoDatabase(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), "once_test.go", Options{})
	if err == nil || !strings.Contains(err.Error(), "once_test.go") {
		t.Errorf("error %v, want one that names the file", err)
	}
	if _, err := Open(t.Context(), t.TempDir()+"/no/such/dir/x.db", Options{}); err == nil {
		t.Error("a directory that is missing was accepted")
	}
}
