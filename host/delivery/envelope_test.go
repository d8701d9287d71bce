package delivery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var at = time.Date(2026, 11, 24, 1, 2, 3, 4000, time.UTC)

func example(fields ...string) *Delivery {
	d := &Delivery{Stream: "rag:tasks", Entry: Entry{ID: "7-1", Fields: fields}, Grant: Grant{Fence: 9, Attempt: 2}, Trace: "trace"}
	d.Message = Read(&d.Entry)
	return d
}

func TestResultEntries(t *testing.T) {
	t.Parallel()
	head := []string{"id", "rag:tasks/7-1", "type", "rag.query.result", "source", "/fnhost/rag", "time", "2026-11-24T01:02:03.000004Z", "correlationid", "c", "causationid", "m", "entryid", "7-1", "partitionkey", "p"}
	d := example("id", "m", "type", "rag.query", "correlationid", "c", "partitionkey", "p")
	for name, c := range map[string]struct {
		result Result
		tail   []string
	}{
		"ok":      {Result{Status: StatusOK, Data: []byte("{}")}, []string{"status", "ok", "attempt", "2", "traceparent", "trace", "data", "{}"}},
		"no JSON": {Result{Status: StatusOK, ContentType: "text/plain", Data: []byte("x")}, []string{"status", "ok", "attempt", "2", "traceparent", "trace", "datacontenttype", "text/plain", "data", "x"}},
		"error":   {Result{Status: StatusError, Error: Error{Type: "T", Message: `a "b"`, Detail: "stack"}}, []string{"status", "error", "attempt", "2", "traceparent", "trace", "error", `{"type":"T","message":"a \"b\""}`}},
		"dropped": {Result{Status: StatusDropped, Reason: "old"}, []string{"status", "dropped", "attempt", "2", "traceparent", "trace", "error", `{"type":"dropped","message":"old"}`}},
	} {
		c.result.Role, c.result.At = "rag", at
		if got, want := c.result.Fields(d), slices.Concat(head, c.tail); !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", name, got, want)
		}
	}
}

func TestAResultOfATaskWithoutIDsNamesItsEntry(t *testing.T) {
	t.Parallel()
	got := Result{Role: "rag", Status: StatusOK, At: at}.Fields(example("type", "x"))
	if i := slices.Index(got, "correlationid"); got[i+1] != "7-1" || got[slices.Index(got, "causationid")+1] != "7-1" {
		t.Errorf("%q: want correlation and causation by the entry's id", got)
	}
}

func TestADeadLetterKeepsEveryFieldByteForByte(t *testing.T) {
	t.Parallel()
	original := []string{"id", "m", "b\xff", "\x00\xfe", "payload", "x", "data", "y", "id", "twice"}
	d := example(original...)
	got := DeadLetter{Reason: ReasonPoison, Error: Error{Type: "plugin died", Message: "exit status 3", Detail: "panic: x"}, Plugin: Plugin{Name: "rag", Version: "1", SHA256: "ab"}, At: at}.Fields(d)
	if !slices.Equal(got[:len(original)], original) {
		t.Fatalf("%q does not begin with the original", got)
	}
	want := []string{"dlqreason", "poison", "dlqerror", "exit status 3", "dlqerrortype", "plugin died",
		"dlqfingerprint", Fingerprint(Error{Type: "plugin died", Message: "exit status 3"}), "dlqstream", "rag:tasks", "dlqid", "7-1", "dlqattempts", "2",
		"dlqtime", "2026-11-24T01:02:03.000004Z", "dlqplugin", "rag 1 ab", "dlqstderr", "panic: x"}
	if !slices.Equal(got[len(original):], want) {
		t.Errorf("\n got %q\nwant %q", got[len(original):], want)
	}
}

func TestADeadLetterWithTooManyFieldsPacksThem(t *testing.T) {
	t.Parallel()
	var original []string
	for i := range 2000 {
		original = append(original, fmt.Sprint("n", i), "\xff")
	}
	got := DeadLetter{Reason: ReasonPermanent, At: at}.Fields(example(original...))
	if len(got) > maxFields || got[0] != "dlqfields" {
		t.Fatalf("%d names and values, the first %q", len(got), got[0])
	}
	back, err := UnpackFields(got[1])
	if err != nil || !slices.Equal(back, original) {
		t.Errorf("unpacked %d fields, error %v; want the original's %d", len(back), err, len(original))
	}
}

func TestFingerprintsIgnoreWhatVaries(t *testing.T) {
	t.Parallel()
	same := [][]string{
		{`open "/a/b.txt": no such file`, `open "/c": no such file`},
		{"timeout after 17 ms", "timeout after 2034 ms"},
		{"user 6ba7b810-9dad-11d1-80b4-00c04fd430c8 not found", "user 16fd2706-8baf-433b-82eb-8c7fada847da not found"},
	}
	for _, pair := range same {
		if a, b := Fingerprint(Error{Message: pair[0]}), Fingerprint(Error{Message: pair[1]}); a != b {
			t.Errorf("%q and %q differ: %s, %s", pair[0], pair[1], a, b)
		}
	}
	if Fingerprint(Error{Type: "a", Message: "x"}) == Fingerprint(Error{Type: "b", Message: "x"}) {
		t.Error("the type does not count")
	}
	if Fingerprint(Error{Message: "no such file"}) == Fingerprint(Error{Message: "no such host"}) {
		t.Error("the words do not count")
	}
}

func TestStatsBuckets(t *testing.T) {
	t.Parallel()
	for latency, want := range map[time.Duration]string{
		0: "le_1", time.Millisecond: "le_1", time.Millisecond + 1: "le_2", time.Minute: "le_60000", time.Hour: "le_inf",
	} {
		if got := StatsBucket(latency); got != want {
			t.Errorf("StatsBucket(%v) = %s, want %s", latency, got, want)
		}
	}
}

func TestAuditEntriesHaveTheirFields(t *testing.T) {
	t.Parallel()
	names := func(fields []string) string {
		var all []string
		for i := 0; i < len(fields); i += 2 {
			all = append(all, fields[i])
		}
		return strings.Join(all, " ")
	}
	if got := names(AuditEvent{}.Fields()); got != "time type role stream id attempt host plugin outcome error" {
		t.Errorf("event: %s", got)
	}
	if got := names(Span{Attributes: []string{"a", "b"}}.Fields()); got != "traceid spanid parentid name start duration_us status a" {
		t.Errorf("span: %s", got)
	}
}
