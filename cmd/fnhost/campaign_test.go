package main

import (
	"os"
	"strings"
	"testing"
)

const (
	goodWorkflow = "document: {dsl: 1.0.3, namespace: n, name: fine, version: 1.0.0}\ndo:\n  - say:\n      call: echo.say\n      with: {a: '${ .a }'}\n"
	badWorkflow  = "document: {dsl: 1.0.3, namespace: n, name: bad, version: 1.0.0}\ndo:\n  - say:\n      call: http\n  - wait:\n      wait: {seconds: 1}\n  - set:\n      set: {x: '${ .[ }'}\n"
)

func (r *runner) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(r.dir+"/"+name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWorkflowValidateNeedsNoRedis(t *testing.T) {
	t.Parallel()
	r := newRunner(t, nowhere)
	r.write(t, "good.yaml", goodWorkflow)
	d := r.run("workflow", "validate", "good.yaml", "-o", "json")
	d.want(t, exitOK)
	if got := decode[definition](t, d.stdout); got.Name != "fine" || len(got.Calls) != 1 || got.Calls[0] != "echo.say" {
		t.Errorf("got %+v", got)
	}
	r.write(t, "bad.yaml", badWorkflow)
	d = r.run("workflow", "validate", "bad.yaml", "-o", "json")
	d.want(t, exitInvalid, "bad.yaml")
	rows := decode[list[problem]](t, d.stdout).Items
	lines := map[string]int{}
	for _, p := range rows {
		lines[p.Pointer] = p.Line
	}
	if lines["/do/0/say/call"] != 4 || lines["/do/1/wait/wait"] != 6 {
		t.Errorf("got %+v, want every problem with its pointer and line", rows)
	}
	if d := r.run("workflow", "validate", "bad.yaml"); !strings.Contains(d.stdout, "/do/0/say/call") || !strings.Contains(d.stdout, "LINE") {
		t.Errorf("as a table:\n%s", d.stdout)
	}
	r.write(t, "campaign.yaml", "name: c\nworkflow: {file: bad.yaml}\n")
	r.run("workflow", "validate", "campaign.yaml").want(t, exitInvalid)
	r.run("workflow", "validate", "nowhere.yaml").want(t, exitNotFound, "nowhere.yaml")
	r.run("workflow", "validate").want(t, exitUsage)
}

func TestCampaignFilesAreCheckedBeforeRedisIsAsked(t *testing.T) {
	t.Parallel()
	r := newRunner(t, nowhere)
	r.write(t, "good.yaml", goodWorkflow)
	r.write(t, "odd.yaml", "name: c\nworkflow: {file: good.yaml}\ninptu: 1\n")
	r.run("campaign", "start", "nowhere.yaml").want(t, exitNotFound, "nowhere.yaml")
	r.run("campaign", "start", "odd.yaml").want(t, exitInvalid, "inptu")
	r.run("campaign", "start", "good.yaml", "--input", "{").want(t, exitUsage, "not JSON")
	r.run("campaign", "start", "good.yaml", "--input", "@gone.json").want(t, exitNotFound, "gone.json")
	r.run("campaign", "start", "good.yaml").want(t, exitRedis)
	r.run("campaign", "status").want(t, exitUsage, "id of a campaign")
}

func TestCampaignsSayWhenNobodyServesThem(t *testing.T) {
	t.Parallel()
	r, client := onRedis(t)
	r.write(t, "good.yaml", goodWorkflow)
	for _, args := range [][]string{{"start", "good.yaml"}, {"start", "good.yaml", "--watch"}, {"status", "c1"}, {"cancel", "c1", "--reason", "x"}} {
		r.run(append(append([]string{"campaign"}, args...), "--timeout", "200ms")...).want(t, exitTimeout, "fnhost check cm orchestrator")
	}
	if n, err := client.Len(t.Context(), "cm:commands"); err != nil || n != 4 {
		t.Errorf("%d commands, %v", n, err)
	}
}
