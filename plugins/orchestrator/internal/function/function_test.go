package function_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/plugins/orchestrator/internal/function"
	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

func TestARunFromStartToEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	do := `
do:
  - all: {for: {each: x, in: .list}, metadata: {parallel: 2}, do: [{one: {call: echo.say, with: {n: '${ $x }'}}}]}
  - sum: {call: persist.write, with: {sum: '${ map(.n) | add }'}}`
	answer := w.send("workflow.start", start("r1", do, map[string]any{"list": []int{1, 2, 3}}),
		sdktest.ID("m1"), sdktest.Attr("replyto", "cm:commands"), sdktest.Attr("replykey", "c1"))
	if text(answer) != `{"phase":"running","run_id":"r1"}` {
		t.Fatalf("answer %v", answer)
	}
	w.pass()
	if len(w.work) != 2 {
		t.Fatalf("%d tasks, want 2", len(w.work))
	}
	task := w.work[0]
	if task.stream != "echo" || task.kind != "echo.say" || string(task.data) != `{"n":1}` || task.attributes["id"] != "r1:/do/0/all/for/0/do/0/one" ||
		task.attributes["replyto"] != "orchestrator:commands" || task.attributes["replykey"] != "r1" || task.attributes["partitionkey"] != "" || task.attributes["correlationid"] != "m1" {
		t.Errorf("task %+v", task)
	}
	w.run()
	end := w.event("workflow.completed")
	if end["run_id"] != "r1" || text(end["output"]) != `{"sum":6}` || text(end["counts"]) != `{"done":4,"failed":0,"pending":0,"running":0,"total":4}` {
		t.Errorf("end %v", end)
	}
	for stream, key := range map[string]string{"orchestrator:results": "r1", "cm:commands": "c1"} {
		events := w.events(stream)
		if len(events) != 1 || events[0].attributes["partitionkey"] != key || events[0].attributes["correlationid"] != "m1" {
			t.Errorf("%s has %v", stream, events)
		}
	}
	if got := w.send("workflow.status", map[string]string{"run_id": "r1"}); got["phase"] != "completed" || text(got["output"]) != `{"sum":6}` || got["ended_at"] == nil {
		t.Errorf("status %v", got)
	}
}

func TestStartIsIdempotent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	request := start("r1", "do: [{a: {call: echo.say, with: {n: 1}}}]", map[string]int{"n": 1})
	w.send("workflow.start", request)
	if again := w.send("workflow.start", request); again["phase"] != "running" || len(w.queue) != 1 {
		t.Errorf("again: %v, %d dispatched", again, len(w.queue))
	}
	request["input"] = map[string]int{"n": 2}
	other := w.send("workflow.start", request)
	if other["phase"] != "rejected" || !strings.Contains(text(other), "choose another id") {
		t.Errorf("other content: %v", other)
	}
	w.run()
	w.event("workflow.completed")
	request["input"] = map[string]int{"n": 1}
	if again := w.send("workflow.start", request); again["phase"] != "completed" || len(w.queue) != 0 {
		t.Errorf("after the end: %v", again)
	}
}

func TestRejectedStartsSayWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for want, request := range map[string]map[string]any{
		"/do/0/a/fork":  start("a", "do: [{a: {fork: {branches: []}}}]", nil),
		"routes.crm":    start("b", "do: [{a: {call: crm.find}}]", nil),
		"YAML":          {"run_id": "c", "workflow": map[string]any{"yaml": "do: ["}},
		"and not both":  {"run_id": "d"},
		"no id of":      start("no/slash", "do: [{a: {set: {n: 1}}}]", nil),
		"/do/0/a/set/n": start("e", "do: [{a: {set: {n: '${ . + }'}}}]", nil),
	} {
		if answer := w.send("workflow.start", request); answer["phase"] != "rejected" || !strings.Contains(text(answer), want) {
			t.Errorf("%s: %v", want, answer)
		}
	}
	if len(w.queue)+len(w.told) > 0 || w.h.State("run:a") != nil {
		t.Error("a rejected start has left something")
	}
	w.h.Deliver("orchestrator:commands", []byte(`{"run_id":7}`), sdktest.Type("workflow.start")).Require(t, sdktest.Dead)
	w.h.Deliver("orchestrator:commands", []byte(`{}`), sdktest.Type("workflow.nope")).Require(t, sdktest.Dead)
	w.h.Deliver("orchestrator:tasks", []byte(`{}`), sdktest.Type("task.dispatch")).Require(t, sdktest.Dead)
}

func TestARunWithoutAnIDHasTheMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	request := start("", "do: [{a: {set: {n: 1}}}]", nil)
	if got := w.send("workflow.start", request, sdktest.ID("m-7")); got["run_id"] != "m-7" {
		t.Errorf("%v", got)
	}
	a, b := w.send("workflow.start", request, sdktest.ID("x:tasks/1-0/0")), w.send("workflow.start", request, sdktest.ID("x:tasks/1-0/0"))
	if a["run_id"] != b["run_id"] || strings.Contains(a["run_id"].(string), "/") {
		t.Errorf("%v, %v", a, b)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if got := w.send("workflow.validate", map[string]any{"workflow": workflow("do: [{a: {set: {n: 1}}}]")}); text(got) != `{"errors":[],"valid":true}` {
		t.Errorf("%v", got)
	}
	if got := w.send("workflow.validate", map[string]any{"workflow": map[string]any{"inline": map[string]any{"do": 1}}}); got["valid"] != false || !strings.Contains(text(got), `"pointer":"/do"`) {
		t.Errorf("%v", got)
	}
}

func TestAFaultEndsTheRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("workflow.start", start("r1", "do: [{l: {for: {in: .}, metadata: {parallel: 2}, do: [{a: {call: echo.say, with: {n: '${ $item }', fail: '${ $item == 2 }'}}}]}}]", []int{1, 2, 3, 4}))
	w.run()
	end := w.event("workflow.faulted")
	fault := end["error"].(map[string]any)
	if fault["instance"] != "/do/0/l/for/1/do/0/a" || fault["title"] != "The call failed (boom)" || fault["detail"] != "told to fail" {
		t.Errorf("%v", end)
	}
	if got := w.send("workflow.status", map[string]string{"run_id": "r1"}); got["phase"] != "faulted" || got["error"] == nil {
		t.Errorf("%v", got)
	}
}

func TestCancelAndLateAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("workflow.start", start("r1", fanOut, numbers(100)))
	w.pass()
	if got := w.send("workflow.cancel", map[string]string{"run_id": "r1", "reason": "enough"}); got["phase"] != "cancelled" {
		t.Errorf("%v", got)
	}
	w.run()
	if end := w.event("workflow.cancelled"); end["reason"] != "enough" || len(w.told) != 1 {
		t.Errorf("%v, %v", end, w.told)
	}
	for phase, id := range map[string]string{"cancelled": "r1", "unknown": "r2"} {
		if got := w.send("workflow.cancel", map[string]string{"run_id": id}); got["phase"] != phase {
			t.Errorf("%v", got)
		}
	}
}

func TestAnswersOfNoRunAreDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, task := range []string{"gone:/do/0/a", "", "x", ":/do/0/a", "gone:/"} {
		r := w.h.Deliver("orchestrator:commands", []byte(`{}`), sdktest.Type("echo.say.result"), sdktest.Attr("causationid", task)).RequireDone(t)
		if len(r.Emissions()) > 0 {
			t.Errorf("%q: %v", task, r.Emissions())
		}
	}
	w.send("workflow.start", start("r1", "do: [{a: {call: echo.say}}]", nil))
	w.h.SetState("run:r1", nil)
	w.run()
	if len(w.told) > 0 {
		t.Errorf("a run whose state was deleted said %v", w.told)
	}
}

// A batch has duplicates and all kinds of messages in it.
func TestABatchOfManyKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("workflow.start", start("r1", fanOut, numbers(100)))
	w.pass()
	for _, e := range w.work[:20] {
		answer := w.worker(e)
		w.queue = append(w.queue, answer, answer)
	}
	w.work = w.work[20:]
	w.queue = append(w.queue, entry{stream: "orchestrator:commands", kind: "workflow.status", data: []byte(`{"run_id":"r1"}`), attributes: map[string]string{"partitionkey": "r1"}})
	w.run()
	if end := w.event("workflow.completed"); len(end["output"].([]any)) != 100 || end["counts"].(map[string]any)["done"] != 100.0 {
		t.Errorf("%v", end)
	}
}

func TestFanOutIsPagedAndItsStateIsSmallAndGoesAway(t *testing.T) {
	t.Parallel()
	const n = 2000
	w := newWorld(t)
	w.send("workflow.start", start("big", fanOut, numbers(n)))
	w.pass()
	most := 0
	for answered := 0; len(w.work) > 0; {
		for _, e := range w.work {
			w.queue = append(w.queue, w.worker(e))
			answered++
		}
		w.work = nil
		w.pass()
		if answered > n/2 && most == 0 {
			most = w.stateBytes("big")
		}
	}
	if w.opened != 64 {
		t.Errorf("%d tasks at once, want 64", w.opened)
	}
	if perItem := most / n; perItem == 0 || perItem > 100 {
		t.Errorf("%d bytes of state an item", perItem)
	}
	if end := w.event("workflow.completed"); len(end["output"].([]any)) != n {
		t.Errorf("%d outputs", len(end["output"].([]any)))
	}
	for _, key := range []string{"items:big/do/0/l", "outputs:big/do/0/l", "data:big"} {
		if left := w.h.State(key); left != nil {
			t.Errorf("%s is left with %d fields", key, len(left))
		}
	}
	for field := range w.h.State("run:big") {
		if strings.Contains(field, ":") {
			t.Errorf("frame %s is left", field)
		}
	}
	if len(w.parked) != 1 || w.parked[0].kind != "workflow.forget" || time.Until(w.parked[0].at) < 6*24*time.Hour {
		t.Fatalf("parked %v", w.parked)
	}
	w.queue, w.parked = w.parked, nil
	w.pass()
	if w.stateBytes("big") > 0 {
		t.Error("a forgotten run has state")
	}
	if got := w.send("workflow.status", map[string]string{"run_id": "big"}); got["phase"] != "unknown" {
		t.Errorf("%v", got)
	}
}

