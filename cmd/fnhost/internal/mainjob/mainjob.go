// Package mainjob is fnhost's main job on real text, from end to end: documents
// into role rag, questions to it, the answers into role persist, and read back.
// It speaks to a running host by its streams only, as any caller does.
package mainjob

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/host/topology"
)

// hits is how many chunks an answer may be made of. One: each question has its
// answer in one place, and that is the source shown.
const hits = 1

// Names of the collections that the job writes.
const (
	Documents = "demo"    // of role rag
	Records   = "answers" // of role persist
)

type document struct{ ID, Title, Path, Media string }

type question struct{ Key, Kind, Text string }

// An Answer is a question, its answer, and where that is from. It is what role
// persist keeps.
type Answer struct {
	Question string  `json:"question"`
	Answer   string  `json:"answer"`
	Source   string  `json:"source"` // document, and section of it
	Score    float64 `json:"score"`  // BM25 of the source, comparable within one question
	Kind     string  `json:"kind"`
	Document string  `json:"document"`
	Chunk    string  `json:"chunk"`
}

// A Report is what the job did.
type Report struct {
	Answers   []Answer
	Documents int // ingested
	Changed   int // documents that were not there yet, or differed
	Chunks    int // written for the documents that changed
	Stored    int // answers read back from persist, equal to what was sent
	Fresh     int // of those: new or changed by this run
	Took      time.Duration
}

// A Job is one run. GOROOT holds the documents.
type Job struct {
	Log      call.Log
	Rag      topology.Subscription
	Persist  topology.Subscription
	GOROOT   string
	Progress Progress
}

// Run does the job. A dead letter ends it with an error.
func (j *Job) Run(ctx context.Context) (*Report, error) {
	start, report := time.Now(), &Report{}
	tasks, err := j.ingests()
	if err != nil {
		return nil, err
	}
	j.Progress.Start(len(tasks) + 2*len(questions) + 1)
	defer j.Progress.Stop()
	if err := j.ingest(ctx, tasks, report); err != nil {
		return nil, err
	}
	if err := j.ask(ctx, report); err != nil {
		return nil, err
	}
	if err := j.persist(ctx, report); err != nil {
		return nil, err
	}
	if err := j.readBack(ctx, report); err != nil {
		return nil, err
	}
	report.Took = time.Since(start)
	return report, nil
}

func (j *Job) ingests() ([]call.Task, error) {
	tasks := make([]call.Task, len(documents))
	for i, d := range documents {
		content, err := os.ReadFile(filepath.Join(j.GOROOT, filepath.FromSlash(d.Path)))
		if err != nil {
			return nil, fmt.Errorf("reading the text of %q: %w", d.Title, err)
		}
		tasks[i] = task("rag.ingest", ingest{Documents, d.ID, d.Title, string(content), d.Media})
	}
	return tasks, nil
}

func (j *Job) ingest(ctx context.Context, tasks []call.Task, report *Report) error {
	return do(ctx, j, j.Rag, tasks, func(i int, done ingested) (string, error) {
		report.Documents++
		state := "unchanged"
		if done.Changed {
			report.Changed++
			report.Chunks += done.Chunks
			state = fmt.Sprintf("%d chunks", done.Chunks)
		}
		return fmt.Sprintf("ingested %s: %s", documents[i].Title, state), nil
	})
}

func (j *Job) ask(ctx context.Context, report *Report) error {
	tasks := make([]call.Task, len(questions))
	for i, q := range questions {
		tasks[i] = task("rag.query", query{q.Key, Documents, q.Text, hits, "extractive"})
	}
	report.Answers = make([]Answer, len(questions))
	return do(ctx, j, j.Rag, tasks, func(i int, a answered) (string, error) {
		answer, err := read(questions[i], a)
		report.Answers[i] = answer
		return "answered " + questions[i].Text, err
	})
}

// read takes the answer, and as its source the hit that it cites first.
func read(q question, a answered) (Answer, error) {
	if a.Answer == nil || len(a.Hits) == 0 {
		return Answer{}, fmt.Errorf("question %q has no answer in collection %q", q.Text, Documents)
	}
	source := a.Hits[0]
	for _, h := range a.Hits {
		if c := a.Answer.Citations; len(c) > 0 && h.ChunkID == c[0].ChunkID && h.DocID == c[0].DocID {
			source = h
			break
		}
	}
	from := cmp.Or(source.Title, source.DocID)
	if source.Section != "" {
		from += " § " + source.Section
	}
	return Answer{q.Text, a.Answer.Text, from, source.Score, q.Kind, source.DocID, source.ChunkID}, nil
}

func (j *Job) persist(ctx context.Context, report *Report) error {
	tasks := make([]call.Task, len(questions))
	for i, q := range questions {
		tasks[i] = task("persist.write", write{Records, "upsert", []record{{q.Key, report.Answers[i]}}})
	}
	return do(ctx, j, j.Persist, tasks, func(i int, w written) (string, error) {
		for _, e := range w.Errors {
			return "", fmt.Errorf("persist did not write %q: %s", e.Key, e.Message)
		}
		report.Fresh += w.Inserted + w.Updated
		return "persisted " + questions[i].Text, nil
	})
}

func (j *Job) readBack(ctx context.Context, report *Report) error {
	keys := make([]string, len(questions))
	for i, q := range questions {
		keys[i] = q.Key
	}
	tasks := []call.Task{task("persist.get", get{Records, keys})}
	return do(ctx, j, j.Persist, tasks, func(_ int, g got) (string, error) {
		stored := make(map[string]Answer, len(g.Records))
		for _, r := range g.Records {
			var a Answer
			if err := json.Unmarshal(r.Doc, &a); err != nil {
				return "", fmt.Errorf("record %q of collection %q: %w", r.Key, Records, err)
			}
			stored[r.Key] = a
		}
		for i, key := range keys {
			if stored[key] != report.Answers[i] {
				return "", fmt.Errorf("the answer to %q is not in collection %q as it was sent", questions[i].Text, Records)
			}
		}
		report.Stored = len(keys)
		return fmt.Sprintf("read back %d answers", len(keys)), nil
	})
}

func task(kind string, data any) call.Task {
	b, err := json.Marshal(data)
	if err != nil { // structs of strings and numbers always marshal
		panic(err)
	}
	return call.Task{Type: kind, Data: b, ContentType: "application/json"}
}

// ErrRejected is wrapped by the error for a message that ended without a result.
var ErrRejected = errors.New("has no result")

// do sends the tasks and hands each one's output to each, which says in words
// what was done.
func do[T any](ctx context.Context, j *Job, sub topology.Subscription, tasks []call.Task, each func(i int, output T) (string, error)) error {
	return call.Do(ctx, j.Log, sub, tasks, func(i int, p call.Published, r call.Result) error {
		if err := r.Err(); err != nil {
			return fmt.Errorf("%s %s on stream %s %w: %w", tasks[i].Type, p.Entry, sub.Stream, ErrRejected, err)
		}
		var output T
		if err := json.Unmarshal([]byte(r.Data), &output); err != nil {
			return fmt.Errorf("the result of %s %s is not what role %s promises: %w", tasks[i].Type, p.Entry, sub.Role, err)
		}
		done, err := each(i, output)
		if err == nil {
			j.Progress.Step(done)
		}
		return err
	})
}
