package mainjob

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call/calltest"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/campaign"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
)

// goroot is a folder with the documents, each a line long.
func goroot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range texts {
		path := filepath.Join(dir, filepath.FromSlash(d.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("<p>"+d.Title), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// world plays roles cm and persist, and what they keep; what the workflow makes
// of the input it computes itself.
type world struct {
	calltest.Log
	t       *testing.T
	cm      topology.Subscription
	events  sync.WaitGroup
	docs    map[string]string
	records map[string]Answer
	started []string // campaigns

	lose bool   // role persist keeps nothing
	end  string // of every campaign, in place of its work: type and data
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, docs: map[string]string{}, records: map[string]Answer{}}
	w.cm = topology.Subscription{Role: "cm", Stream: "cm:commands", Results: "cm:events"}
	w.Serve(w.cm, w.start)
	w.Serve(topology.Default("persist").Subscriptions[0], w.get)
	t.Cleanup(w.events.Wait)
	return w
}

func (w *world) job(show campaign.Progress) *Job {
	return &Job{
		Campaigns: &campaign.Client{Log: &w.Log, CM: w.cm}, Persist: topology.Default("persist").Subscriptions[0],
		GOROOT: goroot(w.t), Progress: show,
	}
}

func (w *world) start(m delivery.Message) (string, string) {
	var c campaign.Campaign
	if err := json.Unmarshal([]byte(m.Data), &c); err != nil {
		w.t.Error(err)
	}
	w.started = append(w.started, c.ID)
	kind, data := "campaign.completed", ""
	if w.end != "" {
		kind, data, _ = strings.Cut(w.end, " ")
	} else {
		data = fmt.Sprintf(`{"campaign_id":%q,"status":"succeeded","output":%s}`, c.ID, w.work(c))
	}
	w.events.Go(func() {
		for _, e := range [][2]string{{"campaign.progress", `{"total":29,"done":10,"pending":19,"percent":34.48,"rate_per_s":5}`}, {kind, data}} {
			_, _ = w.Publish(w.t.Context(), w.cm.Results, []string{"type", e[0], "partitionkey", c.ID, "data", e[1]})
		}
	})
	return "ok", fmt.Sprintf(`{"campaign_id":%q,"status":"accepted"}`, c.ID)
}

// work gives the output of the job's workflow.
func (w *world) work(c campaign.Campaign) []byte {
	var in input
	if err := json.Unmarshal(c.Input, &in); err != nil {
		w.t.Error(err)
	}
	type object = map[string]any
	var ingested, kept []object
	for _, d := range in.Documents {
		ingested = append(ingested, object{"changed": w.docs[d.ID] != d.Text, "chunks": 3})
		w.docs[d.ID] = d.Text
	}
	for i, q := range in.Questions {
		a := Answer{Question: q.Text, Answer: "about " + q.Key, Source: "B § S", Score: float64(i) + 0.1, Kind: q.Kind}
		fresh := 0
		if w.records[q.Key] != a {
			fresh = 1
		}
		if !w.lose {
			w.records[q.Key] = a
		}
		kept = append(kept, object{"record": record{q.Key, a}, "fresh": fresh})
	}
	return encode(object{"ingested": ingested, "kept": kept})
}

func (w *world) get(m delivery.Message) (string, string) {
	type rec struct {
		Key string `json:"key"`
		Doc Answer `json:"doc"`
	}
	var records []rec
	for k, d := range w.records {
		records = append(records, rec{k, d})
	}
	return "ok", string(encode(map[string]any{"records": records}))
}

func TestTwiceInARow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var shown bytes.Buffer
	report, err := w.job(campaign.Lines(&shown)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Answers) < 10 || report.Documents != 3 || report.Changed != 3 || report.Chunks != 9 || report.Stored != len(report.Answers) || report.Fresh != report.Stored {
		t.Errorf("first run: got %+v", report)
	}
	if a := report.Answers[1]; a.Answer != "about q02" || a.Source != "B § S" || a.Question != questions[1].Text {
		t.Errorf("an answer: got %+v", a)
	}
	if got := w.docs["go-spec"]; got != "<p>The Go Programming Language Specification" {
		t.Errorf("the document came as %q", got)
	}
	if got := shown.String(); got != "[ 34%] 10 of 29, 5.0/s\n" {
		t.Errorf("progress:\n%s", got)
	}
	again, err := w.job(campaign.Quiet()).Run(t.Context())
	if err != nil || again.Changed != 0 || again.Fresh != 0 || again.Stored != report.Stored {
		t.Errorf("second run: got %+v, %v; want nothing changed and all stored", again, err)
	}
	if len(w.started) != 2 || w.started[0] == w.started[1] {
		t.Errorf("campaigns %q, want a fresh one each time", w.started)
	}
}

func TestAnswersThatAreNotStoredAreNotClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lose = true
	if _, err := w.job(campaign.Quiet()).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not in collection") {
		t.Errorf("got %v", err)
	}
}

func TestACampaignThatFailsEndsTheJob(t *testing.T) {
	t.Parallel()
	for end, want := range map[string]string{
		`campaign.completed {"status":"failed","errors_sample":[{"status":500,"title":"rag.ingest failed","detail":"the index is read-only","instance":"/do/0/ingest"}]}`: "the index is read-only (at /do/0/ingest)",
		`campaign.cancelled {"reason":"enough"}`: "cancelled: enough",
		`campaign.rejected {"error":{"status":422,"title":"the workflow was refused"},"errors":[{"pointer":"/do/0","message":"no such role"}]}`: "/do/0: no such role",
	} {
		w := newWorld(t)
		w.end = end
		if _, err := w.job(campaign.Quiet()).Run(t.Context()); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", end, err, want)
		}
	}
}

func TestAMissingTextIsNamed(t *testing.T) {
	t.Parallel()
	j := newWorld(t).job(campaign.Quiet())
	j.GOROOT = t.TempDir()
	if _, err := j.Run(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "go_spec.html") {
		t.Errorf("got %v", err)
	}
}

func TestTheWorkflowIsValid(t *testing.T) {
	t.Parallel()
	w, err := dsl.Parse([]byte(workflow))
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, c := range w.Calls() {
		calls = append(calls, c.Function)
	}
	if got := strings.Join(calls, " "); got != "rag.ingest rag.query persist.write" {
		t.Errorf("it calls %s", got)
	}
}
