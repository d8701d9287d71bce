package wire

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

var (
	errText   = errors.New("text that is not UTF-8")
	errNumber = errors.New("no field has such a number")
)

// fields goes through the fields of a message.
type fields struct {
	rest []byte
	tag  uint64 // number and wire type
	n    uint64 // the value of a varint
	v    []byte // that of what has a length
	err  error
}

func (f *fields) next() bool {
	if len(f.rest) == 0 || f.err != nil {
		return false
	}
	num, kind, n := protowire.ConsumeTag(f.rest)
	switch {
	case n < 0:
		return f.fail(protowire.ParseError(n))
	case num > protowire.MaxValidNumber:
		return f.fail(fmt.Errorf("field %d: %w", num, errNumber))
	}
	f.tag, f.rest = uint64(num)<<3|uint64(kind), f.rest[n:]
	switch kind {
	case protowire.VarintType:
		f.n, n = protowire.ConsumeVarint(f.rest)
	case protowire.BytesType:
		f.v, n = protowire.ConsumeBytes(f.rest)
	default:
		n = protowire.ConsumeFieldValue(num, kind, f.rest)
	}
	if n < 0 {
		return f.fail(protowire.ParseError(n))
	}
	f.rest = f.rest[n:]
	return true
}

func (f *fields) fail(err error) bool {
	f.err = err
	return false
}

// count says how often a tag occurs.
func count(b []byte, tag uint64) (n int, err error) {
	f := fields{rest: b}
	for f.next() {
		if f.tag == tag {
			n++
		}
	}
	return n, f.err
}

// readHostFrame reads a frame of which nothing is kept of b.
func readHostFrame(b []byte, frame *fnhostv1.HostFrame) error {
	frame.Reset()
	deliveries, err := count(b, frameFirst)
	if err != nil {
		return err
	}
	r := deliveryReader{left: deliveries}
	frame.Deliver = make([]*fnhostv1.Delivery, 0, deliveries)
	f := fields{rest: b}
	for f.next() && err == nil {
		switch f.tag {
		case frameFirst:
			d := r.delivery()
			frame.Deliver = append(frame.Deliver, d)
			err = r.read(f.v, d)
		case frameSecond:
			c := &fnhostv1.Cancel{}
			frame.Cancel = append(frame.Cancel, c)
			err = proto.Unmarshal(f.v, c)
		case frameThird:
			l := &fnhostv1.Loaded{}
			frame.Loaded = append(frame.Loaded, l)
			err = proto.Unmarshal(f.v, l)
		}
	}
	return errors.Join(err, f.err)
}

// deliveryReader reads the deliveries of one frame.
type deliveryReader struct {
	left   int    // deliveries to read
	stream string // of the last one

	// Memory that is not used yet.
	deliveries []fnhostv1.Delivery
	attributes []fnhostv1.Attribute
	pointers   []*fnhostv1.Attribute
}

// How many are allocated together: less than 32 KiB of each, from where on the
// runtime finds memory in a slower way.
const (
	deliveriesAtOnce = 128
	attributesAtOnce = 256
	outcomesAtOnce   = 64
)

// delivery gives the next delivery.
func (r *deliveryReader) delivery() *fnhostv1.Delivery {
	if len(r.deliveries) == 0 {
		r.deliveries = make([]fnhostv1.Delivery, min(r.left, deliveriesAtOnce))
	}
	d := &r.deliveries[0]
	r.deliveries = r.deliveries[1:]
	r.left--
	return d
}

// take gives n attributes, and pointers to them.
func (r *deliveryReader) take(n int) []*fnhostv1.Attribute {
	if n > len(r.attributes) {
		// What follows is probably alike.
		all := max(n, min(n*(r.left+1), attributesAtOnce))
		r.attributes, r.pointers = make([]fnhostv1.Attribute, all), make([]*fnhostv1.Attribute, all)
		for i := range r.attributes {
			r.pointers[i] = &r.attributes[i]
		}
	}
	taken := r.pointers[:n:n]
	r.attributes, r.pointers = r.attributes[n:], r.pointers[n:]
	return taken
}

// read reads one delivery. Its names, values and texts are in one piece of
// memory; its data, which the handler may change, is in another.
func (r *deliveryReader) read(b []byte, d *fnhostv1.Delivery) error {
	attributes, size := 0, 0
	f := fields{rest: b}
	for f.next() {
		switch f.tag {
		case deliveryAttributes:
			attributes++
			size += len(f.v)
		case deliveryEntryID, deliveryTrace:
			size += len(f.v)
		}
	}
	if f.err != nil {
		return f.err
	}
	d.Attributes = r.take(attributes)[:0]
	text := texts(make([]byte, 0, size))
	for f = (fields{rest: b}); f.next(); {
		if err := r.field(&f, d, &text); err != nil {
			return err
		}
	}
	if !utf8.ValidString(d.Stream) || !utf8.ValidString(d.EntryId) || !utf8.ValidString(d.Traceparent) {
		return fmt.Errorf("delivery %d: %w", d.Number, errText)
	}
	return nil
}

