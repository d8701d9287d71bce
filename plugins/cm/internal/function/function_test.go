package function

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/sdk"
	"github.com/fnhost/fnhost/sdk/sdktest"
)

var begin = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

type object = map[string]any

func campaignOf(id string) object {
	return object{"campaign_id": id, "name": "a test", "workflow": object{"inline": object{"do": []any{}}}, "input": object{"n": 1}}
}

// answer is the result of a command.
type answer struct {
	ID     string `json:"campaign_id"`
	Status string
	Counts object
	Error  *struct {
		Status        int
		Title, Detail string
	}
	Errors  []struct{ Pointer, Message string }
	EndedAt string `json:"ended_at"`
	Percent float64
	Outcome *struct {
		Reason string
		Error  object
		Errors []object
	}
}

type cm struct {
	t *testing.T
	*sdktest.Harness
	at time.Time
}

func newCM(t *testing.T) *cm { return &cm{t, sdktest.New(t, New("test")), begin} }

// hear delivers a message, a second after the one before.
func (c *cm) hear(kind string, data any, opts ...sdktest.Option) *sdktest.Result {
	c.t.Helper()
	c.at = c.at.Add(time.Second)
	opts = append(opts, sdktest.Type(kind), sdktest.Attr("time", c.at.Format(time.RFC3339Nano)))
	return c.Deliver("", sdktest.JSON(data), opts...)
}

func (c *cm) ask(kind string, data any, opts ...sdktest.Option) (a answer, emissions []sdk.Emission) {
	c.t.Helper()
	r := c.hear(kind, data, opts...).RequireDone(c.t)
	if err := r.JSON(&a); err != nil {
		c.t.Fatal(err)
	}
	return a, r.Emissions()
}

// started is a campaign whose workflow runs.
func (c *cm) started(id string) {
	c.t.Helper()
	c.ask("campaign.start", campaignOf(id))
	c.hear("workflow.start.result", object{"run_id": id, "phase": "running"}).RequireDone(c.t)
}

func (c *cm) wantEvents(emissions []sdk.Emission, want ...string) {
	c.t.Helper()
	var got []string
	for _, e := range emissions {
		got = append(got, e.To+" "+e.Type)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		c.t.Errorf("emissions %q, want %q", got, want)
	}
}

func attribute(e sdk.Emission, name string) string {
	m := sdk.Message{Attributes: e.Attributes}
	return m.Attribute(name)
}

func TestAStartHandsTheWorkflowToTheOrchestrator(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	a, emissions := c.ask("campaign.start", campaignOf("c1"), sdktest.ID("m1"))
	if a.ID != "c1" || a.Status != "accepted" {
		t.Errorf("answer %+v", a)
	}
	c.wantEvents(emissions, "orchestrator workflow.start", "cm:events campaign.accepted")
	for name, want := range map[string]string{"partitionkey": "c1", "replyto": "cm:commands", "replykey": "c1", "correlationid": "m1"} {
		if got := attribute(emissions[0], name); got != want {
			t.Errorf("workflow.start has %s %q, want %q", name, got, want)
		}
	}
	if got, want := string(emissions[0].Data), `{"run_id":"c1","workflow":{"inline":{"do":[]}},"input":{"n":1}}`; got != want {
		t.Errorf("workflow.start has the data %s, want %s", got, want)
	}
	if attribute(emissions[1], "partitionkey") != "c1" || attribute(emissions[1], "correlationid") != "m1" {
		t.Errorf("campaign.accepted has %v", emissions[1].Attributes)
	}
}

func TestTheSameStartAgainIsAnsweredWithTheStatus(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	c.started("c1")
	again, emissions := c.ask("campaign.start", campaignOf("c1"), sdktest.ID("m2"))
	if again.Status != "running" || again.Error != nil {
		t.Errorf("answer %+v", again)
	}
	c.wantEvents(emissions)
}

func TestAnIDWithOtherContentIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	c.started("c1")
	before := c.State("campaign:c1")
	other := campaignOf("c1")
	other["name"] = "another"
	a, emissions := c.ask("campaign.start", other, sdktest.ID("m2"))
	if a.Status != "rejected" || a.Error == nil || a.Error.Status != 409 || !strings.Contains(a.Error.Detail, "c1") {
		t.Errorf("answer %+v", a)
	}
	c.wantEvents(emissions, "cm:events campaign.rejected")
	if attribute(emissions[0], "correlationid") != "m2" {
		t.Errorf("the rejection is not correlated with its own start: %v", emissions[0].Attributes)
	}
	if after := c.State("campaign:c1"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the campaign has changed: %v, was %v", after, before)
	}
}

func TestEveryErrorOfAStartIsTold(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	a, emissions := c.ask("campaign.start", object{"campaign_id": "c1", "workflow": object{}, "labels": 7, "inputs": 1})
	if a.Status != "rejected" || a.Error == nil || a.Error.Status != 400 || len(a.Errors) != 4 {
		t.Errorf("answer %+v, want four errors", a)
	}
	c.wantEvents(emissions, "cm:events campaign.rejected")
	var told answer
	if err := json.Unmarshal(emissions[0].Data, &told); err != nil || len(told.Errors) != 4 || told.ID != "c1" {
		t.Errorf("told %s", emissions[0].Data)
	}
	if c.State("campaign:c1") != nil {
		t.Error("a campaign that is not valid is kept")
	}
	if a, _ := c.ask("campaign.start", "text"); a.Error == nil || a.Error.Status != 400 {
		t.Errorf("answer to what is no campaign %+v", a)
	}
}

func TestAWorkflowThatIsRefusedRejectsTheCampaignWithEveryError(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	c.ask("campaign.start", campaignOf("c1"), sdktest.ID("m1"))
	r := c.hear("workflow.start.result", object{"run_id": "c1", "phase": "rejected", "errors": []object{
		{"pointer": "/do/0", "message": "one"}, {"pointer": "/do/1", "message": "two"},
	}}).RequireDone(t)
	c.wantEvents(r.Emissions(), "cm:events campaign.rejected")
	for _, want := range []string{`"status":422`, `"pointer":"/do/0"`, `"pointer":"/do/1"`, `"campaign_id":"c1"`} {
		if got := string(r.Emissions()[0].Data); !strings.Contains(got, want) {
			t.Errorf("told %s, want %s in it", got, want)
		}
	}
	if a, _ := c.ask("campaign.status", object{"campaign_id": "c1"}); a.Status != "rejected" || len(a.Outcome.Errors) != 2 {
		t.Errorf("status %+v", a)
	}
	mended := campaignOf("c1")
	mended["name"] = "mended"
	a, emissions := c.ask("campaign.start", mended)
	if a.Status != "accepted" {
		t.Errorf("nothing of it has run, and the id is not free again: %+v", a)
	}
	c.wantEvents(emissions, "orchestrator workflow.start", "cm:events campaign.accepted")
}

func TestAStartThatTheOrchestratorCouldNotHandleFails(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	c.ask("campaign.start", campaignOf("c1"))
	r := c.Deliver("", nil, sdktest.Type("workflow.start.result"), sdktest.Attr("partitionkey", "c1"),
		sdktest.Attr("status", "error"), sdktest.Attr("error", `{"type":"poison","message":"it died"}`)).RequireDone(t)
	c.wantEvents(r.Emissions(), "cm:events campaign.started", "cm:events campaign.completed")
	if a, _ := c.ask("campaign.status", object{"campaign_id": "c1"}); a.Status != "failed" || a.Outcome.Error["detail"] != "it died" {
		t.Errorf("status %+v", a)
	}
}

