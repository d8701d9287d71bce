package deadletter

import (
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// A Letter is one entry of a dead-letter queue. Of one that another program wrote,
// all but ID, Time, MessageID, Type and Fields is empty.
type Letter struct {
	ID          string    `json:"id"`                    // in the dead-letter queue
	Time        time.Time `json:"time"`                  // when it died
	Reason      string    `json:"reason,omitempty"`      // see delivery.DeadLetter
	Error       string    `json:"error,omitempty"`       // the message of the last error
	ErrorType   string    `json:"errortype,omitempty"`   // its kind
	Fingerprint string    `json:"fingerprint,omitempty"` // the same for errors of one kind
	Stream      string    `json:"stream,omitempty"`      // that the message was read from
	EntryID     string    `json:"entryid,omitempty"`     // that it had there
	Attempts    int       `json:"attempts,omitempty"`
	Plugin      string    `json:"plugin,omitempty"`  // name, version and sha256 of the binary
	Stderr      string    `json:"stderr,omitempty"`  // a stack, or the last that the plugin said
	MessageID   string    `json:"message,omitempty"` // the message's own id, if it had one
	Type        string    `json:"type,omitempty"`    // of the message
	// Fields are the message's names and values in turn, as it came.
	Fields []string `json:"fields"`
}

// prefix of the names that belong to the dead letter, not to the message.
const prefix = "dlq"

// read tells the message from what became of it.
func read(entry delivery.Entry) Letter {
	l := Letter{ID: entry.ID, Time: delivery.IDTime(entry.ID), Fields: make([]string, 0, len(entry.Fields))}
	for i := 0; i+1 < len(entry.Fields); i += 2 {
		name, value := entry.Fields[i], entry.Fields[i+1]
		if !strings.HasPrefix(name, prefix) || !l.take(name, value) {
			l.Fields = append(l.Fields, name, value)
		}
	}
	message := delivery.Read(&delivery.Entry{Fields: l.Fields})
	l.MessageID, l.Type = message.ID, message.Type
	return l
}

// take keeps what we wrote about a letter; it is false for a name that is not ours.
func (l *Letter) take(name, value string) bool {
	switch name {
	case "dlqreason":
		l.Reason = value
	case "dlqerror":
		l.Error = value
	case "dlqerrortype":
		l.ErrorType = value
	case "dlqfingerprint":
		l.Fingerprint = value
	case "dlqstream":
		l.Stream = value
	case "dlqid":
		l.EntryID = value
	case "dlqplugin":
		l.Plugin = value
	case "dlqstderr":
		l.Stderr = value
	case "dlqattempts":
		l.Attempts, _ = strconv.Atoi(value) // not a number: not known
	case "dlqtime":
		if at, err := time.Parse(time.RFC3339Nano, value); err == nil {
			l.Time = at
		}
	case "dlqfields":
		return l.unpack(value)
	default:
		return false
	}
	return true
}

func (l *Letter) unpack(packed string) bool {
	fields, err := delivery.UnpackFields(packed)
	if err != nil || len(fields)%2 != 0 {
		return false // not what we write: keep it with the message
	}
	l.Fields = append(l.Fields, fields...)
	return true
}

func (l *Letter) contains(lower string) bool {
	for _, text := range append([]string{l.Error, l.ErrorType, l.ID, l.EntryID}, l.Fields...) {
		if strings.Contains(strings.ToLower(text), lower) {
			return true
		}
	}
	return false
}

// requeued are the fields of the message to be run again: its own, byte for byte,
// and the id that it was known by, so that whoever waits for it knows it again.
func (l *Letter) requeued() []string {
	fields := make([]string, 0, len(l.Fields)+2)
	for i := 0; i+1 < len(l.Fields); i += 2 {
		if !strings.HasPrefix(l.Fields[i], prefix) {
			fields = append(fields, l.Fields[i], l.Fields[i+1])
		}
	}
	if l.MessageID == "" && l.EntryID != "" {
		fields = append(fields, "id", l.EntryID)
	}
	return fields
}
