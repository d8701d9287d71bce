package campaign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/call/calltest"
	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// world plays role cm: it answers each command, and tells the events that follow
// it.
type world struct {
	calltest.Log
	*Client
	events sync.WaitGroup
}

func newWorld(t *testing.T, answer string, events ...[2]string) *world {
	w := &world{}
	sub := topology.Subscription{Role: "cm", Stream: "cm:commands", Results: "cm:events"}
	w.Client = &Client{Log: &w.Log, CM: sub}
	w.Serve(sub, func(m delivery.Message) (string, string) {
		w.events.Go(func() {
			for _, e := range events {
				for _, key := range []string{"another", m.PartitionKey} {
					_, _ = w.Publish(t.Context(), "cm:events", []string{"type", e[0], "partitionkey", key, "data", e[1]})
				}
			}
		})
		return "ok", answer
	})
	t.Cleanup(w.events.Wait)
	return w
}

const accepted = `{"campaign_id":"c","status":"accepted"}`

func TestRunWatchesToTheEnd(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		event  [2]string
		status string
		err    string
	}{
		"succeeded": {[2]string{"campaign.completed", `{"campaign_id":"c","status":"succeeded","counts":{"total":4,"done":4},"output":{"x":1}}`}, Succeeded, ""},
		"partial":   {[2]string{"campaign.completed", `{"campaign_id":"c","status":"partial","counts":{"total":4,"failed":1}}`}, Partial, ""},
		"failed":    {[2]string{"campaign.completed", `{"campaign_id":"c","status":"failed","errors_sample":[{"title":"no","instance":"/do/0"}]}`}, Failed, "no (at /do/0)"},
		"cancelled": {[2]string{"campaign.cancelled", `{"campaign_id":"c","reason":"enough"}`}, Cancelled, "enough"},
	} {
		var shown bytes.Buffer
		w := newWorld(t, accepted,
			[2]string{"campaign.rejected", `{"campaign_id":"c","error":{"status":409}}`}, // of somebody else's start with this id
			[2]string{"campaign.progress", `{"total":4,"done":1,"failed":1,"pending":2,"percent":50,"rate_per_s":2.5,"eta_s":61.2}`}, test.event)
		o, err := w.Run(t.Context(), Campaign{ID: "c"}, Lines(&shown))
		if err != nil || o.Status != test.status {
			t.Fatalf("%s: %+v, %v", name, o, err)
		}
		if err := o.Err(); (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
		if got := shown.String(); got != "[ 50%] 2 of 4, 1 failed, 2.5/s, 1m1s to go\n" {
			t.Errorf("%s: shown %q", name, got)
		}
	}
}

func TestRunEndsWithARejection(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]*world{
		"of the start":    newWorld(t, `{"campaign_id":"c","status":"rejected","error":{"status":400,"title":"not valid"},"errors":[{"pointer":"/name","message":"is missing"},{"message":"is odd"}]}`),
		"of the workflow": newWorld(t, accepted, [2]string{"campaign.rejected", `{"campaign_id":"c","error":{"status":422,"title":"not valid"},"errors":[{"pointer":"/name","message":"is missing"},{"message":"is odd"}]}`}),
	} {
		_, err := w.Run(t.Context(), Campaign{ID: "c"}, Quiet())
		if rejected, ok := errors.AsType[*RejectedError](err); !ok || len(rejected.Errors) != 2 || rejected.Error() != "campaign c was rejected: not valid\n  /name: is missing\n  /: is odd" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRunOfACampaignThatHasEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `{"campaign_id":"c","status":"failed","ended_at":"2026-01-01T00:00:00Z","outcome":{"error":{"title":"no"}}}`)
	if o, err := w.Run(t.Context(), Campaign{ID: "c"}, Quiet()); err != nil || o.Status != Failed || o.Err() == nil {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestRunEndsWithItsTime(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newWorld(t, accepted).Run(ctx, Campaign{ID: "c"}, Quiet()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "campaign c") {
		t.Errorf("got %v", err)
	}
}

func TestBarShowsRateAndETA(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b, eta := Bar(&out), 7.0
	b.Update(Snapshot{Counts: Counts{Total: 10, Done: 1, Pending: 9}})
	b.Update(Snapshot{Counts: Counts{Total: 20, Done: 10, Pending: 10}, Rate: 1.5, ETA: &eta})
	b.Stop()
	for _, want := range []string{"1/10", "10/20", "1.5/s, 7s to go"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %q", want, out.String())
		}
	}
	Bar(&out).Stop() // of a campaign that never had a progress
}

