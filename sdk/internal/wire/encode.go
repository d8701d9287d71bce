package wire

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// Tags of the fields that are written and read here: number and wire type. All
// numbers are less than 16, so that a tag is one byte.
const (
	varint = 0 // a wire type: https://protobuf.dev/programming-guides/encoding/; 2 is a length and so many bytes

	frameFirst  = 1<<3 | 2 // of both frames: deliveries, outcomes
	frameSecond = 2<<3 | 2 // cancels, loads
	frameThird  = 3<<3 | 2 // answers to loads

	deliveryNumber     = 1<<3 | varint
	deliveryStream     = 2<<3 | 2
	deliveryEntryID    = 3<<3 | 2
	deliveryAttributes = 4<<3 | 2
	deliveryData       = 5<<3 | 2
	deliveryAttempt    = 6<<3 | varint
	deliveryFence      = 7<<3 | varint
	deliveryTimeout    = 8<<3 | varint
	deliveryTrace      = 9<<3 | 2
	deliveryMore       = 10<<3 | 2

	attributeName  = 1<<3 | 2
	attributeValue = 2<<3 | 2

	outcomeDelivery = 1<<3 | varint
	outcomeDone     = 2<<3 | 2
	outcomeTook     = 9<<3 | varint

	doneResult      = 1<<3 | 2
	doneContentType = 2<<3 | 2
)

// nested is the size of a field that has n bytes.
func nested(n int) int { return 1 + protowire.SizeBytes(n) }

// optional is the size of a text field, which is left out when it is empty.
func optional[T string | []byte](v T) int {
	if len(v) == 0 {
		return 0
	}
	return nested(len(v))
}

func number(n uint64) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(n)
}

func appendText[T string | []byte](b []byte, tag byte, v T) []byte {
	if len(v) == 0 {
		return b
	}
	return append(protowire.AppendVarint(append(b, tag), uint64(len(v))), v...)
}

func appendNumber(b []byte, tag byte, n uint64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, tag), n)
}

func appendLength(b []byte, tag byte, n int) []byte {
	return protowire.AppendVarint(append(b, tag), uint64(n))
}

// appendMessage appends a message that has no faster way.
func appendMessage(b []byte, tag byte, m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(appendLength(b, tag, proto.Size(m)), m)
}

// hostFrameBytes is the frame's size; false if it has text that is none, which
// protobuf has an error for.
func hostFrameBytes(f *fnhostv1.HostFrame) (n int, ok bool) {
	for _, d := range f.GetDeliver() {
		if !validDelivery(d) {
			return 0, false
		}
		n += nested(DeliveryBytes(d))
	}
	for _, c := range f.GetCancel() {
		n += nested(proto.Size(c))
	}
	for _, l := range f.GetLoaded() {
		n += nested(proto.Size(l))
	}
	return n, true
}

func validDelivery(d *fnhostv1.Delivery) bool {
	for _, more := range d.GetMore() {
		if !validDelivery(more) {
			return false
		}
	}
	return utf8.ValidString(d.GetStream()) && utf8.ValidString(d.GetEntryId()) && utf8.ValidString(d.GetTraceparent())
}

func appendHostFrame(b []byte, f *fnhostv1.HostFrame) (_ []byte, err error) {
	for _, d := range f.GetDeliver() {
		b = appendDelivery(b, frameFirst, d)
	}
	for _, c := range f.GetCancel() {
		if b, err = appendMessage(b, frameSecond, c); err != nil {
			return nil, err
		}
	}
	for _, l := range f.GetLoaded() {
		if b, err = appendMessage(b, frameThird, l); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// DeliveryBytes is the size of a delivery on the wire.
func DeliveryBytes(d *fnhostv1.Delivery) int {
	n := number(d.GetNumber()) + optional(d.GetStream()) + optional(d.GetEntryId()) + optional(d.GetData()) +
		number(uint64(d.GetAttempt())) + number(d.GetFence()) + number(uint64(d.GetTimeoutMs())) + optional(d.GetTraceparent())
	for _, a := range d.GetAttributes() {
		n += nested(attributeBytes(a))
	}
	for _, more := range d.GetMore() {
		n += nested(DeliveryBytes(more))
	}
	return n
}

func attributeBytes(a *fnhostv1.Attribute) int { return optional(a.GetName()) + optional(a.GetValue()) }

func appendDelivery(b []byte, tag byte, d *fnhostv1.Delivery) []byte {
	b = appendLength(b, tag, DeliveryBytes(d))
	b = appendNumber(b, deliveryNumber, d.GetNumber())
	b = appendText(b, deliveryStream, d.GetStream())
	b = appendText(b, deliveryEntryID, d.GetEntryId())
	for _, a := range d.GetAttributes() {
		b = appendLength(b, deliveryAttributes, attributeBytes(a))
		b = appendText(b, attributeName, a.GetName())
		b = appendText(b, attributeValue, a.GetValue())
	}
	b = appendText(b, deliveryData, d.GetData())
	b = appendNumber(b, deliveryAttempt, uint64(d.GetAttempt()))
	b = appendNumber(b, deliveryFence, d.GetFence())
	b = appendNumber(b, deliveryTimeout, uint64(d.GetTimeoutMs()))
	b = appendText(b, deliveryTrace, d.GetTraceparent())
	for _, more := range d.GetMore() {
		b = appendDelivery(b, deliveryMore, more)
	}
	return b
}

func functionFrameBytes(f *fnhostv1.FunctionFrame) (n int, ok bool) {
	for _, o := range f.GetOutcome() {
		if done := plain(o); done != nil && !utf8.ValidString(done.GetContentType()) {
			return 0, false
		}
		n += nested(OutcomeBytes(o))
	}
	for _, l := range f.GetLoad() {
		n += nested(proto.Size(l))
	}
	return n, true
}

func appendFunctionFrame(b []byte, f *fnhostv1.FunctionFrame) (_ []byte, err error) {
	for _, o := range f.GetOutcome() {
		if b, err = appendOutcome(b, o); err != nil {
			return nil, err
		}
	}
	for _, l := range f.GetLoad() {
		if b, err = appendMessage(b, frameSecond, l); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// plain gives the Done of an outcome that has one with nothing but a result,
// as most have; else nil.
func plain(o *fnhostv1.Outcome) *fnhostv1.Done {
	v, ok := o.GetVerdict().(*fnhostv1.Outcome_Done)
	if !ok || v.Done == nil {
		return nil
	}
	if d := v.Done; len(d.Emissions) == 0 && len(d.State) == 0 && len(d.Cache) == 0 && len(d.Parts) == 0 {
		return d
	}
	return nil
}

// OutcomeBytes is the size of an outcome on the wire.
func OutcomeBytes(o *fnhostv1.Outcome) int {
	done := plain(o)
	if done == nil {
		return proto.Size(o)
	}
	return number(o.GetDelivery()) + nested(doneBytes(done)) + number(o.GetHandlerUs())
}

func doneBytes(d *fnhostv1.Done) int { return optional(d.GetResult()) + optional(d.GetContentType()) }

func appendOutcome(b []byte, o *fnhostv1.Outcome) ([]byte, error) {
	done := plain(o)
	if done == nil {
		return appendMessage(b, frameFirst, o)
	}
	b = appendLength(b, frameFirst, OutcomeBytes(o))
	b = appendNumber(b, outcomeDelivery, o.GetDelivery())
	b = appendLength(b, outcomeDone, doneBytes(done))
	b = appendText(b, doneResult, done.GetResult())
	b = appendText(b, doneContentType, done.GetContentType())
	return appendNumber(b, outcomeTook, o.GetHandlerUs()), nil
}
