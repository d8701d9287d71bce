//go:build accept

package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/host/hosttest"
	"github.com/fnhost/fnhost/host/stream"
	"github.com/fnhost/fnhost/host/topology"
)

// What the acceptance demands; docs/acceptance.md says why.
const (
	wantDocuments = 5183
	wantQueries   = 300
	leastNDCG     = 0.67
	leastRecall   = 0.91
	rankingDepth  = 100
)

// TestAcceptSciFact sends a public collection with relevance judgements through
// the streams: every document is ingested, every claim is asked, every ranking
// is persisted; the figures are computed from what persist gives back.
func TestAcceptSciFact(t *testing.T) {
	a := newAcceptance(t)
	data := filepath.Join(os.Getenv("TESTDATA"), "scifact")

	began := time.Now()
	documents := readCorpus(t, filepath.Join(data, "corpus.jsonl.gz"))
	a.do("rag", documents, func(int, call.Result) {})
	t.Logf("%d documents ingested in %v", len(documents), time.Since(began).Round(time.Millisecond))

	began = time.Now()
	queries := readLines[text](t, open(t, filepath.Join(data, "queries.jsonl")))
	asks := make([]call.Task, len(queries))
	for i, q := range queries {
		asks[i] = task(t, "rag.query", map[string]any{"query_id": q.ID, "collection": "scifact", "query": q.Text, "top_k": rankingDepth, "hit_text": false})
	}
	writes := make([]call.Task, len(queries))
	a.do("rag", asks, func(i int, r call.Result) {
		writes[i] = task(t, "persist.write", map[string]any{"collection": "rankings",
			"records": []any{map[string]any{"key": queries[i].ID, "doc": map[string]any{"documents": documentsOf(t, r.Data)}}}})
	})
	t.Logf("%d queries answered in %v", len(asks), time.Since(began).Round(time.Millisecond))
	a.do("persist", writes, func(int, call.Result) {})

	rankings := a.rankings()
	ndcg, recall := judge(t, rankings, filepath.Join(data, "qrels.tsv"))
	stored := a.documents()
	t.Logf("nDCG@10 %.4f, R@100 %.4f; %d documents, %d persisted rankings", ndcg, recall, stored, len(rankings))
	if ndcg < leastNDCG || recall < leastRecall {
		t.Errorf("nDCG@10 %.4f and R@100 %.4f, want at least %v and %v", ndcg, recall, leastNDCG, leastRecall)
	}
	if stored != wantDocuments || len(rankings) != wantQueries {
		t.Errorf("%d documents and %d records, want exactly %d and %d", stored, len(rankings), wantDocuments, wantQueries)
	}
	a.nothingLeft()
}

// acceptance is a host of its own with rag and persist on a Redis of its own.
type acceptance struct {
	t     *testing.T
	redis *stream.Client
	topo  *topology.Topology
}

func newAcceptance(t *testing.T) *acceptance {
	server := hosttest.Redis(t)
	client, err := stream.Open(stream.Options{URL: server.URL(), Namespace: "accept"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	topo, err := topology.New(topology.Standard())
	if err != nil {
		t.Fatal(err)
	}
	serve(t, server.URL())
	return &acceptance{t: t, redis: client, topo: topo}
}

// serve runs the built host until the test ends, and demands that it drains and
// exits with 0 then.
func serve(t *testing.T, url string) {
	const metrics = "127.0.0.1:19401"
	cmd := exec.Command("../../bin/fnhost", "serve", "--plugins", "../../bin/plugins")
	cmd.Env = append(os.Environ(), "REDIS_URL="+url, "REDIS_NAMESPACE=accept", "FNHOST_STATE_DIR="+t.TempDir(),
		"FNHOST_METRICS_ADDR="+metrics, "FNHOST_LOG_LEVEL=warn", "FNHOST_LOG_FORMAT=text")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting the host, which `make build` builds: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the host ended with %v", err)
		}
		if log.Len() > 0 {
			t.Logf("the host logged:\n%s", log.String())
		}
	})
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get("http://" + metrics + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	t.Fatalf("the host was not ready in 30 s:\n%s", log.String())
}

