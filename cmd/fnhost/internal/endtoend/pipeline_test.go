package endtoend

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// examples is the folder of the example workflows.
const examples = "../../../../examples/workflows/"

// newPipeline is a world with cm, orchestrator and workers, and the example
// workflows in its work directory.
func newPipeline(t *testing.T, workers ...string) *world {
	t.Helper()
	w := newWorld(t, append([]string{"cm", "orchestrator"}, workers...))
	files, err := os.ReadDir(examples)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(examples, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		w.file(f.Name(), string(text), 0o600)
	}
	return w
}

// workflow writes a workflow of the tasks, which are YAML.
func (w *world) workflow(name, do string) {
	w.t.Helper()
	w.file(name, fmt.Sprintf("document: {dsl: 1.0.3, namespace: test, name: a-test, version: 1.0.0}\ndo:\n%s\n", do), 0o600)
}

// overProbe is a fan-out over role probe, which does with each item what it says.
const overProbe = `
  - each:
      for: {each: item, in: '${ .items }'}
      metadata: {parallel: 20, tolerate: {count: 2}}
      do: [{run: {call: probe.run, with: {sleep_ms: '${ $item.sleep_ms }', fail: '${ $item.fail // "" }', reply: '${ $item.n }'}, output: {as: '${ .reply }'}}}]
output: {as: '${ . }'}`

// probes is the input of overProbe: n items that sleep; some fail for good.
func probes(n, sleepMS int, failing ...int) string {
	type item struct {
		N    int    `json:"n"`
		MS   int    `json:"sleep_ms"`
		Fail string `json:"fail,omitempty"`
	}
	all := make([]item, n)
	for i := range all {
		all[i] = item{N: i, MS: sleepMS}
		if slices.Contains(failing, i) {
			all[i].Fail = "permanent"
		}
	}
	text, _ := json.Marshal(map[string]any{"items": all})
	return string(text)
}

type counts struct{ Total, Done, Failed, Pending, Running int }

// outcome is what `campaign start --watch` prints at last.
type outcome struct {
	Status string
	Counts counts
	Output json.RawMessage
	Errors []struct{ Title, Detail, Instance string } `json:"errors_sample"`
	Reason string
}

// watch runs a campaign to its end.
func (w *world) watch(code int, file string, args ...string) outcome {
	w.t.Helper()
	d := w.run(append([]string{"campaign", "start", file, "--watch", "-o", "json", "--timeout", patience.String()}, args...)...).want(w.t, code)
	return decode[outcome](w.t, d.stdout)
}

// events gives the types of a campaign's events, and of its progresses the data.
func (w *world) events(id string) (types []string, progress []map[string]any) {
	w.t.Helper()
	for _, e := range w.entries("cm:events") {
		if e["partitionkey"] != id || strings.HasSuffix(e["type"], ".result") {
			continue
		}
		if e["type"] == "campaign.progress" {
			progress = append(progress, decode[map[string]any](w.t, e["data"]))
			continue
		}
		types = append(types, e["type"])
	}
	return types, progress
}

// nothingLeft demands that no message is pending, unread or dead.
func (w *world) nothingLeft(roles ...string) {
	w.t.Helper()
	for _, stream := range []string{"cm:commands", "orchestrator:commands", "orchestrator:tasks"} {
		eventually(w.t, func() bool {
			groups, err := w.redis.XInfoGroups(w.t.Context(), w.key(stream)).Result()
			return err == nil && len(groups) == 1 && groups[0].Pending == 0 && groups[0].Lag == 0
		}, saying(stream+" has messages that are pending or unread"))
	}
	for _, role := range append(roles, "cm", "orchestrator") {
		if n := w.length(role + ":dlq"); n != 0 {
			w.t.Errorf("%s has %d dead letters: %v", role, n, w.entries(role+":dlq"))
		}
	}
}

