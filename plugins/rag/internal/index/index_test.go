package index_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/plugins/rag/internal/index"
	"github.com/fnhost/fnhost/plugins/rag/internal/text"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *index.Index { return openAt(t, filepath.Join(t.TempDir(), "rag.db")) }

func openAt(t *testing.T, path string) *index.Index {
	t.Helper()
	x, err := index.Open(t.Context(), path, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

// document has one chunk for each text.
func document(collection, id string, texts ...string) index.Document {
	d := index.Document{Collection: collection, ID: id, Header: index.Header{Metadata: "{}", ContentHash: strings.Join(texts, "|")}}
	for i, s := range texts {
		d.Chunks = append(d.Chunks, text.Chunk{Section: fmt.Sprint("s", i), Text: s, End: len(s), Tokens: text.Tokens(s)})
	}
	return d
}

func put(t *testing.T, x *index.Index, d index.Document) bool {
	t.Helper()
	changed, err := x.Put(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func search(t *testing.T, x *index.Index, q index.Query) []index.Hit {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 10
	}
	if q.Collection == "" {
		q.Collection = "c"
	}
	hits, err := x.Search(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return hits
}

// ids gives the chunks found, best first.
func ids(hits []index.Hit) []string {
	all := []string{}
	for _, h := range hits {
		all = append(all, h.ChunkID)
	}
	return all
}

func wantIDs(t *testing.T, hits []index.Hit, want ...string) {
	t.Helper()
	if got := ids(hits); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestPutReplacesTheWholeDocument(t *testing.T) {
	t.Parallel()
	x := open(t)
	if !put(t, x, document("c", "d", "apples grow", "pears grow")) {
		t.Error("a new document is unchanged")
	}
	if put(t, x, document("c", "d", "apples grow", "pears grow")) {
		t.Error("the same document is changed")
	}
	if !put(t, x, document("c", "d", "plums grow")) {
		t.Error("another content is unchanged")
	}
	wantIDs(t, search(t, x, index.Query{Terms: index.Terms("apples or pears")}))
	wantIDs(t, search(t, x, index.Query{Terms: index.Terms("plum")}), "d#0000")
	s, err := x.Stats(t.Context(), "c")
	if err != nil || s.Documents != 1 || s.Chunks != 1 || s.Terms != 3 || s.SizeBytes == 0 { // plum, grow, s0
		t.Errorf("stats %+v, %v", s, err)
	}
}

func TestDeleteRemovesTheDocument(t *testing.T) {
	t.Parallel()
	x := open(t)
	put(t, x, document("c", "d", "apples", "pears"))
	put(t, x, document("c", "e", "apples"))
	for _, want := range []int{2, 0} {
		if n, err := x.Delete(t.Context(), "c", "d"); n != want || err != nil {
			t.Errorf("deleted %d chunks, %v; want %d", n, err, want)
		}
	}
	wantIDs(t, search(t, x, index.Query{Terms: []string{"apples"}}), "e#0000")
	if _, _, found, err := x.Find(t.Context(), "c", "d"); found || err != nil {
		t.Errorf("the deleted document is found: %v, %v", found, err)
	}
}

func TestEmptyDocumentIsStored(t *testing.T) {
	t.Parallel()
	x := open(t)
	put(t, x, document("c", "empty"))
	if _, n, found, err := x.Find(t.Context(), "c", "empty"); !found || n.Chunks != 0 || err != nil {
		t.Errorf("found %v with %d chunks, %v", found, n.Chunks, err)
	}
	if put(t, x, document("c", "empty")) {
		t.Error("the same empty document is changed")
	}
}

func TestCollectionsAreApart(t *testing.T) {
	t.Parallel()
	x := open(t)
	put(t, x, document("c", "d", "an apple a day"))
	before := search(t, x, index.Query{Terms: []string{"apple"}})
	for i := range 20 {
		put(t, x, document("other", fmt.Sprint(i), "apple apple"))
	}
	after := search(t, x, index.Query{Terms: []string{"apple"}})
	wantIDs(t, after, "d#0000")
	if after[0].Score != before[0].Score {
		t.Errorf("another collection changed the score from %v to %v", before[0].Score, after[0].Score)
	}
	wantIDs(t, search(t, x, index.Query{Collection: "missing", Terms: []string{"apple"}}))
}

func TestSearchRanksAndGroups(t *testing.T) {
	t.Parallel()
	x := open(t)
	put(t, x, document("c", "a", "a long text of many words with one apple among them all", "apple apple apple"))
	put(t, x, document("c", "b", "apple apple pie"))
	put(t, x, document("c", "z", "nothing of the kind"))
	put(t, x, document("c", "y", "nor here"))
	all := search(t, x, index.Query{Terms: []string{"apple"}})
	wantIDs(t, all, "a#0001", "b#0000", "a#0000")
	for i, h := range all {
		if h.Score <= 0 || i > 0 && h.Score > all[i-1].Score {
			t.Errorf("the scores are not positive and falling: %v", all)
		}
	}
	wantIDs(t, search(t, x, index.Query{Terms: []string{"apple"}, Documents: true}), "a#0001", "b#0000")
	wantIDs(t, search(t, x, index.Query{Terms: []string{"apple"}, Documents: true, Limit: 1}), "a#0001")
	wantIDs(t, search(t, x, index.Query{Terms: []string{"apple"}, MinScore: all[1].Score}), "a#0001", "b#0000")
}

func TestSearchFindsTitlesAndSections(t *testing.T) {
	t.Parallel()
	x := open(t)
	d := document("c", "d", "nothing")
	d.Title = "Gardening"
	d.Chunks[0].Section = "Trees > Fruit"
	put(t, x, d)
	for _, q := range []string{"gardens", "fruits", "tree"} {
		hits := search(t, x, index.Query{Terms: index.Terms(q)})
		if len(hits) != 1 || hits[0].Title != "Gardening" || hits[0].Chunk.Section != "Trees > Fruit" {
			t.Errorf("%s: %+v", q, hits)
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	x := open(t)
	d := document("c", "d", "apple")
	d.Metadata = `{"n":1,"big":9007199254740993,"s":"it's \"x\"","b":true,"nil":null,"list":["x"]}`
	put(t, x, d)
	for filter, want := range map[string]bool{
		`{"n":1}`: true, `{"n":1.0}`: true, `{"n":2}`: false, `{"n":"1"}`: false,
		`{"big":9007199254740993}`: true, `{"big":9007199254740992}`: false,
		`{"s":"it's \"x\""}`: true, `{"s":"x"}`: false, `{"b":true}`: true, `{"b":false}`: false, `{"b":1}`: false,
		`{"nil":null}`: true, `{"absent":null}`: true, `{"absent":"x"}`: false, `{"list":"x"}`: false,
		`{"n":1,"b":true}`: true, `{"n":1,"b":false}`: false, `{}`: true,
	} {
		hits := search(t, x, index.Query{Terms: []string{"apple"}, Filter: decodeFilter(t, filter)})
		if got := len(hits) == 1; got != want {
			t.Errorf("filter %s: found %v, want %v", filter, got, want)
		}
	}
	for _, filter := range []string{`{"list":["x"]}`, `{"n":{"$gt":1}}`} {
		if index.CheckFilter(decodeFilter(t, filter)) == nil {
			t.Errorf("filter %s is accepted", filter)
		}
	}
}

func decodeFilter(t *testing.T, s string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var filter map[string]any
	if err := d.Decode(&filter); err != nil {
		t.Fatal(err)
	}
	return filter
}

func TestTerms(t *testing.T) {
	for query, want := range map[string]string{
		"What is the BM25 score?":  "what bm25 score",
		"to be, or not to be":      "to be or not",
		"Ünïcode naïve":            "ünïcode naïve",
		`"a" OR b*) NEAR(c`:        "b near c",
		"cats cats Cats":           "cats",
		" ?! ":                     "",
		"x' ; DROP TABLE chunks--": "x drop table chunks",
	} {
		if got := strings.Join(index.Terms(query), " "); got != want {
			t.Errorf("Terms(%q) = %q, want %q", query, got, want)
		}
	}
}

// TestQuerySyntaxIsText gives the query language's own signs and words as terms.
func TestQuerySyntaxIsText(t *testing.T) {
	t.Parallel()
	x := open(t)
	put(t, x, document("c", "d", "apple near pear"))
	for _, term := range []string{`"`, `""`, `a" OR "apple`, "NEAR", "AND", "NOT", "title:", "*", "^apple", "(", ")", "-", "'", "\x00", "{", "+"} {
		if _, err := x.Search(t.Context(), index.Query{Collection: "c", Terms: []string{term, "pear"}, Limit: 1}); err != nil {
			t.Errorf("term %q: %v", term, err)
		}
	}
	wantIDs(t, search(t, x, index.Query{Terms: []string{"title:", "NEAR"}}), "d#0000")
}

func TestSearchTakesVeryLongQueries(t *testing.T) {
	t.Parallel()
	x := open(t)
	put(t, x, document("c", "d", "apple"))
	terms := []string{"apple"}
	for i := range 1000 {
		terms = append(terms, fmt.Sprint("w", i))
	}
	wantIDs(t, search(t, x, index.Query{Terms: terms}), "d#0000")
}

func TestConcurrentWritesAllLand(t *testing.T) {
	t.Parallel()
	const writers, each = 16, 4
	x := open(t)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if _, err := x.Put(t.Context(), document("c", fmt.Sprintf("%d-%d", w, i), "apple", "pear")); err != nil {
					t.Error(err)
				}
				if _, err := x.Put(t.Context(), document("c", "shared", fmt.Sprint("by", w))); err != nil {
					t.Error(err)
				}
				if _, err := x.Search(t.Context(), index.Query{Collection: "c", Terms: []string{"apple"}, Limit: 3}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s, err := x.Stats(t.Context(), "c")
	if err != nil || s.Documents != writers*each+1 || s.Chunks != 2*writers*each+1 {
		t.Errorf("stats %+v, %v", s, err)
	}
	if hits := search(t, x, index.Query{Terms: []string{"apple"}, Limit: 1000}); len(hits) != writers*each {
		t.Errorf("%d chunks found, want %d", len(hits), writers*each)
	}
}

func TestFailedWriteLeavesTheOthers(t *testing.T) {
	t.Parallel()
	x := open(t)
	put(t, x, document("c", "d", "apple"))
	ended, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("lease lost")
	cancel(cause)
	if _, err := x.Put(ended, document("c", "d", "pear")); !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
	put(t, x, document("c", "e", "apple"))
	wantIDs(t, search(t, x, index.Query{Terms: []string{"pear"}}))
}

func TestIndexOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "with space?&#%.db")
	first := openAt(t, path)
	put(t, first, document("c", "d", "apple"))
	second := openAt(t, path) // as when a binary is swapped: both are open
	wantIDs(t, search(t, second, index.Query{Terms: []string{"apple"}}), "d#0000")
	put(t, second, document("c", "e", "apple"))
	if hits := search(t, first, index.Query{Terms: []string{"apple"}}); len(hits) != 2 {
		t.Errorf("the first process finds %q, want both documents", ids(hits))
	}
}

func TestClosedIndexRefusesWrites(t *testing.T) {
	t.Parallel()
	x, err := index.Open(t.Context(), filepath.Join(t.TempDir(), "rag.db"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Put(t.Context(), document("c", "d", "x")); !errors.Is(err, index.ErrClosed) {
		t.Errorf("error %v, want ErrClosed", err)
	}
}

func TestOpenSaysWhichFileIsAtFault(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing", "rag.db")
	if _, err := index.Open(t.Context(), path, 1); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

func TestFrequencies(t *testing.T) {
	t.Parallel()
	x := open(t)
	put(t, x, document("c", "d", "apples", "apple pie", "pear"))
	counts, chunks, err := x.Frequencies(t.Context(), "c", []string{"apple", "pear", "plum"})
	if err != nil || chunks != 3 || counts["apple"] != 2 || counts["pear"] != 1 || counts["plum"] != 0 {
		t.Errorf("%v of %d chunks, %v", counts, chunks, err)
	}
}