// stateBytes counts names and values of all that is kept of a run.
func (w *world) stateBytes(id string) (n int) {
	for _, key := range []string{"run:" + id, "def:" + id, "data:" + id, "log:" + id, "items:" + id + "/do/0/l", "outputs:" + id + "/do/0/l"} {
		for name, value := range w.h.State(key) {
			n += len(name) + len(value)
		}
	}
	return n
}

func TestAfterAFaultNothingIsLeftOfTheWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("workflow.start", start("r1", "do: [{l: {for: {in: .}, metadata: {parallel: 4}, do: [{a: {call: echo.say, with: {n: '${ $item }'}}}, {b: {call: echo.say, with: {fail: '${ .n == 5 }'}}}]}}]", numbers(9)))
	w.run()
	w.event("workflow.faulted")
	for _, key := range []string{"items:r1/do/0/l", "outputs:r1/do/0/l", "data:r1"} {
		if w.h.State(key) != nil {
			t.Errorf("%s is left", key)
		}
	}
	for field := range w.h.State("run:r1") {
		if strings.Contains(field, ":") {
			t.Errorf("%s is left", field)
		}
	}
}

func TestProgressIsThrottledAndMonotone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("workflow.start", start("r1", strings.Replace(fanOut, "64", "1", 1), numbers(1000)))
	w.run()
	seq, done, n := 0.0, 0.0, 0
	for _, e := range w.told {
		if e.kind != "workflow.progress" {
			continue
		}
		p := e.json(t)
		if n++; p["seq"].(float64) <= seq || p["done"].(float64) <= done || p["total"] != 1000.0 {
			t.Fatalf("progress %v after %v, %v", p, seq, done)
		}
		seq, done = p["seq"].(float64), p["done"].(float64)
	}
	if n < 90 || n > 160 {
		t.Errorf("%d times", n)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	do := `
do:
  - first: {call: echo.say, with: {n: 1}}
  - small: {for: {in: '[1,2]'}, metadata: {parallel: 2, tolerate: {count: 1}}, do: [{one: {call: echo.say, with: {fail: '${ $item == 1 }'}}}]}
  - large: {for: {in: '[range(500)]'}, metadata: {parallel: 10}, do: [{many: {call: echo.say}}]}
  - last: {call: probe.run}`
	w.worker = func(e entry) entry {
		if e.kind == "probe.run" {
			return entry{stream: "orchestrator:commands", kind: "x.result", attributes: map[string]string{"causationid": "none"}}
		}
		return echo(e)
	}
	w.send("workflow.start", start("r1", do, nil))
	w.run()
	got := w.send("workflow.show", map[string]string{"run_id": "r1"})
	var lines []string
	for _, v := range got["tasks"].([]any) {
		task := v.(map[string]any)
		lines = append(lines, task["pointer"].(string)+" "+task["state"].(string))
	}
	if all := strings.Join(lines, ", "); all != "/do/0/first done, /do/1/small/for/0/do/0/one failed, /do/1/small/for/1/do/0/one done, /do/3/last running" {
		t.Errorf("tasks %s", all)
	}
	groups := got["groups"].([]any)
	if many := groups[2].(map[string]any); len(groups) != 4 || many["pointer"] != "/do/2/large/do/0/many" || many["done"] != 500.0 {
		t.Errorf("groups %v", groups)
	}
	if got["phase"] != "running" || len(got["errors_sample"].([]any)) != 1 {
		t.Errorf("%v", got)
	}
	if unknown := w.send("workflow.show", map[string]string{"run_id": "nope"}); unknown["phase"] != "unknown" {
		t.Errorf("%v", unknown)
	}
}

func TestRoutesAreSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sdktest.Settings(map[string]any{"routes": map[string]string{"crm": "crm:jobs"}, "retention": "1h"}))
	w.send("workflow.start", start("r1", "do: [{a: {call: crm.find}}]", nil))
	w.pass()
	if len(w.work) != 1 || w.work[0].stream != "crm:jobs" {
		t.Fatalf("%v", w.work)
	}
	// What was dispatched under other routes is answered, not left to wait.
	w.queue = append(w.queue, entry{stream: "orchestrator:tasks", kind: "task.dispatch", data: []byte(`{"run_id":"r1","task_id":"r1:/do/0/a","call":"old.find","with":{}}`)})
	w.pass()
	if fault := w.event("workflow.faulted")["error"].(map[string]any); !strings.Contains(fault["detail"].(string), "old.find") {
		t.Errorf("%v", fault)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		`{"retention":"1s"}`:     "retention",
		`{"retention":"soon"}`:   "retention",
		`{"routes":{"a.b":"x"}}`: "routes.a.b",
		`{"routes":{"a":""}}`:    "routes.a",
		`{"rutes":{}}`:           "rutes",
	} {
		err := function.New("test").Configure(t.Context(), sdk.Settings{JSON: []byte(settings)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", settings, err)
		}
	}
}