func TestLinesAreFewAndTheLastIsThere(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		l := Lines(&out)
		for i := range 25 {
			l.Update(Snapshot{Counts: Counts{Total: 25, Done: i + 1, Pending: 24 - i}, Percent: float64(4 * (i + 1)), Rate: 10})
			time.Sleep(100 * time.Millisecond)
		}
		l.Stop()
		l.Stop()
	})
	want := "[  4%] 1 of 25, 10.0/s\n[ 44%] 11 of 25, 10.0/s\n[ 84%] 21 of 25, 10.0/s\n[100%] 25 of 25, 10.0/s\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

const workflowText = "document: {dsl: 1.0.3, namespace: n, name: a-workflow, version: 1.0.0}\ndo:\n  - a:\n      set: {x: 1}\n  - b:\n      call: rag.query\n"

func write(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadFile(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"w.yaml":      workflowText,
		"file.yaml":   "id: c1\nname: n\nworkflow: {file: w.yaml}\ninput: {html: <p>&, n: 1}\nlabels: {a: b}\n",
		"inline.yaml": "name: n\nworkflow:\n  do: [{a: {set: {x: '<'}}}]\n",
	})
	for name, want := range map[string]string{
		"w.yaml":      fmt.Sprintf(`{"campaign_id":"","name":"a-workflow","workflow":{"yaml":%q}}`, workflowText),
		"file.yaml":   fmt.Sprintf(`{"campaign_id":"c1","name":"n","workflow":{"yaml":%q},"input":{"html":"<p>&","n":1},"labels":{"a":"b"}}`, workflowText),
		"inline.yaml": `{"campaign_id":"","name":"n","workflow":{"inline":{"do":[{"a":{"set":{"x":"<"}}}]}}}`,
	} {
		c, err := ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := encode(c); err != nil || string(got) != want {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, want)
		}
	}
}

func TestReadFileRefuses(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"unknown.yaml": "name: n\nworkflow: {do: []}\ninptu: 1\n",
		"none.yaml":    "name: n\n",
		"broken.yaml":  "name: [",
		"gone.yaml":    "name: n\nworkflow: {file: nowhere.yaml}\n",
		"odd.yaml":     "name: n\nworkflow: 7\n",
	})
	for name, want := range map[string]string{
		"unknown.yaml": "inptu", "none.yaml": "file: PATH", "broken.yaml": "is no campaign", "gone.yaml": "nowhere.yaml", "odd.yaml": "workflow", "missing.yaml": "missing.yaml",
	} {
		if _, err := ReadFile(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}

func TestALineIsFoundWhereverTheDefinitionStands(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{
		"w.yaml":      workflowText,
		"file.yaml":   "name: n\nworkflow: {file: w.yaml}\n",
		"inline.yaml": "name: n\nworkflow:\n  " + strings.ReplaceAll(workflowText, "\n", "\n  ") + "\n",
	})
	for name, want := range map[string]int{"w.yaml": 6, "file.yaml": 6, "inline.yaml": 8} {
		text, in, err := ReadWorkflow(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), "rag.query") {
			t.Fatalf("%s: %s, %v", name, text, err)
		}
		for pointer, want := range map[string]int{"/do/1/b/call": want, "/do/1/b/with": want - 1, "": want - 5} {
			if in.Pointer != "" && pointer == "" {
				want-- // the key of the definition itself
			}
			if got := Line(in.Text, in.Pointer+pointer); got != want {
				t.Errorf("%s: %q is in line %d, want %d", name, pointer, got, want)
			}
		}
	}
	if got := Line([]byte("a: ["), "/a"); got != 0 {
		t.Errorf("a text that is no YAML has line %d", got)
	}
}
