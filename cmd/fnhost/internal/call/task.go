// Package call puts a message on a role's stream and waits for what becomes of
// it, as a program that is no function does: it writes the stream and follows
// the results, in no group.
package call

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// Source is the CloudEvents source of the messages of the command line.
const Source = "/fnhost/cli"

// A Task is a message to publish.
type Task struct {
	ID           string // empty: a fresh one
	Type         string
	PartitionKey string
	ReplyTo      string
	// Headers are further attributes, names and values in turn.
	Headers []string
	Data    []byte // nil: none
	// ContentType of the data; empty: none said.
	ContentType string
}

// NewID gives an id that nobody else has: 130 random bits.
func NewID() string { return rand.Text() }

// NewTrace gives the W3C traceparent of a new, sampled trace.
func NewTrace() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // never fails
	return "00-" + hex.EncodeToString(b[:16]) + "-" + hex.EncodeToString(b[16:]) + "-01"
}

var attribute = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// fixed are the attributes that a task has of its own.
var fixed = []string{"id", "type", "partitionkey", "replyto", "data"}

// Fields gives the stream fields of the task published at the time now. Source,
// time and traceparent are those of the headers, if there.
func (t Task) Fields(now time.Time) ([]string, error) {
	if n := len(t.Data); n > delivery.MaxDataBytes {
		return nil, fmt.Errorf("the data is %d bytes; a message may have %d (64 MiB): put large content in a file or a store, and its address in the message", n, delivery.MaxDataBytes)
	}
	fields := []string{"id", t.ID}
	add := func(name, value string) {
		if value != "" {
			fields = append(fields, name, value)
		}
	}
	add("type", t.Type)
	for _, d := range [][2]string{
		{"source", Source}, {"time", now.UTC().Format("2006-01-02T15:04:05.000000Z")}, {"traceparent", NewTrace()},
		{"datacontenttype", t.ContentType},
	} {
		if !t.has(d[0]) {
			add(d[0], d[1])
		}
	}
	add("partitionkey", t.PartitionKey)
	add("replyto", t.ReplyTo)
	for i := 0; i+1 < len(t.Headers); i += 2 {
		if err := checkHeader(t.Headers[i]); err != nil {
			return nil, err
		}
		fields = append(fields, t.Headers[i], t.Headers[i+1])
	}
	if t.Data != nil {
		fields = append(fields, "data", string(t.Data))
	}
	return fields, nil
}

func (t Task) has(name string) bool {
	for i := 0; i < len(t.Headers); i += 2 {
		if t.Headers[i] == name {
			return true
		}
	}
	return false
}

func checkHeader(name string) error {
	if !attribute.MatchString(name) {
		return fmt.Errorf("header %q: a CloudEvents attribute has lower-case letters and digits only", name)
	}
	if slices.Contains(fixed, name) {
		return fmt.Errorf("header %q: this attribute has a flag of its own", name)
	}
	return nil
}
