// Package mainjob is fnhost's main job on real text, from end to end: a campaign
// that ingests documents into role rag, asks it questions and has role persist
// keep the answers, which are then read back. It speaks to a running host by its
// streams only, as any caller does.
package mainjob

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call"
	"github.com/fnhost/fnhost/cmd/fnhost/internal/campaign"
	"github.com/fnhost/fnhost/host/topology"
)

//go:embed workflow.yaml
var workflow string

// Records is the collection of role persist that the workflow writes.
const Records = "answers"

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
	Campaign  string
	Answers   []Answer
	Documents int // ingested
	Changed   int // documents that were not there yet, or differed
	Chunks    int // written for the documents that changed
	Stored    int // answers read back from persist, equal to what was kept
	Fresh     int // of those: new or changed by this run
	Took      time.Duration
}

// A Job is one run. GOROOT holds the documents.
type Job struct {
	Campaigns *campaign.Client
	Persist   topology.Subscription
	GOROOT    string
	Progress  campaign.Progress
}

// ErrFailed is wrapped by the error for a campaign that was rejected or did not
// come to a good end, and for a record that could not be read back.
var ErrFailed = errors.New("the campaign of the job")

// Run does the job.
func (j *Job) Run(ctx context.Context) (*Report, error) {
	start := time.Now()
	c, err := j.campaign()
	if err != nil {
		return nil, err
	}
	out, err := j.run(ctx, c)
	if err != nil {
		return nil, err
	}
	report := out.report()
	if err := j.readBack(ctx, out, report); err != nil {
		return nil, err
	}
	report.Campaign, report.Took = c.ID, time.Since(start)
	return report, nil
}

// campaign is a fresh one at each run: what has not changed since, the roles
// leave as it is.
func (j *Job) campaign() (campaign.Campaign, error) {
	in := input{Questions: questions}
	for _, text := range texts {
		content, err := os.ReadFile(filepath.Join(j.GOROOT, filepath.FromSlash(text.path)))
		if err != nil {
			return campaign.Campaign{}, fmt.Errorf("reading the text of %q: %w", text.Title, err)
		}
		text.Text = string(content)
		in.Documents = append(in.Documents, text.document)
	}
	return campaign.Campaign{
		ID: "demo-" + strings.ToLower(call.NewID()), Name: "the main job of fnhost",
		Workflow: campaign.Workflow{YAML: workflow}, Input: encode(in),
	}, nil
}

func (j *Job) run(ctx context.Context, c campaign.Campaign) (*output, error) {
	o, err := j.Campaigns.Run(ctx, c, j.Progress)
	if rejected, ok := errors.AsType[*campaign.RejectedError](err); ok {
		return nil, fmt.Errorf("%w: %w", ErrFailed, rejected)
	}
	if err != nil {
		return nil, err
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	var out output
	if err := json.Unmarshal(o.Output, &out); err != nil {
		return nil, fmt.Errorf("the output of campaign %s is not what its workflow promises: %w", c.ID, err)
	}
	return &out, nil
}

func (out *output) report() *Report {
	r := &Report{Documents: len(out.Ingested)}
	for _, d := range out.Ingested {
		if d.Changed {
			r.Changed++
			r.Chunks += d.Chunks
		}
	}
	for _, k := range out.Kept {
		r.Answers = append(r.Answers, k.Record.Doc)
		r.Fresh += k.Fresh
	}
	return r
}

// readBack demands of role persist what the campaign has had it keep.
func (j *Job) readBack(ctx context.Context, out *output, report *Report) error {
	want := get{Collection: Records}
	for _, k := range out.Kept {
		want.Keys = append(want.Keys, k.Record.Key)
	}
	task := call.Task{Type: "persist.get", Data: encode(want), ContentType: "application/json"}
	return call.Do(ctx, j.Campaigns.Log, j.Persist, []call.Task{task}, func(_ int, p call.Published, r call.Result) error {
		if err := r.Err(); err != nil {
			return fmt.Errorf("%w: persist.get %s on stream %s: %w", ErrFailed, p.Entry, j.Persist.Stream, err)
		}
		stored, err := readAnswers(r.Data)
		if err != nil {
			return err
		}
		for _, k := range out.Kept {
			if stored[k.Record.Key] != k.Record.Doc {
				return fmt.Errorf("the answer to %q is not in collection %q as it was sent", k.Record.Doc.Question, Records)
			}
		}
		report.Stored = len(out.Kept)
		return nil
	})
}

func readAnswers(data string) (map[string]Answer, error) {
	var g got
	if err := json.Unmarshal([]byte(data), &g); err != nil {
		return nil, fmt.Errorf("the result of persist.get is not what role persist promises: %w", err)
	}
	stored := make(map[string]Answer, len(g.Records))
	for _, r := range g.Records {
		var a Answer
		if err := json.Unmarshal(r.Doc, &a); err != nil {
			return nil, fmt.Errorf("record %q of collection %q: %w", r.Key, Records, err)
		}
		stored[r.Key] = a
	}
	return stored, nil
}

// encode gives JSON in which HTML stays as short as it is.
func encode(v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // structs of strings and numbers always encode
		panic(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
