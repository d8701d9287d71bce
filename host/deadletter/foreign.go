package deadletter

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/topology"
)

// foreign takes from the fields of another program's dead letter what it says
// about the failure. The fields stay with the message: which of them were its own
// nobody can tell.
func (l *Letter) foreign(keys topology.Keys) {
	stream := ""
	for i := 0; i+1 < len(l.Fields); i += 2 {
		switch name, value := plain.Replace(strings.ToLower(l.Fields[i])), l.Fields[i+1]; {
		case value == "":
		case name == "stream":
			set(&stream, value)
		default:
			l.guess(name, value)
		}
	}
	if l.EntryID != "" { // else it may be an attribute of the message
		set(&l.Stream, stream)
	}
	if bare, ours := keys.Name(l.Stream); ours {
		l.Stream = bare
	}
	if l.Fingerprint == "" && l.Error != "" {
		l.Fingerprint = delivery.Fingerprint(delivery.Error{Type: l.ErrorType, Message: l.Error})
	}
}

// plain makes one name of original_id, original-id and originalId.
var plain = strings.NewReplacer("_", "", "-", "", ".", "", " ", "")

var (
	// entryID is what a stream entry's id looks like, letterID what people may
	// give for one.
	entryID  = regexp.MustCompile(`^[0-9]{1,20}-[0-9]{1,20}$`)
	letterID = regexp.MustCompile(`^[0-9]{1,20}(-[0-9]{1,20})?$`)
)

// guess takes a value by the names that workers commonly give it; the first one
// counts.
func (l *Letter) guess(name, value string) {
	switch name {
	case "error", "err", "errormessage", "lasterror", "exception", "failure":
		set(&l.Error, value)
	case "errortype", "errorclass", "exceptiontype":
		set(&l.ErrorType, value)
	case "reason", "failurereason":
		set(&l.Reason, value)
	case "stack", "stacktrace", "traceback", "stderr":
		set(&l.Stderr, value)
	case "originalstream", "origstream", "originstream", "sourcestream":
		set(&l.Stream, value)
	case "originalid", "origid", "originid", "originalmessageid", "originalentryid", "entryid", "msgid", "messageid", "streamid":
		if entryID.MatchString(value) { // else it is an id of the application
			set(&l.EntryID, value)
		}
	case "attempts", "attempt", "retries", "retrycount", "deliverycount":
		if n, err := strconv.Atoi(value); err == nil && l.Attempts == 0 {
			l.Attempts = n
		}
	case "failedat", "diedat", "deadletteredat", "movedat":
		if at, err := time.Parse(time.RFC3339Nano, value); err == nil {
			l.Time = at
		}
	}
}

func set(field *string, value string) {
	if *field == "" {
		*field = value
	}
}
