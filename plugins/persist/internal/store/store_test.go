package store

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/plugins/persist/internal/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a store with the words of the tests; its messages are JSON, as on the
// stream.
type fixture struct {
	*Store
	tb   testing.TB
	path string
	now  atomic.Int64 // the store's clock, unix milliseconds
	last atomic.Int64 // for message ids that are new
}

func newFixture(tb testing.TB) *fixture {
	tb.Helper()
	f := &fixture{tb: tb, path: filepath.Join(tb.TempDir(), "odd name#1?%.db")}
	f.now.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixMilli())
	f.open()
	tb.Cleanup(f.close)
	return f
}

func (f *fixture) open() {
	f.tb.Helper()
	s, err := Open(context.Background(), f.path, Options{
		InboxRetention: time.Hour,
		Now:            func() time.Time { return time.UnixMilli(f.now.Load()) },
	})
	if err != nil {
		f.tb.Fatal(err)
	}
	f.Store = s
}

func (f *fixture) close() {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := f.Close(ctx); err != nil {
		f.tb.Error(err)
	}
}

// reopen is a crash between a commit and its answer, seen from outside.
func (f *fixture) reopen() {
	f.tb.Helper()
	f.close()
	f.open()
}

func (f *fixture) advance(d time.Duration) { f.now.Add(d.Milliseconds()) }

func (f *fixture) fresh() string { return fmt.Sprintf("fresh-%d", f.last.Add(1)) }

func (f *fixture) write(id, data string) contract.Written {
	f.tb.Helper()
	answer, err := f.tryWrite(id, data)
	if err != nil {
		f.tb.Fatalf("write %s: %v", data, err)
	}
	return answer
}

func (f *fixture) tryWrite(id, data string) (contract.Written, error) {
	var w contract.Write
	if err := json.Unmarshal([]byte(data), &w); err != nil {
		return contract.Written{}, err
	}
	if err := w.Validate(); err != nil {
		return contract.Written{}, err
	}
	return f.Write(f.tb.Context(), NewTask("persist:tasks", "/test", id, contract.TypeWrite, []byte(data)), w)
}

func (f *fixture) delete(id string, keys ...string) contract.Deleted {
	f.tb.Helper()
	d := contract.Delete{Collection: "c", Keys: keys}
	answer, err := f.Delete(f.tb.Context(), NewTask("persist:tasks", "/test", id, contract.TypeDelete, fmt.Append(nil, keys)), d)
	if err != nil {
		f.tb.Fatalf("delete %q: %v", keys, err)
	}
	return answer
}

func (f *fixture) get(keys ...string) contract.Got {
	f.tb.Helper()
	answer, err := f.Get(f.tb.Context(), contract.Get{Collection: "c", Keys: keys})
	if err != nil {
		f.tb.Fatalf("get %q: %v", keys, err)
	}
	return answer
}

func (f *fixture) query(q contract.Query) contract.Page {
	f.tb.Helper()
	q.Collection = "c"
	page, err := f.Query(f.tb.Context(), q)
	if err != nil {
		f.tb.Fatalf("query %+v: %v", q, err)
	}
	return page
}

// is compares an answer with the JSON that its reader would see.
func (f *fixture) is(what string, got any, want string) {
	f.tb.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		f.tb.Fatal(err)
	}
	if string(text) != want {
		f.tb.Errorf("%s:\n got %s\nwant %s", what, text, want)
	}
}

// doc is "<document>@<version>", or "none".
func (f *fixture) doc(key string) string {
	f.tb.Helper()
	for _, r := range f.get(key).Records {
		return fmt.Sprintf("%s@%d", r.Doc, r.Version)
	}
	return "none"
}

func (f *fixture) docIs(key, want string) {
	f.tb.Helper()
	if got := f.doc(key); got != want {
		f.tb.Errorf("%s is %s, want %s", key, got, want)
	}
}

func (f *fixture) count(sql string) (n int) {
	f.tb.Helper()
	if err := f.readers.QueryRow(sql).Scan(&n); err != nil {
		f.tb.Fatal(err)
	}
	return n
}

// parallel runs fn on n goroutines and waits for them.
func parallel(n int, fn func(worker int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}
