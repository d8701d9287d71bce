//go:build accept

package index_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fnhost/fnhost/plugins/rag/internal/index"
	"github.com/fnhost/fnhost/plugins/rag/internal/text"
)

// TestAcceptIndex measures ranking on a public collection with relevance judgements;
// see docs/acceptance.md for its layout. TESTDATA names the folder above it.
func TestAcceptIndex(t *testing.T) {
	dir := filepath.Join(os.Getenv("TESTDATA"), "scifact")
	x := open(t)
	began := time.Now()
	n := ingestSciFact(t, x, dir)
	t.Logf("%d documents in %v", n, time.Since(began).Round(time.Millisecond))

	relevant := readQrels(t, filepath.Join(dir, "qrels.tsv"))
	var ndcg, recall float64
	began = time.Now()
	for line := range jsonLines(t, openFile(t, filepath.Join(dir, "queries.jsonl"))) {
		hits, err := x.Search(t.Context(), index.Query{Collection: "scifact", Terms: index.Terms(line.Text), Limit: 100, Documents: true})
		if err != nil {
			t.Fatal(err)
		}
		ndcg += ndcgAt10(hits, relevant[line.ID])
		recall += recallOf(hits, relevant[line.ID])
	}
	queries := float64(len(relevant))
	ndcg, recall = ndcg/queries, recall/queries
	t.Logf("%v queries: nDCG@10 %.4f, R@100 %.4f, %v a query", queries, ndcg, recall, time.Since(began)/time.Duration(queries))
	if ndcg < 0.67 || recall < 0.91 {
		t.Errorf("nDCG@10 %.4f and R@100 %.4f, want at least 0.67 and 0.91", ndcg, recall)
	}
}

func ingestSciFact(t *testing.T, x *index.Index, dir string) int {
	unzipped, err := gzip.NewReader(openFile(t, filepath.Join(dir, "corpus.jsonl.gz")))
	if err != nil {
		t.Fatal(err)
	}
	chunker := text.Chunker{Size: 256, Overlap: 32}
	documents := jsonLines(t, unzipped)
	var wg sync.WaitGroup
	n := 0
	work := make(chan record)
	for range 64 {
		wg.Go(func() {
			for d := range work {
				doc, err := text.Load(text.Plain, []byte(d.Text))
				if err == nil {
					_, err = x.Put(t.Context(), index.Document{Collection: "scifact", ID: d.ID,
						Header: index.Header{Title: d.Title, Metadata: "{}"}, Chunks: chunker.Split(doc)})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for d := range documents {
		work <- d
		n++
	}
	close(work)
	wg.Wait()
	return n
}

type record struct {
	ID    string `json:"_id"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

func openFile(t *testing.T, path string) *os.File {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func jsonLines(t *testing.T, r io.Reader) func(func(record) bool) {
	return func(yield func(record) bool) {
		d := json.NewDecoder(r)
		for {
			var v record
			switch err := d.Decode(&v); {
			case err == io.EOF:
				return
			case err != nil:
				t.Fatal(err)
			}
			if !yield(v) {
				return
			}
		}
	}
}

func readQrels(t *testing.T, path string) map[string]map[string]bool {
	relevant := map[string]map[string]bool{}
	lines := bufio.NewScanner(openFile(t, path))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if score, err := strconv.Atoi(f[len(f)-1]); err != nil || score < 1 {
			continue // the heading
		}
		if relevant[f[0]] == nil {
			relevant[f[0]] = map[string]bool{}
		}
		relevant[f[0]][f[1]] = true
	}
	return relevant
}

func ndcgAt10(hits []index.Hit, relevant map[string]bool) float64 {
	var gain, ideal float64
	for i := range min(10, len(hits)) {
		if relevant[hits[i].DocID] {
			gain += 1 / math.Log2(float64(i+2))
		}
	}
	for i := range min(10, len(relevant)) {
		ideal += 1 / math.Log2(float64(i+2))
	}
	return gain / ideal
}

func recallOf(hits []index.Hit, relevant map[string]bool) float64 {
	n := 0
	for _, h := range hits {
		if relevant[h.DocID] {
			n++
		}
	}
	return float64(n) / float64(len(relevant))
}
