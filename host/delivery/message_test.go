package delivery

import (
	"slices"
	"testing"
	"time"
)

func TestReadLiftsWhatTheHostActsBy(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	e := Entry{ID: "1700000000000-3", Fields: []string{
		"id", "m1", "type", "rag.query", "correlationid", "c", "partitionkey", "p", "replyto", "cm:commands",
		"traceparent", trace, "expirytime", "2030-01-02T03:04:05Z", "time", "2029-01-02T03:04:05Z", "odd\xff", "\x00", "data", "{}",
	}}
	m := Read(&e)
	want := Message{ID: "m1", Type: "rag.query", CorrelationID: "c", PartitionKey: "p", ReplyTo: "cm:commands", TraceParent: trace,
		Expiry: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Time: time.Date(2029, 1, 2, 3, 4, 5, 0, time.UTC), Data: "{}", HasData: true}
	if !slices.Equal(m.Attributes, e.Fields[:len(e.Fields)-2]) {
		t.Errorf("attributes %q, want all fields but the data, in their order, byte for byte", m.Attributes)
	}
	m.Attributes = nil
	if m.ID != want.ID || m.Type != want.Type || m.CorrelationID != want.CorrelationID || m.PartitionKey != want.PartitionKey ||
		m.ReplyTo != want.ReplyTo || m.TraceParent != want.TraceParent || !m.Expiry.Equal(want.Expiry) || !m.Time.Equal(want.Time) || m.Data != want.Data {
		t.Errorf("got %+v\nwant %+v", m, want)
	}
}

func TestReadAsksForNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fields     []string
		data       string
		has        bool
		attributes []string
	}{
		"no fields at all":              {nil, "", false, nil},
		"payload is accepted for data":  {[]string{"payload", "x", "a", "b"}, "x", true, []string{"a", "b"}},
		"data wins over payload":        {[]string{"payload", "x", "data", "y"}, "y", true, []string{"payload", "x"}},
		"empty data is data":            {[]string{"data", ""}, "", true, nil},
		"a second data is an attribute": {[]string{"data", "1", "data", "2"}, "1", true, []string{"data", "2"}},
		"a name without a value":        {[]string{"a", "b", "odd"}, "", false, []string{"a", "b"}},
		"a trace that is none":          {[]string{"traceparent", "00-zz"}, "", false, []string{"traceparent", "00-zz"}},
	} {
		m := Read(&Entry{ID: "1700000000000-0", Fields: c.fields})
		if m.Data != c.data || m.HasData != c.has || !slices.Equal(m.Attributes, c.attributes) {
			t.Errorf("%s: data %q %v, attributes %q", name, m.Data, m.HasData, m.Attributes)
		}
		if m.ID != "1700000000000-0" || m.Time.UnixMilli() != 1700000000000 || m.TraceParent != "" || !m.Expiry.IsZero() {
			t.Errorf("%s: id %q, time %v, trace %q, expiry %v", name, m.ID, m.Time, m.TraceParent, m.Expiry)
		}
	}
}

func TestIDsAreOrderedAsNumbers(t *testing.T) {
	t.Parallel()
	ids := []string{"0-0", "9-1", "9-2", "9-10", "10-0", "18446744073709551615-18446744073709551615"}
	for i, a := range ids {
		for j, b := range ids {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := CompareIDs(a, b); got != want {
				t.Errorf("CompareIDs(%s, %s) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestValidTrace(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": true,
		"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01": false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false,
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": false,
		"": false,
	} {
		if got := ValidTrace(s); got != want {
			t.Errorf("ValidTrace(%q) = %v, want %v", s, got, want)
		}
	}
}
