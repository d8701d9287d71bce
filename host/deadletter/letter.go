package deadletter

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// A Letter is one entry of a dead-letter queue. Of one that another program wrote,
// what it does not say under a name that is commonly used for it is empty.
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
	// From is the stream and the entry that the message was when it was dead last
	// time, and Requeues how often it has been requeued.
	From     string `json:"requeuedfrom,omitempty"`
	Requeues int    `json:"requeues,omitempty"`
	// Fields are the message's names and values in turn, as it came.
	Fields []string `json:"fields"`
	// Entry is the dead letter itself, whole: names and values in turn.
	Entry []string `json:"-"`
}

// The last two fields of a message that was requeued.
const (
	fieldFrom  = "requeuedfrom"
	fieldCount = "requeuecount"
)

// prefix of the names that belong to the dead letter, not to the message.
const prefix = "dlq"

// read tells the message from what became of it.
func (d *DeadLetters) read(entry delivery.Entry) Letter {
	l := Letter{ID: entry.ID, Time: delivery.IDTime(entry.ID), Fields: make([]string, 0, len(entry.Fields)), Entry: entry.Fields}
	for i := 0; i+1 < len(entry.Fields); i += 2 {
		name, value := entry.Fields[i], entry.Fields[i+1]
		if !strings.HasPrefix(name, prefix) || !l.take(name, value) {
			l.Fields = append(l.Fields, name, value)
		}
	}
	message := delivery.Read(&delivery.Entry{Fields: l.Fields})
	l.MessageID, l.Type = message.ID, message.Type
	if n := l.own(); n < len(l.Fields) {
		l.From = l.Fields[n+1]
		l.Requeues, _ = strconv.Atoi(l.Fields[n+3]) // not a number: none that we know of
	}
	if l.Stream == "" && l.Reason == "" {
		l.foreign(d.keys)
	}
	return l
}

// own is how many of Fields are the message's own: what a requeue added is at
// their end.
func (l *Letter) own() int {
	n := len(l.Fields) - 4
	if n >= 0 && l.Fields[n] == fieldFrom && l.Fields[n+2] == fieldCount {
		return n
	}
	return len(l.Fields)
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
	return l.errorContains(lower) || holds(lower, l.ID, l.EntryID) || holds(lower, l.Fields...)
}

func (l *Letter) errorContains(lower string) bool { return holds(lower, l.Error, l.ErrorType) }

func holds(lower string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(strings.ToLower(text), lower) })
}

// requeued are the fields of the message to be run again: its own, byte for byte,
// the id that it was known by, so that whoever waits for it knows it again, and
// where it comes from.
func (l *Letter) requeued(dlq string) []string {
	fields := make([]string, 0, len(l.Fields)+6)
	for i := 0; i+1 < l.own(); i += 2 {
		if !strings.HasPrefix(l.Fields[i], prefix) {
			fields = append(fields, l.Fields[i], l.Fields[i+1])
		}
	}
	if l.MessageID == "" && l.EntryID != "" {
		fields = append(fields, "id", l.EntryID)
	}
	return append(fields, fieldFrom, l.origin(dlq), fieldCount, strconv.Itoa(l.Requeues+1))
}

// origin names the entry that died, or else the dead letter.
func (l *Letter) origin(dlq string) string {
	if l.Stream == "" || l.EntryID == "" {
		return dlq + "/" + l.ID
	}
	return l.Stream + "/" + l.EntryID
}
