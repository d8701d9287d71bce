package function_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/function"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// entry is one entry of a stream.
type entry struct {
	stream, kind string
	attributes   map[string]string
	data         []byte
	at           time.Time
}

func (e entry) options() (options []sdktest.Option) {
	options = append(options, sdktest.Type(e.kind))
	for name, value := range e.attributes {
		options = append(options, sdktest.Attr(name, value))
	}
	return options
}

func (e entry) json(t *testing.T) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal(e.data, &v); err != nil {
		t.Fatalf("%s: %v", e.data, err)
	}
	return v
}

// world is the orchestrator with streams in memory, and a worker behind them.
type world struct {
	t       *testing.T
	h       *sdktest.Harness
	queue   []entry // of the orchestrator's streams
	work    []entry // of the workers'
	told    []entry // of all others
	parked  []entry // not before their time
	batches int
	worker  func(e entry) entry
	opened  int // the most tasks at once
}

func newWorld(t *testing.T, options ...sdktest.HarnessOption) *world {
	return &world{t: t, h: sdktest.New(t, function.New("test"), options...), worker: echo}
}

// echo answers with the data; it fails if the data says so.
func echo(e entry) entry {
	answer := entry{stream: "orchestrator:commands", kind: e.kind + ".result", data: e.data, attributes: map[string]string{
		"causationid": e.attributes["id"], "partitionkey": e.attributes["replykey"], "status": "ok", "attempt": "1"}}
	if strings.Contains(string(e.data), `"fail":true`) {
		answer.data = nil
		answer.attributes["status"], answer.attributes["error"] = "error", `{"type":"boom","message":"told to fail"}`
	}
	return answer
}

func (w *world) emit(from *sdktest.Result) {
	for _, e := range from.Emissions() {
		one := entry{stream: e.To, kind: e.Type, data: e.Data, at: e.NotBefore, attributes: map[string]string{}}
		for _, a := range e.Attributes {
			one.attributes[a.Name] = a.Value
		}
		switch {
		case !one.at.IsZero():
			w.parked = append(w.parked, one)
		case e.To == "orchestrator:commands" || e.To == "orchestrator:tasks":
			w.queue = append(w.queue, one)
		case e.To == "orchestrator:results" || e.To == "cm:commands":
			w.told = append(w.told, one)
		default:
			w.work = append(w.work, one)
		}
	}
}

// send delivers a command and gives its answer.
func (w *world) send(kind string, v any, attributes ...sdktest.Option) map[string]any {
	w.t.Helper()
	r := w.h.Deliver("orchestrator:commands", sdktest.JSON(v), append(attributes, sdktest.Type(kind))...).RequireDone(w.t)
	w.emit(r)
	var answer map[string]any
	if err := r.JSON(&answer); err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// pass delivers what the orchestrator's streams have, in batches as a host does.
func (w *world) pass() {
	w.t.Helper()
	for len(w.queue) > 0 {
		n := 1
		key := w.queue[0].attributes["partitionkey"]
		for key != "" && n < len(w.queue) && n < 128 && w.queue[n].attributes["partitionkey"] == key {
			n++
		}
		var inputs []sdktest.Input
		for _, e := range w.queue[:n] {
			inputs = append(inputs, sdktest.In(e.data, e.options()...))
		}
		stream := w.queue[0].stream
		w.queue = w.queue[n:]
		w.batches++
		for _, r := range w.h.DeliverBatch(stream, inputs...) {
			w.emit(r.RequireDone(w.t))
		}
	}
	w.opened = max(w.opened, len(w.work))
}

// run goes on until nothing is left to do.
func (w *world) run() {
	w.t.Helper()
	w.pass()
	for len(w.work) > 0 {
		for _, e := range w.work {
			w.queue = append(w.queue, w.worker(e))
		}
		w.work = nil
		w.pass()
	}
}

// events gives what was said on a stream, but progress.
func (w *world) events(stream string) (events []entry) {
	for _, e := range w.told {
		if e.stream == stream && e.kind != "workflow.progress" {
			events = append(events, e)
		}
	}
	return events
}

func (w *world) event(kind string) map[string]any {
	w.t.Helper()
	events := w.events("orchestrator:results")
	if len(events) != 1 || events[0].kind != kind {
		w.t.Fatalf("events %v, want one %s", events, kind)
	}
	return events[0].json(w.t)
}

// workflow gives a start request's workflow.
func workflow(do string) map[string]any {
	return map[string]any{"yaml": "document: {dsl: '1.0.3', namespace: test, name: example, version: '1.0.0'}\n" + do}
}

func start(id, do string, input any) map[string]any {
	return map[string]any{"run_id": id, "workflow": workflow(do), "input": input}
}

const fanOut = "do: [{l: {for: {each: x, in: .}, metadata: {parallel: 64}, do: [{a: {call: echo.say, with: {n: '${ $x }'}}}]}}]"

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func text(v any) string { return string(sdktest.JSON(v)) }
