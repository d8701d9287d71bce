package mainjob

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call/calltest"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// goroot is a folder with the documents, each a line long.
func goroot(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range documents {
		path := filepath.Join(dir, filepath.FromSlash(d.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(d.Title), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// world is a host with the two roles, and what they keep.
type world struct {
	calltest.Log
	docs    map[string]string
	records map[string]json.RawMessage
	lose    bool // role persist keeps nothing
}

func newWorld() *world {
	w := &world{docs: map[string]string{}, records: map[string]json.RawMessage{}}
	w.Serve(topology.Default("rag").Subscriptions[0], w.rag)
	w.Serve(topology.Default("persist").Subscriptions[0], w.persist)
	return w
}

func (w *world) rag(m delivery.Message) (string, string) {
	if m.Type == "rag.ingest" {
		var in ingest
		_ = json.Unmarshal([]byte(m.Data), &in)
		changed := w.docs[in.DocID] != in.Text
		w.docs[in.DocID] = in.Text
		return "ok", fmt.Sprintf(`{"doc_id":%q,"changed":%t,"chunks":3}`, in.DocID, changed)
	}
	var q query
	_ = json.Unmarshal([]byte(m.Data), &q)
	return "ok", fmt.Sprintf(`{"hits":[{"doc_id":"a","chunk_id":"a1","score":2.5,"title":"A","section":""},{"doc_id":"b","chunk_id":"b1","score":1.5,"title":"B","section":"S"}],
		"answer":{"text":"about %s","citations":[{"n":1,"doc_id":"b","chunk_id":"b1"}]}}`, q.QueryID)
}

func (w *world) persist(m delivery.Message) (string, string) {
	if m.Type == "persist.write" {
		var in struct {
			Records []struct {
				Key string
				Doc json.RawMessage
			}
		}
		_ = json.Unmarshal([]byte(m.Data), &in)
		key, inserted := in.Records[0].Key, 0
		if _, there := w.records[key]; !there {
			inserted = 1
		}
		if !w.lose {
			w.records[key] = in.Records[0].Doc
		}
		return "ok", fmt.Sprintf(`{"written":1,"inserted":%d}`, inserted)
	}
	type rec struct {
		Key string          `json:"key"`
		Doc json.RawMessage `json:"doc"`
	}
	var records []rec
	for k, d := range w.records {
		records = append(records, rec{k, d})
	}
	b, _ := json.Marshal(map[string]any{"records": records})
	return "ok", string(b)
}

func job(t *testing.T, w *world, p Progress) *Job {
	return &Job{
		Log: &w.Log, GOROOT: goroot(t), Progress: p,
		Rag: topology.Default("rag").Subscriptions[0], Persist: topology.Default("persist").Subscriptions[0],
	}
}

func TestTwiceInARow(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var shown bytes.Buffer
	report, err := job(t, w, Lines(&shown)).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Answers) < 10 || report.Changed != 3 || report.Chunks != 9 || report.Stored != len(report.Answers) || report.Fresh != report.Stored {
		t.Errorf("first run: got %+v", report)
	}
	if a := report.Answers[1]; a.Answer != "about q02" || a.Source != "B § S" || a.Score != 1.5 || a.Document != "b" {
		t.Errorf("an answer and the source that it cites: got %+v", a)
	}
	total := len(documents) + 2*len(questions) + 1
	if got := strings.Count(shown.String(), "\n"); got != total || !strings.Contains(shown.String(), fmt.Sprintf("[%d/%d] read back", total, total)) {
		t.Errorf("progress: %d lines, want %d:\n%s", got, total, shown.String())
	}
	again, err := job(t, w, Quiet()).Run(t.Context())
	if err != nil || again.Changed != 0 || again.Fresh != 0 || again.Stored != report.Stored {
		t.Errorf("second run: got %+v, %v; want nothing changed and all stored", again, err)
	}
}

func TestAnswersThatAreNotStoredAreNotClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.lose = true
	if _, err := job(t, w, Quiet()).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "not in collection") {
		t.Errorf("got %v", err)
	}
}

func TestADeadLetterEndsTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Serve(topology.Default("rag").Subscriptions[0], func(delivery.Message) (string, string) {
		return "error", `{"type":"permanent","message":"the index is read-only"}`
	})
	_, err := job(t, w, Quiet()).Run(t.Context())
	if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "rag.ingest") || !strings.Contains(err.Error(), "the index is read-only") {
		t.Errorf("got %v, want what was sent and why it failed", err)
	}
}

func TestAMissingTextIsNamed(t *testing.T) {
	t.Parallel()
	j := job(t, newWorld(), Quiet())
	j.GOROOT = t.TempDir()
	if _, err := j.Run(t.Context()); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "go_spec.html") {
		t.Errorf("got %v", err)
	}
}

func TestBarShowsTheLastStep(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := Bar(&out)
	b.Start(2)
	b.Step("ingested one")
	b.Step(strings.Repeat("very long ", 20))
	b.Stop()
	if !strings.Contains(out.String(), "0/2") {
		t.Errorf("no count in %q", out.String())
	}
}
