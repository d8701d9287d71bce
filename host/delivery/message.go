package delivery

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// MaxDataBytes is the limit of one message's data.
const MaxDataBytes = 64 << 20

// Message is an entry read as CloudEvents 1.0 context attributes and data. The
// host asks for nothing: what is missing is empty.
type Message struct {
	ID            string // the attribute, or else the entry's id
	Type          string
	CorrelationID string
	PartitionKey  string
	ReplyTo       string
	ReplyKey      string // the partitionkey of the result; empty: the message's own
	TraceParent   string
	Expiry        time.Time // zero: never
	Time          time.Time // of the attribute, or else of the entry's id
	// Attributes are all fields but the data, names and values in turn.
	Attributes []string
	Data       string
	HasData    bool
}

// Read reads an entry. It never fails: a field that cannot be understood is
// passed on as it is. `payload` is accepted for `data`.
func Read(e *Entry) Message {
	m := Message{Attributes: make([]string, 0, len(e.Fields))}
	payload := -1
	for i := 0; i+1 < len(e.Fields); i += 2 {
		name, value := e.Fields[i], e.Fields[i+1]
		switch name {
		case "data":
			if !m.HasData {
				m.Data, m.HasData = value, true
				continue
			}
		case "payload":
			if payload < 0 {
				payload = len(m.Attributes)
			}
		default:
			m.lift(name, value)
		}
		m.Attributes = append(m.Attributes, name, value)
	}
	if !m.HasData && payload >= 0 {
		m.Data, m.HasData = m.Attributes[payload+1], true
		m.Attributes = append(m.Attributes[:payload], m.Attributes[payload+2:]...)
	}
	if m.ID == "" {
		m.ID = e.ID
	}
	if m.Time.IsZero() {
		m.Time = IDTime(e.ID)
	}
	return m
}

// lift keeps the attributes that the host itself acts by; the first one counts.
func (m *Message) lift(name, value string) {
	set := func(field *string) {
		if *field == "" {
			*field = value
		}
	}
	switch name {
	case "id":
		set(&m.ID)
	case "type":
		set(&m.Type)
	case "correlationid":
		set(&m.CorrelationID)
	case "partitionkey":
		set(&m.PartitionKey)
	case "replyto":
		set(&m.ReplyTo)
	case "replykey":
		set(&m.ReplyKey)
	case "traceparent":
		if ValidTrace(value) {
			set(&m.TraceParent)
		}
	case "time":
		setTime(&m.Time, value)
	case "expirytime":
		setTime(&m.Expiry, value)
	}
}

func setTime(field *time.Time, value string) {
	if t, err := time.Parse(time.RFC3339Nano, value); err == nil && field.IsZero() {
		*field = t
	}
}

// IDTime is the time in a stream entry's id; zero if it has none.
func IDTime(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// CompareIDs orders stream entry ids as Redis does: by milliseconds, then by
// sequence number.
func CompareIDs(a, b string) int {
	aMS, aSeq := splitID(a)
	bMS, bSeq := splitID(b)
	switch {
	case aMS < bMS || aMS == bMS && aSeq < bSeq:
		return -1
	case aMS == bMS && aSeq == bSeq:
		return 0
	}
	return 1
}

func splitID(id string) (ms, seq uint64) {
	first, second, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(first, 10, 64)
	seq, _ = strconv.ParseUint(second, 10, 64)
	return ms, seq
}

// ValidTrace says whether s is a W3C traceparent of version 00.
// See https://www.w3.org/TR/trace-context/#traceparent-header.
func ValidTrace(s string) bool {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i, c := range []byte(s) {
		if i == 2 || i == 35 || i == 52 {
			continue
		}
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return s[3:35] != strings.Repeat("0", 32) && s[36:52] != strings.Repeat("0", 16)
}

// SourceOf is the CloudEvents source of what a role publishes.
func SourceOf(role string) string { return "/fnhost/" + role }

// formatTime writes times as CloudEvents wants them: RFC 3339, UTC.
func formatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

func (d *Delivery) String() string {
	return fmt.Sprintf("%s %s attempt %d fence %d", d.Stream, d.Entry.ID, d.Attempt(), d.Grant.Fence)
}

// Attempt is the number of this run, 1 on the first.
func (d *Delivery) Attempt() int { return d.Grant.Attempt }
