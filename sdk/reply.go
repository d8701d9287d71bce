package sdk

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Reply is what a finished message leaves behind. All of it becomes true in
// one step, together with the acknowledgement, or none of it.
type Reply struct {
	// Data is the result's data, published to the subscription's results stream.
	Data []byte
	// ContentType of Data; default application/json.
	ContentType string
	// Emissions are entries to add to other streams.
	Emissions []Emission
}

// An Emission is an entry to add to another stream, which the function must
// name in [Function.Emits].
type Emission struct {
	To         string // a stream, or a role: that role's first input stream
	Type       string // the message type
	Attributes []Attribute
	Data       []byte
	// NotBefore is when the entry appears on its stream, to the millisecond; zero:
	// at once. It is kept with the message's outcome, and appears within a second
	// or two of its time, as long as any host lives.
	NotBefore time.Time
}

// A BatchReply is what a finished batch leaves behind.
type BatchReply struct {
	// Replies has one for each message, in their order; a nil one means done with
	// nothing to say.
	Replies []*Reply
}

// Result gives a reply whose data is v as JSON.
func Result(v any) (*Reply, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, Permanent(fmt.Errorf("encoding the result: %w", err))
	}
	return &Reply{Data: data}, nil
}

// Emit adds an entry with v as JSON to another stream: to is the stream's name,
// or a role, which means that role's first input stream. Further attributes
// (`partitionkey`, `replyto`, `subject`, ...) may follow.
func (r *Reply) Emit(to, messageType string, v any, attributes ...Attribute) error {
	data, err := json.Marshal(v)
	if err != nil {
		return Permanent(fmt.Errorf("encoding the emission to %s: %w", to, err))
	}
	r.Emissions = append(r.Emissions, Emission{To: to, Type: messageType, Attributes: attributes, Data: data})
	return nil
}
