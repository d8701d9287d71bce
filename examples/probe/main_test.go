package main

import (
	"strings"
	"testing"
	"time"

	"github.com/fnhost/fnhost/sdk/sdktest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProbeBehavesAsTheMessageSays(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, function())
	for _, test := range []struct {
		name, data string
		attempt    int
		want       sdktest.Verdict
		says       string
	}{
		{"nothing", "", 1, sdktest.Done, `"attempt":1`},
		{"reply", `{"reply":{"a":[1]}}`, 1, sdktest.Done, `"reply":{"a":[1]}`},
		{"retry", `{"fail":"retry"}`, 9, sdktest.Retry, "asked for a failure"},
		{"retry at first", `{"fail":"retry","fail_attempts":2}`, 2, sdktest.Retry, "asked for a failure"},
		{"and no more", `{"fail":"retry","fail_attempts":2}`, 3, sdktest.Done, `"attempt":3`},
		{"permanent", `{"fail":"permanent"}`, 1, sdktest.Dead, "asked for a failure"},
		{"retry later", `{"fail":"retry","after_ms":1500}`, 1, sdktest.Retry, "1.5s"},
		{"snooze", `{"not_before":"2999-01-01T00:00:00Z"}`, 1, sdktest.Snooze, ""},
		{"no more snooze", `{"not_before":"2001-01-01T00:00:00Z"}`, 1, sdktest.Done, `"attempt":1`},
		{"drop", `{"fail":"drop"}`, 1, sdktest.Drop, "asked to be dropped"},
		{"panic", `{"fail":"panic"}`, 1, sdktest.Retry, "asked for a panic (panic)"},
		{"unknown", `{"fail":"explode"}`, 1, sdktest.Dead, "want retry, permanent"},
		{"bad JSON", `{"fail":`, 1, sdktest.Dead, "not JSON at byte 8"},
		{"sleep", `{"sleep_ms":20}`, 1, sdktest.Done, `"attempt":1`},
	} {
		r := h.Deliver("", []byte(test.data), sdktest.Attempt(test.attempt))
		said := string(r.Data()) + r.String() + r.After().String()
		if r.Verdict() != test.want || !strings.Contains(said, test.says) {
			t.Errorf("%s: %s; want %s with %q", test.name, r, test.want, test.says)
		}
	}
}

func TestProbeSleepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, function())
	r := h.Deliver("", sdktest.Raw([]byte(`{"sleep_ms":3600000}`)), sdktest.Timeout(30*time.Millisecond))
	if kind, _ := r.Require(t, sdktest.Retry).Error(); kind != "timeout" {
		t.Errorf("error type %q, want timeout", kind)
	}
}

func TestProbeCountsEmitsAndPads(t *testing.T) {
	t.Parallel()
	h := sdktest.New(t, function())
	count := []byte(`{"state":{"key":"k","add":3},"emit":[{"stream":"echo:tasks","data":{"n":1}}],"reply_bytes":1000,"log_lines":2}`)
	h.Deliver("", count).RequireDone(t)
	r := h.Deliver("", count).RequireDone(t)
	var a struct {
		Reply string
		State int
	}
	if err := r.JSON(&a); err != nil {
		t.Fatal(err)
	}
	if a.State != 6 || len(a.Reply) != 1000 || h.State("k")["count"] != "6" {
		t.Errorf("state %d, stored %q, reply of %d bytes; want 6, 6, 1000", a.State, h.State("k")["count"], len(a.Reply))
	}
	e := r.Emissions()
	if len(e) != 1 || e[0].To != "echo:tasks" || e[0].Type != "probe.emission" || string(e[0].Data) != `{"n":1}` || !e[0].NotBefore.IsZero() {
		t.Errorf("emissions %+v", e)
	}
}

func TestProbeEmitsForLater(t *testing.T) {
	t.Parallel()
	before := time.Now()
	e := sdktest.New(t, function()).Deliver("", []byte(`{"emit":[{"stream":"echo:tasks","delay_ms":60000}]}`)).RequireDone(t).Emissions()
	if len(e) != 1 || e[0].NotBefore.Before(before.Add(time.Minute)) || e[0].NotBefore.After(time.Now().Add(time.Minute)) {
		t.Errorf("emissions %+v, want one that is due in a minute", e)
	}
}
