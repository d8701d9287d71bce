package sdk

import (
	"cmp"
	"slices"
	"time"
	"unsafe"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// A Message is one stream entry, as CloudEvents attributes and data.
type Message struct {
	ID           string    // the producer's id, or else the entry id
	Type         string    // what the message asks for, as `rag.query`
	Source       string    // who sent it
	Subject      string    // what it is about
	Time         time.Time // when it was sent; zero if it does not say
	ContentType  string    // of Data; usually application/json
	PartitionKey string    // messages with the same one run one after another

	// Attributes are all fields of the entry but the data, in their order, the
	// ones above among them, byte for byte.
	Attributes []Attribute
	Data       []byte

	Stream  string // the input stream, without the namespace
	EntryID string // the entry's id in it
	Attempt int    // 1 on the first run; rises when a failure was counted
	// Fence rises with every run of this message. A sink that remembers the
	// highest fence it saw for an id can refuse an older run.
	Fence uint64
}

// An Attribute is one field of a stream entry.
type Attribute struct{ Name, Value string }

// Attribute gives the value of the first attribute of that name, or "".
func (m *Message) Attribute(name string) string {
	for _, a := range m.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return ""
}

// read takes over what the delivery has, and lifts out of its attributes the ones
// that have a field of their own.
func (m *Message) read(d *fnhostv1.Delivery) {
	m.Data, m.Stream, m.EntryID = d.GetData(), d.GetStream(), d.GetEntryId()
	m.Attempt, m.Fence = int(d.GetAttempt()), d.GetFence()
	m.Attributes = make([]Attribute, len(d.GetAttributes()))
	for i, a := range d.GetAttributes() {
		m.Attributes[i] = Attribute{Name: textOf(a.GetName()), Value: textOf(a.GetValue())}
	}
	m.lift()
	m.ID = cmp.Or(m.ID, m.EntryID)
}

// textOf gives bytes that nobody will change as a string, without a copy.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func (m *Message) lift() {
	for _, a := range slices.Backward(m.Attributes) { // so that the first of a name holds
		switch a.Name {
		case "id":
			m.ID = a.Value
		case "type":
			m.Type = a.Value
		case "source":
			m.Source = a.Value
		case "subject":
			m.Subject = a.Value
		case "time":
			m.Time, _ = time.Parse(time.RFC3339, a.Value) // what is no time stays an attribute
		case "datacontenttype":
			m.ContentType = a.Value
		case "partitionkey":
			m.PartitionKey = a.Value
		}
	}
}