func TestCampaignFansOut(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "echo")
	w.serve().ready()
	numbers := make([]int, 200)
	input, _ := json.Marshal(map[string]any{"items": numbers})
	o := w.watch(0, "fan-out.yaml", "--id", "c1", "--input", string(input))
	if o.Status != "succeeded" || o.Counts != (counts{Total: 200, Done: 200}) || string(o.Output) != `{"failed":0,"said":200}` && decode[map[string]int](t, string(o.Output))["said"] != 200 {
		t.Errorf("outcome %+v, output %s", o, o.Output)
	}
	if n := w.length("echo:results"); n != 200 {
		t.Errorf("echo has answered %d times, want exactly 200", n)
	}
	types, progress := w.events("c1")
	if want := []string{"campaign.accepted", "campaign.started", "campaign.completed"}; !slices.Equal(types, want) {
		t.Errorf("events %q, want %q", types, want)
	}
	seq, percent := 0.0, 0.0
	for _, p := range progress {
		if p["seq"].(float64) <= seq || p["percent"].(float64) < percent {
			t.Errorf("progress goes back: %v", progress)
		}
		seq, percent = p["seq"].(float64), p["percent"].(float64)
	}
	if len(progress) == 0 {
		t.Error("no progress was told")
	}
	w.nothingLeft("echo")
	w.startedAgain(string(input))
	w.shown()
}

// startedAgain sees what becomes of campaign c1's id.
func (w *world) startedAgain(input string) {
	w.t.Helper()
	type view struct {
		Status  string
		Percent float64
		Counts  counts
	}
	same := decode[view](w.t, w.run("campaign", "start", "fan-out.yaml", "--id", "c1", "--input", input, "-o", "json").want(w.t, 0).stdout)
	if same.Status != "succeeded" || same.Percent != 100 || same.Counts.Done != 200 {
		w.t.Errorf("the same again: %+v, want the campaign as it is", same)
	}
	w.run("campaign", "start", "fan-out.yaml", "--id", "c1", "--input", `{"items":[1]}`).want(w.t, 1, "rejected", "c1", "other content")
	w.run("campaign", "start", "fan-out.yaml", "--id", "c1", "--input", `{"items":[1]}`, "--watch").want(w.t, 1, "other content")
	if v := decode[view](w.t, w.run("campaign", "status", "c1", "-o", "json").want(w.t, 0).stdout); v != same {
		w.t.Errorf("status %+v, want %+v", v, same)
	}
	w.run("campaign", "cancel", "c1").want(w.t, 5, "succeeded since")
	w.run("campaign", "status", "nobody").want(w.t, 3, "nobody")
	if n := w.length("echo:results"); n != 200 {
		w.t.Errorf("something of it ran again: echo has answered %d times", n)
	}
}

// shown sees campaign c1's tasks, and those of a small one.
func (w *world) shown() {
	w.t.Helper()
	d := w.run("workflow", "show", "c1").want(w.t, 0)
	for _, want := range []string{"examples/fan-out", "completed", "200 done", "say", "echo.say"} {
		if !strings.Contains(d.stdout, want) {
			w.t.Errorf("workflow show has no %q:\n%s", want, d.stdout)
		}
	}
	w.watch(0, "fan-out.yaml", "--id", "small", "--input", `{"items":["a","b"]}`)
	d = w.run("workflow", "show", "small").want(w.t, 0)
	for _, want := range []string{"[0]", "[1]", "ATTEMPTS"} {
		if !strings.Contains(d.stdout, want) {
			w.t.Errorf("workflow show of a small loop has no %q:\n%s", want, d.stdout)
		}
	}
	run := decode[struct{ Tasks []struct{ State string } }](w.t, w.run("workflow", "show", "small", "-o", "json").want(w.t, 0).stdout)
	if len(run.Tasks) != 2 || run.Tasks[0].State != "done" {
		w.t.Errorf("as JSON: %+v", run)
	}
	w.run("workflow", "show", "nobody").want(w.t, 3, "nobody")
}