func (r *deliveryReader) field(f *fields, d *fnhostv1.Delivery, text *texts) error {
	switch f.tag {
	case deliveryNumber:
		d.Number = f.n
	case deliveryStream:
		if r.stream != string(f.v) {
			r.stream = string(f.v)
		}
		d.Stream = r.stream
	case deliveryEntryID:
		d.EntryId = text.text(f.v)
	case deliveryAttributes:
		n := len(d.Attributes)
		d.Attributes = d.Attributes[:n+1]
		return readAttribute(f.v, d.Attributes[n], text)
	case deliveryData:
		d.Data = append([]byte{}, f.v...)
	case deliveryAttempt:
		d.Attempt = uint32(f.n & math.MaxUint32)
	case deliveryFence:
		d.Fence = f.n
	case deliveryTimeout:
		d.TimeoutMs = uint32(f.n & math.MaxUint32)
	case deliveryTrace:
		d.Traceparent = text.text(f.v)
	case deliveryMore:
		more := &fnhostv1.Delivery{}
		d.More = append(d.More, more)
		return r.read(f.v, more)
	}
	return nil
}

func readAttribute(b []byte, a *fnhostv1.Attribute, text *texts) error {
	f := fields{rest: b}
	for f.next() {
		switch f.tag {
		case attributeName:
			a.Name = text.bytes(f.v)
		case attributeValue:
			a.Value = text.bytes(f.v)
		}
	}
	return f.err
}

// texts is memory of which pieces are given out; it is large enough from the
// start. Nobody changes what is in it.
type texts []byte

func (t *texts) bytes(v []byte) []byte {
	from := len(*t)
	*t = append(*t, v...)
	return (*t)[from:len(*t):len(*t)]
}

func (t *texts) text(v []byte) string {
	b := t.bytes(v)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// A Done is an outcome with a verdict of done, in one piece.
type Done struct {
	Outcome fnhostv1.Outcome
	verdict fnhostv1.Outcome_Done
	Done    fnhostv1.Done
}

// Join makes the verdict the outcome's.
func (d *Done) Join() {
	d.verdict.Done = &d.Done
	d.Outcome.Verdict = &d.verdict
}

// results is memory for the results of a frame, which are allocated together,
// but the large ones.
type results struct {
	free texts
	left int // bytes of the frame that are still to read
}

const (
	largeResult   = 4 << 10
	resultsAtOnce = 32 << 10
)

func (r *results) take(v []byte) []byte {
	if len(v) > largeResult {
		return append([]byte{}, v...)
	}
	if len(v) > cap(r.free)-len(r.free) {
		r.free = make(texts, 0, max(len(v), min(r.left, resultsAtOnce)))
	}
	return r.free.bytes(v)
}

// readFunctionFrame reads a frame of which nothing is kept of b.
func readFunctionFrame(b []byte, frame *fnhostv1.FunctionFrame) error {
	frame.Reset()
	outcomes, err := count(b, frameFirst)
	if err != nil {
		return err
	}
	frame.Outcome = make([]*fnhostv1.Outcome, 0, outcomes)
	var free []Done
	var memory results
	f := fields{rest: b}
	for f.next() && err == nil {
		switch f.tag {
		case frameFirst:
			if len(free) == 0 {
				free = make([]Done, min(outcomes-len(frame.Outcome), outcomesAtOnce))
			}
			o := &free[0]
			free, frame.Outcome = free[1:], append(frame.Outcome, &o.Outcome)
			memory.left = len(f.v) + len(f.rest)
			err = readOutcome(f.v, o, &memory)
		case frameSecond:
			l := &fnhostv1.Load{}
			frame.Load = append(frame.Load, l)
			err = proto.Unmarshal(f.v, l)
		}
	}
	return errors.Join(err, f.err)
}

// readOutcome reads an outcome that is done with nothing but a result; others
// are left to protobuf.
func readOutcome(b []byte, o *Done, memory *results) error {
	f := fields{rest: b}
	for f.next() {
		switch {
		case f.tag == outcomeDelivery:
			o.Outcome.Delivery = f.n
		case f.tag == outcomeTook:
			o.Outcome.HandlerUs = f.n
		case f.tag == outcomeDone && o.Outcome.Verdict == nil && plainDone(f.v):
			o.Join()
			if err := readDone(f.v, &o.Done, memory); err != nil {
				return err
			}
		default:
			return proto.Unmarshal(b, &o.Outcome)
		}
	}
	return f.err
}

// plainDone says that there is nothing but a result and its content type.
func plainDone(b []byte) bool {
	f := fields{rest: b}
	for f.next() {
		if f.tag != doneResult && f.tag != doneContentType {
			return false
		}
	}
	return f.err == nil
}

func readDone(b []byte, d *fnhostv1.Done, memory *results) error {
	f := fields{rest: b}
	for f.next() {
		switch {
		case f.tag == doneContentType && !utf8.Valid(f.v):
			return fmt.Errorf("the content type of a result: %w", errText)
		case f.tag == doneContentType:
			d.ContentType = contentType(f.v)
		default:
			d.Result = memory.take(f.v)
		}
	}
	return f.err
}

// contentType spares the usual one its memory.
func contentType(v []byte) string {
	if string(v) == "application/json" {
		return "application/json"
	}
	return string(v)
}
