//go:build accept

package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
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
	"github.com/fnhost/fnhost/cmd/fnhost/internal/campaign"
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
)

// sciFact is the workflow of the campaign. What it gives is what persist keeps.
const sciFact = `
document: {dsl: 1.0.3, namespace: accept, name: scifact, version: 1.0.0}
do:
  - ingest:
      for: {each: document, in: '${ $workflow.input.documents }'}
      metadata: {parallel: 32}
      do:
        - put:
            call: rag.ingest
            with: {collection: scifact, doc_id: '${ $document._id }', title: '${ $document.title }', text: '${ $document.text }', media_type: text/plain}
            output: {as: '${ .changed }'}
  - ask:
      for: {each: query, in: '${ $workflow.input.queries }'}
      metadata: {parallel: 32}
      do:
        - rank:
            call: rag.query
            with: {query_id: '${ $query._id }', collection: scifact, query: '${ $query.text }', top_k: 100, hit_text: false}
            output: {as: '${ [.hits[].doc_id] }'}
        - keep:
            call: persist.write
            with: {collection: rankings, records: [{key: '${ $query._id }', doc: {documents: '${ . }'}}]}
            output: {as: '${ .written }'}
output: {as: '${ add }'}
`

// TestAcceptSciFact runs a public collection with relevance judgements as a
// campaign: every document is ingested, every claim is asked, every ranking is
// persisted; the figures are computed from what persist gives back.
func TestAcceptSciFact(t *testing.T) {
	a := newAcceptance(t)
	a.sciFact()
}

// TestAcceptSciFactWhileHostsAreKilled is the same, and the same is demanded of
// it, while the host and its plugins are killed again and again.
func TestAcceptSciFactWhileHostsAreKilled(t *testing.T) {
	a := newAcceptance(t, "OPS_LEASE_TTL=2")
	stop, kills := make(chan struct{}), make(chan int)
	go func() { kills <- a.host.killAgainAndAgain(stop) }()
	a.sciFact(func() {
		close(stop)
		n := <-kills
		t.Logf("%d kills", n)
		if n < 5 {
			t.Errorf("%d kills before the campaign had ended, want at least 5: it proves nothing", n)
		}
	})
}

// sciFact runs the campaign, then what is to be done at its end, and judges.
func (a *acceptance) sciFact(after ...func()) {
	t := a.t
	data := filepath.Join(os.Getenv("TESTDATA"), "scifact")
	a.campaign(map[string]any{
		"documents": readCorpus(t, filepath.Join(data, "corpus.jsonl.gz")),
		"queries":   readLines[text](t, open(t, filepath.Join(data, "queries.jsonl"))),
	})

	for _, do := range after {
		do()
	}
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

// campaign runs the workflow on the input and demands that every task of it is
// done.
func (a *acceptance) campaign(in any) {
	a.t.Helper()
	var input bytes.Buffer
	e := json.NewEncoder(&input)
	e.SetEscapeHTML(false)
	if err := e.Encode(in); err != nil {
		a.t.Fatal(err)
	}
	cm, _ := a.topo.Role("cm")
	client := &campaign.Client{Log: a.redis, CM: cm.Subscriptions[0]}
	ctx, cancel := context.WithTimeout(a.t.Context(), 5*time.Minute)
	defer cancel()
	o, err := client.Run(ctx, campaign.Campaign{
		ID: "scifact", Name: "SciFact", Workflow: campaign.Workflow{YAML: sciFact}, Input: input.Bytes(),
	}, campaign.Lines(a.t.Output()))
	if err != nil {
		a.t.Fatal(err)
	}
	if err := o.Err(); err != nil {
		a.t.Fatal(err)
	}
	a.t.Logf("the campaign %s in %v: %+v", o.Status, time.Duration(o.DurationMs)*time.Millisecond, o.Counts)
	if want := (campaign.Counts{Total: wantDocuments + 2*wantQueries, Done: wantDocuments + 2*wantQueries}); o.Counts != want || string(o.Output) != fmt.Sprint(wantQueries) {
		a.t.Errorf("counts %+v and output %s, want exactly %+v and %d written", o.Counts, o.Output, want, wantQueries)
	}
}

// acceptance is a host of its own with all plugins on a Redis of its own.
type acceptance struct {
	t     *testing.T
	redis *stream.Client
	topo  *topology.Topology
	host  *hostProcess
}

func newAcceptance(t *testing.T, environ ...string) *acceptance {
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
	return &acceptance{t: t, redis: client, topo: topo, host: serve(t, append(environ, "REDIS_URL="+server.URL()))}
}

// hostProcess is a built host with the built plugins.
type hostProcess struct {
	t       *testing.T
	environ []string
	log     bytes.Buffer
	cmd     *exec.Cmd
}

// metrics is where the host of the acceptance tells how it is.
const metrics = "127.0.0.1:19401"

// serve runs a host until the test ends, and demands that it drains and exits
// with 0 then.
func serve(t *testing.T, environ []string) *hostProcess {
	h := &hostProcess{t: t, environ: append(os.Environ(), append(environ, "REDIS_NAMESPACE=accept", "FNHOST_STATE_DIR="+t.TempDir(),
		"FNHOST_METRICS_ADDR="+metrics, "FNHOST_LOG_LEVEL=warn", "FNHOST_LOG_FORMAT=text")...)}
	if err := h.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = h.cmd.Process.Signal(syscall.SIGTERM)
		if err := h.cmd.Wait(); err != nil {
			t.Errorf("the host ended with %v", err)
		}
		if t.Failed() {
			t.Logf("the host logged:\n%s", h.log.String())
		}
	})
	return h
}