func TestPipelinePluginsKilledUnderLoad(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "probe")
	h := w.serve().ready()
	w.workflow("probe.yaml", overProbe)
	done := make(chan outcome, 1)
	go func() {
		defer close(done)
		done <- w.watch(0, "probe.yaml", "--id", "c1", "--input", probes(300, 20))
	}()
	for i, role := range []string{"orchestrator", "cm", "probe", "orchestrator"} {
		w.until("probe:results", 50*(i+1))
		if err := syscall.Kill(h.pluginPID(role), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		h.ready()
	}
	o := <-done
	var output []int
	if err := json.Unmarshal(o.Output, &output); err != nil || len(output) != 300 {
		t.Fatalf("outcome %+v, output %s (%v)", o, o.Output, err)
	}
	for i, n := range output {
		if i != n {
			t.Fatalf("output %v is not each item's own, in order", output)
		}
	}
	if o.Status != "succeeded" || o.Counts != (counts{Total: 300, Done: 300}) {
		t.Errorf("outcome %+v, want exact counts", o)
	}
	answered := map[string]bool{}
	for _, r := range w.entries("probe:results") {
		answered[r["causationid"]] = true
	}
	if n := w.length("probe:results"); n != 300 || len(answered) != 300 {
		t.Errorf("%d results of %d tasks, want exactly 300", n, len(answered))
	}
	if types, _ := w.events("c1"); !slices.Equal(types, []string{"campaign.accepted", "campaign.started", "campaign.completed"}) {
		t.Errorf("events %q, want each once", types)
	}
	w.nothingLeft("probe")
}

func TestHostKilledInTheMiddleOfACampaign(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "probe")
	w.env = append(w.env, "OPS_LEASE_TTL=2s")
	h := w.serve().ready()
	w.workflow("probe.yaml", overProbe)
	done := make(chan outcome, 1)
	go func() {
		defer close(done)
		done <- w.watch(0, "probe.yaml", "--id", "c1", "--input", probes(300, 20))
	}()
	w.until("probe:results", 100)
	h.signal(syscall.SIGKILL)
	<-h.exited
	w.serve().ready()
	if o := <-done; o.Status != "succeeded" || o.Counts != (counts{Total: 300, Done: 300}) {
		t.Errorf("outcome %+v, want exact counts", o)
	}
	if n := w.length("probe:results"); n != 300 {
		t.Errorf("%d results, want exactly 300", n)
	}
	w.nothingLeft("probe")
}

func TestFailedTasksAreTolerated(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "probe")
	w.serve().ready()
	w.workflow("probe.yaml", overProbe)
	o := w.watch(9, "probe.yaml", "--input", probes(30, 0, 3, 17))
	if o.Status != "partial" || o.Counts != (counts{Total: 30, Done: 28, Failed: 2}) || len(o.Errors) != 2 || !strings.HasPrefix(o.Errors[0].Instance, "/do/0/each/for/") {
		t.Errorf("outcome %+v", o)
	}
	o = w.watch(1, "probe.yaml", "--input", probes(30, 0, 3, 17, 20))
	if o.Status != "failed" || len(o.Errors) != 1 || o.Counts.Failed != 3 {
		t.Errorf("one more than is tolerated: outcome %+v", o)
	}
	w.nothingLeft()
}

func TestACampaignIsCancelled(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "probe")
	w.serve().ready()
	w.workflow("probe.yaml", overProbe)
	done := make(chan outcome, 1)
	go func() {
		defer close(done)
		done <- w.watch(1, "probe.yaml", "--id", "c1", "--input", probes(2000, 100))
	}()
	w.until("probe:results", 40)
	w.run("campaign", "cancel", "c1", "--reason", "enough of it").want(t, 0)
	o := <-done
	if o.Status != "cancelled" || o.Reason != "enough of it" || o.Counts.Done >= 2000 || o.Counts.Total != 2000 {
		t.Errorf("outcome %+v", o)
	}
	if d := w.run("campaign", "status", "c1").want(t, 0); !strings.Contains(d.stdout, "cancelled") || !strings.Contains(d.stdout, "enough of it") {
		t.Errorf("status:\n%s", d.stdout)
	}
	w.nothingLeft("probe")
}

