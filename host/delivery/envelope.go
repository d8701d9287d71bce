package delivery

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Statuses of a result entry.
const (
	StatusOK      = "ok"
	StatusError   = "error"
	StatusDropped = "dropped"
)

// StatusDiscarded is counted for a final failure of a role without dead letters.
const StatusDiscarded = "discarded"

// Result is what a result entry says besides what it takes from the delivery.
type Result struct {
	Role        string
	Status      string
	Data        []byte
	ContentType string
	Error       Error // of StatusError
	Reason      string
	At          time.Time
}

// Fields are the fields of the result entry of a delivery, in the order of
// architecture section 6.
func (r Result) Fields(d *Delivery) []string {
	m := &d.Message
	correlation := m.CorrelationID
	if correlation == "" {
		correlation = m.ID
	}
	fields := make([]string, 0, 28)
	fields = append(fields,
		"id", d.Stream+"/"+d.Entry.ID,
		"type", resultType(m.Type),
		"source", SourceOf(r.Role),
		"time", formatTime(r.At),
		"correlationid", correlation,
		"causationid", m.ID,
		"entryid", d.Entry.ID,
	)
	if key := cmp.Or(m.ReplyKey, m.PartitionKey); key != "" {
		fields = append(fields, "partitionkey", key)
	}
	fields = append(fields, "status", r.Status, "attempt", strconv.Itoa(d.Grant.Attempt))
	if d.Trace != "" {
		fields = append(fields, "traceparent", d.Trace)
	}
	switch r.Status {
	case StatusOK:
		if r.ContentType != "" && r.ContentType != "application/json" {
			fields = append(fields, "datacontenttype", r.ContentType)
		}
		return append(fields, "data", string(r.Data))
	case StatusError:
		return append(fields, "error", r.Error.JSON())
	default:
		return append(fields, "error", Error{Type: "dropped", Message: r.Reason}.JSON())
	}
}

func resultType(task string) string {
	if task == "" {
		return "result"
	}
	return task + ".result"
}

// JSON is the error as a result entry carries it: type and message, no detail.
func (e Error) JSON() string {
	b, err := json.Marshal(struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}{e.Type, e.Message})
	if err != nil { // strings always marshal
		panic(err)
	}
	return string(b)
}

// Reasons of a dead letter.
const (
	ReasonPermanent = "permanent"
	ReasonExhausted = "exhausted"
	ReasonPoison    = "poison"
	ReasonExpired   = "expired"
	ReasonOversize  = "oversize"
)

// maxFields is the most names and values that one entry may have in a commit: an
// XADD in a script is one call, and its arguments are limited.
const maxFields = 3500

// DeadLetter is what a dead letter says besides the original's fields.
type DeadLetter struct {
	Reason string
	Error  Error
	Plugin Plugin
	At     time.Time
}

// Fields are the fields of the dead letter of a delivery: all original fields,
// byte for byte, then ours. An original with too many fields for one entry is
// packed into `dlqfields`, a JSON array of base64 names and values.
func (l DeadLetter) Fields(d *Delivery) []string {
	original := d.Entry.Fields
	fields := make([]string, 0, len(original)+22)
	if len(original) > maxFields-24 {
		fields = append(fields, "dlqfields", packFields(original))
	} else {
		fields = append(fields, original...)
	}
	fields = append(fields,
		"dlqreason", l.Reason,
		"dlqerror", l.Error.Message,
		"dlqerrortype", l.Error.Type,
		"dlqfingerprint", Fingerprint(l.Error),
		"dlqstream", d.Stream,
		"dlqid", d.Entry.ID,
		"dlqattempts", strconv.Itoa(d.Grant.Attempt),
		"dlqtime", formatTime(l.At),
	)
	if l.Plugin.Name != "" {
		fields = append(fields, "dlqplugin", strings.TrimSpace(l.Plugin.Name+" "+l.Plugin.Version+" "+l.Plugin.SHA256))
	}
	if l.Error.Detail != "" {
		fields = append(fields, "dlqstderr", l.Error.Detail)
	}
	return fields
}

func packFields(fields []string) string {
	raw := make([][]byte, len(fields))
	for i, f := range fields {
		raw[i] = []byte(f)
	}
	b, err := json.Marshal(raw)
	if err != nil { // byte slices always marshal
		panic(err)
	}
	return string(b)
}

// UnpackFields is the inverse of what a dead letter with too many fields does.
func UnpackFields(packed string) ([]string, error) {
	var raw [][]byte
	if err := json.Unmarshal([]byte(packed), &raw); err != nil {
		return nil, err
	}
	fields := make([]string, len(raw))
	for i, f := range raw {
		fields[i] = string(f)
	}
	return fields, nil
}

// varying are the parts of an error's text that differ between failures of one
// kind. An apostrophe within a word opens no quotation.
var varying = regexp.MustCompile(strings.Join([]string{
	"\"[^\"]*\"", `\B'[^']*'`, "`[^`]*`",
	`\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:Z|[+-]\d\d:?\d\d|UTC))?)?\b`, // times
	`\b(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+\b`,                                                // durations
	`\b0x[0-9a-fA-F]+\b`, `\b[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,})*\b`, // hex
	`\b[A-Za-z]*\d[A-Za-z]*\d[A-Za-z]*\d[0-9A-Za-z]*\b`, // ids
	`\d+(?:\.\d+)*`,
}, "|"))

// Fingerprint is the same for errors that differ only in quoted text, times, ids
// and numbers: 12 hex digits.
func Fingerprint(e Error) string {
	sum := sha256.Sum256([]byte(e.Type + "\x00" + varying.ReplaceAllString(e.Message, "?")))
	return hex.EncodeToString(sum[:6])
}