func TestACampaignToItsEnd(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	c.started("c1")
	r := c.hear("workflow.progress", object{"run_id": "c1", "total": 4, "done": 1, "failed": 1, "pending": 1, "running": 1, "seq": 1}).RequireDone(t)
	c.wantEvents(r.Emissions(), "cm:events campaign.progress")
	if a, _ := c.ask("campaign.status", object{"campaign_id": "c1"}); a.Status != "running" || a.Percent != 50 || a.Counts["total"] != 4.0 {
		t.Errorf("status %+v", a)
	}
	r = c.hear("workflow.completed", object{"run_id": "c1", "output": object{"x": 1}, "counts": object{"total": 4, "done": 3, "failed": 1}}).RequireDone(t)
	c.wantEvents(r.Emissions(), "cm:events campaign.completed")
	var told struct {
		Status     string
		DurationMs int64 `json:"duration_ms"`
		Output     object
		Counts     object
	}
	if err := json.Unmarshal(r.Emissions()[0].Data, &told); err != nil || told.Status != "partial" || told.DurationMs != 3000 || told.Output["x"] != 1.0 || told.Counts["failed"] != 1.0 {
		t.Errorf("told %s (%v)", r.Emissions()[0].Data, err)
	}
	a, emissions := c.ask("campaign.cancel", object{"campaign_id": "c1"})
	if a.Status != "partial" || a.Error == nil || a.Error.Status != 409 || !strings.Contains(a.Error.Detail, "partial since 2026-03-01") {
		t.Errorf("cancelling what has ended is answered with %+v", a)
	}
	c.wantEvents(emissions)
}

func TestACancelIsHandedOnAndDoneWhenTheOrchestratorSaysSo(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	c.started("c1")
	a, emissions := c.ask("campaign.cancel", object{"campaign_id": "c1", "reason": "enough"})
	if a.Status != "cancelling" {
		t.Errorf("answer %+v", a)
	}
	c.wantEvents(emissions, "orchestrator workflow.cancel")
	if string(emissions[0].Data) != `{"run_id":"c1","reason":"enough"}` {
		t.Errorf("workflow.cancel has the data %s", emissions[0].Data)
	}
	r := c.hear("workflow.cancelled", object{"run_id": "c1", "reason": "enough", "counts": object{"total": 9, "done": 2}}).RequireDone(t)
	c.wantEvents(r.Emissions(), "cm:events campaign.cancelled")
	if a, _ := c.ask("campaign.status", object{"campaign_id": "c1"}); a.Status != "cancelled" || a.Outcome.Reason != "enough" {
		t.Errorf("status %+v", a)
	}
}

func TestACancelOfARunThatIsGoneEndsTheCampaign(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	c.started("c1")
	c.ask("campaign.cancel", object{"campaign_id": "c1"})
	c.hear("workflow.cancel.result", object{"run_id": "c1", "phase": "cancelled"}).RequireDone(t)
	if a, _ := c.ask("campaign.status", object{"campaign_id": "c1"}); a.Status != "cancelling" {
		t.Errorf("status %+v, want it to wait for the workflow's end", a)
	}
	r := c.hear("workflow.cancel.result", object{"run_id": "c1", "phase": "unknown"}).RequireDone(t)
	c.wantEvents(r.Emissions(), "cm:events campaign.cancelled")
}

func TestCampaignsThatThereAreNot(t *testing.T) {
	t.Parallel()
	c := newCM(t)
	for _, kind := range []string{"campaign.status", "campaign.cancel"} {
		if a, _ := c.ask(kind, object{"campaign_id": "nobody"}); a.Status != "unknown" || a.Error == nil || a.Error.Status != 404 {
			t.Errorf("%s: answer %+v", kind, a)
		}
		if a, _ := c.ask(kind, object{}); a.Error == nil || a.Error.Status != 400 || len(a.Errors) != 1 {
			t.Errorf("%s without an id: answer %+v", kind, a)
		}
	}
	c.hear("workflow.progress", object{"run_id": "gone", "seq": 1}).Require(t, sdktest.Drop)
	c.hear("workflow.completed", object{}).Require(t, sdktest.Dead)
}
