package campaign

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/fnhost/fnhost/plugins/cm/internal/contract"
)

var begin = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func after(seconds float64) time.Time {
	return begin.Add(time.Duration(seconds * float64(time.Second)))
}

func fresh() *Campaign {
	return New(contract.Start{ID: "c", Name: "n", Hash: "h"}, "corr", begin)
}

func run(seq uint64, total, done, failed int) *contract.Run {
	return &contract.Run{ID: "c", Seq: seq, Counts: contract.Counts{Total: total, Done: done, Failed: failed, Pending: total - done - failed}}
}

func types(events []Event) (all []string) {
	for _, e := range events {
		all = append(all, e.Type)
	}
	return all
}

func wantTypes(t *testing.T, events []Event, want ...string) {
	t.Helper()
	if got := types(events); !reflect.DeepEqual(got, want) && len(got)+len(want) > 0 {
		t.Errorf("events %q, want %q", got, want)
	}
}

func TestProgressIsThrottledAndHasARate(t *testing.T) {
	t.Parallel()
	c := fresh()
	wantTypes(t, c.Started(after(1)), contract.TypeStarted)
	wantTypes(t, c.Started(after(1)))
	wantTypes(t, c.Progress(run(1, 1000, 0, 0), after(1)), contract.TypeProgress)
	wantTypes(t, c.Progress(run(2, 1000, 5, 0), after(1.1)))                         // neither a second nor a percent
	wantTypes(t, c.Progress(run(3, 1000, 10, 0), after(1.2)), contract.TypeProgress) // a percent
	wantTypes(t, c.Progress(run(4, 1000, 11, 0), after(2.1)))
	events := c.Progress(run(5, 1000, 100, 100), after(3)) // two seconds since the start
	wantTypes(t, events, contract.TypeProgress)
	p := events[0].Data.(progressEvent)
	if p.Rate != 100 || p.ETA == nil || *p.ETA != 8 || p.Percent != 20 || p.Seq != 5 || p.Failed != 100 {
		t.Errorf("got %+v, want 100 a second and 8 s to go", p)
	}
	if v := c.View(after(4)); v.Status != Running || v.Rate != 66.66 || v.Counts.Total != 1000 || *v.StartedAt != "2026-03-01T09:00:01.000Z" || v.EndedAt != nil {
		t.Errorf("got %+v; a second later the rate is lower", v)
	}
}

func TestTheRateIsThatOfTheLastSeconds(t *testing.T) {
	t.Parallel()
	c := fresh()
	c.Started(begin)
	for i := range 100 {
		c.Progress(run(uint64(i+1), 10000, (i+1)*10, 0), after(float64(i+1)))
	}
	for i := range 20 {
		c.Progress(run(uint64(i+101), 10000, 1000+(i+1)*100, 0), after(float64(i+101)))
	}
	if rate, eta := c.pace(after(120).UnixMilli()); rate != 100 || eta == nil || *eta != 70 {
		t.Errorf("got %v a second, eta %v; want 100 and 70 s", rate, eta)
	}
	if n := len(c.Window); n > windowSamples {
		t.Errorf("%d samples are kept", n)
	}
}

// TestProgressIsMonotone whatever comes in whatever order.
func TestProgressIsMonotone(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := fresh()
		c.Started(begin)
		seq, percent := uint64(0), 0.0
		for i := range 200 {
			total := 1 + random.IntN(1000)
			done := random.IntN(total + 1)
			for _, e := range c.Progress(run(random.Uint64N(100), total, done, 0), after(float64(i))) {
				p := e.Data.(progressEvent)
				if p.Seq <= seq || p.Percent < percent || p.Percent > 100 {
					t.Fatalf("seed %d: seq %d and %v%% after seq %d and %v%%", seed, p.Seq, p.Percent, seq, percent)
				}
				seq, percent = p.Seq, p.Percent
			}
		}
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	counts := func(done, failed int) *contract.Counts {
		return &contract.Counts{Total: done + failed, Done: done, Failed: failed}
	}
	fault := &contract.Error{Type: "x", Status: 500, Title: "no", Instance: "/do/0/a"}
	for name, test := range map[string]struct {
		end  func(c *Campaign) []Event
		want Status
		kind string
	}{
		"succeeded": {func(c *Campaign) []Event {
			return c.Completed(&contract.Run{Final: counts(10, 0), Output: []byte(`1`)}, after(5))
		}, Succeeded, contract.TypeCompleted},
		"partial": {func(c *Campaign) []Event { return c.Completed(&contract.Run{Final: counts(9, 1)}, after(5)) }, Partial, contract.TypeCompleted},
		"failed": {func(c *Campaign) []Event {
			return c.Faulted(&contract.Run{Final: counts(2, 1), Error: fault}, after(5))
		}, Failed, contract.TypeCompleted},
		"cancelled": {func(c *Campaign) []Event { return c.Cancelled(&contract.Run{Reason: "enough"}, after(5)) }, Cancelled, contract.TypeCancelled},
		"rejected": {func(c *Campaign) []Event {
			return c.Refused([]contract.Problem{{Pointer: "/do", Message: "is empty"}}, after(5))
		}, Rejected, contract.TypeRejected},
	} {
		c := fresh()
		wantTypes(t, c.Started(after(1)), contract.TypeStarted)
		wantTypes(t, test.end(c), test.kind)
		wantTypes(t, test.end(c))
		wantTypes(t, c.Progress(run(99, 10, 1, 0), after(6)))
		wantTypes(t, c.Completed(&contract.Run{}, after(6)))
		wantTypes(t, c.Started(after(6)))
		if c.Status != test.want || !c.Status.Ended() || c.EndedAt != after(5).UnixMilli() || c.Cancel() {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestAnEndThatComesBeforeTheStart(t *testing.T) {
	t.Parallel()
	c := fresh()
	wantTypes(t, c.Completed(&contract.Run{Final: &contract.Counts{}}, after(2)), contract.TypeStarted, contract.TypeCompleted)
	wantTypes(t, c.Started(after(1)))
	if v := c.View(after(9)); v.Status != Succeeded || v.Percent != 100 || v.Rate != 0 {
		t.Errorf("got %+v", v)
	}
}

func TestACampaignMayEndWhileItIsCancelled(t *testing.T) {
	t.Parallel()
	c := fresh()
	for range 2 { // the second one changes nothing
		if !c.Cancel() || c.Status != Cancelling {
			t.Fatalf("got %+v", c)
		}
	}
	c.Started(after(1))
	wantTypes(t, c.Progress(run(1, 2, 1, 0), after(2)), contract.TypeProgress)
	if c.Status != Cancelling {
		t.Errorf("status %s, want it to be cancelling still", c.Status)
	}
	wantTypes(t, c.Completed(&contract.Run{Final: &contract.Counts{Total: 2, Done: 2}}, after(3)), contract.TypeCompleted)
}

func TestKeepingLosesNothing(t *testing.T) {
	t.Parallel()
	c := fresh()
	c.Started(after(1))
	c.Progress(run(7, 10, 3, 1), after(2))
	text, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Decode("c", text)
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Errorf("got %+v (%v), want %+v", back, err, c)
	}
}