// do sends tasks to a role and demands a result of each; each is told of them.
func (a *acceptance) do(role string, tasks []call.Task, each func(i int, r call.Result)) {
	a.t.Helper()
	played, _ := a.topo.Role(role)
	ctx, cancel := context.WithTimeout(a.t.Context(), 5*time.Minute)
	defer cancel()
	err := call.Do(ctx, a.redis, played.Subscriptions[0], tasks, func(i int, _ call.Published, r call.Result) error {
		if err := r.Err(); err != nil {
			return fmt.Errorf("%s of %.200s: %w", tasks[i].Type, tasks[i].Data, err)
		}
		each(i, r)
		return nil
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// one asks for one thing.
func (a *acceptance) one(role, kind string, in, out any) {
	a.t.Helper()
	a.do(role, []call.Task{task(a.t, kind, in)}, func(_ int, r call.Result) {
		if err := json.Unmarshal([]byte(r.Data), out); err != nil {
			a.t.Fatalf("%s answered %.200s: %v", kind, r.Data, err)
		}
	})
}

// rankings are the persisted rows, by query.
func (a *acceptance) rankings() map[string][]string {
	a.t.Helper()
	all := map[string][]string{}
	for cursor := ""; ; {
		var page struct {
			Records []struct {
				Key string
				Doc struct{ Documents []string }
			}
			Next string
		}
		in := map[string]any{"collection": "rankings", "limit": 100}
		if cursor != "" {
			in["cursor"] = cursor
		}
		a.one("persist", "persist.query", in, &page)
		for _, r := range page.Records {
			all[r.Key] = r.Doc.Documents
		}
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

func (a *acceptance) documents() int {
	a.t.Helper()
	var stats struct{ Documents int }
	a.one("rag", "rag.stats", map[string]any{"collection": "scifact"}, &stats)
	return stats.Documents
}

// nothingLeft demands that every message was acknowledged and none dead-lettered.
func (a *acceptance) nothingLeft() {
	a.t.Helper()
	for _, name := range []string{"rag", "persist"} {
		role, _ := a.topo.Role(name)
		sub := role.Subscriptions[0]
		status, err := a.redis.GroupStatus(a.t.Context(), sub.Stream, sub.Group)
		if err != nil || status.Pending != 0 {
			a.t.Errorf("%s: %d pending (error %v), want none", sub.Stream, status.Pending, err)
		}
		if letters, err := a.redis.Len(a.t.Context(), role.DLQ); err != nil || letters != 0 {
			a.t.Errorf("%s: %d dead letters (error %v), want none", role.DLQ, letters, err)
		}
	}
}

// judge computes nDCG@10 with binary gain, and the recall at the ranking's depth,
// both averaged over the judged queries, as trec_eval does.
func judge(t *testing.T, rankings map[string][]string, file string) (ndcg, recall float64) {
	relevant := map[string]map[string]bool{}
	lines := bufio.NewScanner(open(t, file))
	for lines.Scan() {
		f := strings.Split(lines.Text(), "\t")
		if score, err := strconv.Atoi(f[2]); err != nil || score <= 0 {
			continue // the heading, or judged not relevant
		}
		if relevant[f[0]] == nil {
			relevant[f[0]] = map[string]bool{}
		}
		relevant[f[0]][f[1]] = true
	}
	for query, wanted := range relevant {
		gain, ideal, found := 0.0, 0.0, 0.0
		for i, id := range rankings[query] {
			if wanted[id] {
				found++
				if i < 10 {
					gain += 1 / math.Log2(float64(i)+2)
				}
			}
		}
		for i := range min(len(wanted), 10) {
			ideal += 1 / math.Log2(float64(i)+2)
		}
		ndcg += gain / ideal
		recall += found / float64(len(wanted))
	}
	n := float64(len(relevant))
	return ndcg / n, recall / n
}

type text struct {
	ID    string `json:"_id"`
	Title string `json:"title"`
	Text  string `json:"text"`
}

func readCorpus(t *testing.T, file string) (tasks []call.Task) {
	unzipped, err := gzip.NewReader(open(t, file))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range readLines[text](t, unzipped) {
		tasks = append(tasks, task(t, "rag.ingest", map[string]any{"collection": "scifact", "doc_id": d.ID, "title": d.Title, "text": d.Text, "media_type": "text/plain"}))
	}
	return tasks
}

func documentsOf(t *testing.T, data string) []string {
	var answer struct {
		Hits []struct {
			DocID string `json:"doc_id"`
		}
	}
	if err := json.Unmarshal([]byte(data), &answer); err != nil {
		t.Fatalf("rag.query answered %.200s: %v", data, err)
	}
	ids := make([]string, len(answer.Hits))
	for i, hit := range answer.Hits {
		ids[i] = hit.DocID
	}
	return ids
}

func task(t *testing.T, kind string, data any) call.Task {
	encoded, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return call.Task{Type: kind, Data: encoded}
}

func open(t *testing.T, file string) io.Reader {
	f, err := os.Open(file)
	if err != nil {
		t.Fatalf("TESTDATA: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func readLines[T any](t *testing.T, from io.Reader) (all []T) {
	for d := json.NewDecoder(from); d.More(); {
		var v T
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}