func TestWorkflowsThatCannotRun(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "echo")
	w.serve().ready()
	w.workflow("invalid.yaml", "  - a: {wait: {seconds: 1}}\n  - b: {call: http}\n  - c: {set: {x: '${ .[ }'}}")
	w.workflow("unrouted.yaml", "  - a: {call: crm.lookup}\n  - b: {call: mail.send}")
	w.workflow("runtime.yaml", "  - fine: {set: {n: text}}\n  - sum: {set: {x: '${ .n + 1 }'}}")
	w.file("notyaml.yaml", "name: x\nworkflow: {do: [", 0o600)

	d := w.run("campaign", "start", "invalid.yaml", "--id", "invalid", "--watch").want(t, 1, "/do/0/a/wait", "/do/1/b/call")
	if types, _ := w.events("invalid"); !slices.Equal(types, []string{"campaign.accepted", "campaign.rejected"}) {
		t.Errorf("events %q; stderr:\n%s", types, d.stderr)
	}
	w.run("campaign", "start", "unrouted.yaml", "--watch").want(t, 1, "/do/0/a/call", "crm", "/do/1/b/call", "mail")
	w.run("campaign", "start", "notyaml.yaml").want(t, 8)
	o := w.watch(1, "runtime.yaml")
	if o.Status != "failed" || len(o.Errors) != 1 || o.Errors[0].Instance != "/do/1/sum" || !strings.Contains(o.Errors[0].Detail, "cannot add") {
		t.Errorf("outcome %+v, want the pointer and the error of the expression", o)
	}

	// By hand, with everything wrong that cm looks at.
	w.add("cm:commands", "id", "by-hand", "type", "campaign.start", "data", `{"campaign_id":"a/b","workflow":{},"labels":[],"inptu":1}`)
	eventually(t, func() bool {
		return slices.ContainsFunc(w.entries("cm:events"), func(e entry) bool {
			return e["type"] == "campaign.rejected" && e["correlationid"] == "by-hand" && strings.Count(e["data"], `"pointer"`) == 5
		})
	}, saying("no campaign.rejected with all five errors"))
	w.nothingLeft("echo")
}

// TestCallsAreRoutedByATable: a further role needs no code.
func TestCallsAreRoutedByATable(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "echo")
	w.config(`
roles:
  orchestrator:
    emits: ["orchestrator:commands", "orchestrator:tasks", "orchestrator:results", cm, echo]
    plugin: {settings: {routes: {parrot: echo}}}
`)
	w.serve().ready()
	w.workflow("parrot.yaml", "  - say: {call: parrot.say, with: {text: hello}}")
	if o := w.watch(0, "parrot.yaml"); decode[map[string]string](t, string(o.Output))["text"] != "hello" {
		t.Errorf("outcome %+v, output %s", o, o.Output)
	}
	w.run("campaign", "start", "fan-out.yaml", "--input", `{"items":[1]}`, "--watch").want(t, 1, "/do/0/each/do/0/say/call", "echo", "parrot")
	w.nothingLeft("echo")
}

func TestIngestAndAskExample(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "rag", "persist")
	w.serve().ready()
	o := w.watch(0, "ingest-and-ask.yaml", "--input", "@ingest-and-ask.json")
	got := decode[struct {
		Documents, Chunks int
		Answers           []struct{ Question, Answer, Document string }
	}](t, string(o.Output))
	if got.Documents != 3 || got.Chunks < 3 || len(got.Answers) != 3 || got.Answers[0].Document != "green" || !strings.Contains(got.Answers[0].Answer, "80 degrees") {
		t.Errorf("output %s", o.Output)
	}
	d := w.run("publish", "persist", "--type", "persist.get", "--data", `{"collection":"tea","keys":["heat","dark","caffeine"]}`, "--wait").want(t, 0)
	if strings.Count(d.stdout, `"question"`) != 3 {
		t.Errorf("persist has\n%s", d.stdout)
	}
	w.nothingLeft("rag", "persist")
}

func TestTheMainJobTwiceInARow(t *testing.T) {
	t.Parallel()
	w := newPipeline(t, "rag", "persist")
	w.serve().ready()
	type answers struct {
		Items []struct{ Question, Answer, Source string }
	}
	//lint:ignore SA1019 the test runs where it was built
	goroot := runtime.GOROOT()
	first := w.run("demo", "--goroot", goroot, "-o", "json", "--timeout", patience.String()).want(t, 0, "3 documents (3 changed", "13 answers, 13 of them new", "all read back")
	again := w.run("demo", "--goroot", goroot, "-o", "json", "--timeout", patience.String()).want(t, 0, "3 documents (0 changed", "13 answers, 0 of them new", "all read back")
	if got := decode[answers](t, first.stdout); len(got.Items) != 13 || first.stdout != again.stdout || got.Items[1].Source != "The Go Programming Language Specification § System considerations > Size and alignment guarantees" {
		t.Errorf("answers %+v", got)
	}
	w.nothingLeft("rag", "persist")
}