// start starts the process and waits until it is ready.
func (h *hostProcess) start() error {
	h.cmd = exec.Command("../../bin/fnhost", "serve", "--plugins", "../../bin/plugins")
	h.cmd.Env, h.cmd.Stdout, h.cmd.Stderr = h.environ, &h.log, &h.log
	if err := h.cmd.Start(); err != nil {
		return fmt.Errorf("starting the host, which `make build` builds: %w", err)
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if resp, err := http.Get("http://" + metrics + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
	}
	return errors.New("the host was not ready in 30 s")
}

// killAgainAndAgain kills the host, or one of its plugins, every one to three
// seconds until it is told to stop, and gives how often it did. What it killed
// runs again.
func (h *hostProcess) killAgainAndAgain(stop <-chan struct{}) (kills int) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	h.t.Logf("kills are those of seed %d", seed)
	for ; ; kills++ {
		select {
		case <-stop:
			return kills
		case <-time.After(time.Second + time.Duration(random.Int64N(int64(2*time.Second)))):
		}
		if victims := h.plugins(); kills%2 == 1 && len(victims) > 0 {
			_ = syscall.Kill(victims[random.IntN(len(victims))], syscall.SIGKILL)
			continue
		}
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
		if err := h.start(); err != nil {
			h.t.Error(err)
			return kills
		}
	}
}

// plugins are the processes that the host has started, from whichever thread.
func (h *hostProcess) plugins() (pids []int) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", h.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		h.t.Errorf("looking for the host's children: %d files, %v", len(files), err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // a thread may have ended meanwhile
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// one asks a role for one thing.
func (a *acceptance) one(role, kind string, in, out any) {
	a.t.Helper()
	played, _ := a.topo.Role(role)
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	err := call.Do(ctx, a.redis, played.Subscriptions[0], []call.Task{task(a.t, kind, in)}, func(_ int, _ call.Published, r call.Result) error {
		if err := r.Err(); err != nil {
			return err
		}
		return json.Unmarshal([]byte(r.Data), out)
	})
	if err != nil {
		a.t.Fatalf("%s of %v: %v", kind, in, err)
	}
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
	for _, name := range []string{"cm", "orchestrator", "rag", "persist"} {
		role, _ := a.topo.Role(name)
		for _, sub := range role.Subscriptions {
			status, err := a.redis.GroupStatus(a.t.Context(), sub.Stream, sub.Group)
			if err != nil || status.Pending != 0 {
				a.t.Errorf("%s: %d pending (error %v), want none", sub.Stream, status.Pending, err)
			}
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

func readCorpus(t *testing.T, file string) []text {
	unzipped, err := gzip.NewReader(open(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return readLines[text](t, unzipped)
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
