package wire

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/fnhost/fnhost/sdk/fnhostv1"
)

// fill sets about half of the fields, at random, to any depth that ends.
func fill(r *rand.Rand, m protoreflect.Message, depth int) {
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		f := all.Get(i)
		if r.IntN(2) == 0 || depth == 0 && f.Message() != nil {
			continue
		}
		if !f.IsList() {
			if f.Message() != nil {
				fill(r, m.Mutable(f).Message(), depth-1)
			} else {
				m.Set(f, scalar(r, f))
			}
			continue
		}
		list := m.Mutable(f).List()
		for range r.IntN(4) {
			if f.Message() != nil {
				fill(r, list.AppendMutable().Message(), depth-1)
			} else {
				list.Append(scalar(r, f))
			}
		}
	}
}

func scalar(r *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	text := strings.Repeat("ä\x00x", r.IntN(5))
	if r.IntN(20) == 0 {
		text = strings.Repeat("long ", 4<<10)
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(r.IntN(4)))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(r.Uint32() >> r.IntN(32))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(r.Uint64() >> r.IntN(64))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	}
	return protoreflect.ValueOfBytes([]byte(text + "\xff"))
}

// Whatever a frame has, the codec writes what protobuf reads and reads what
// protobuf writes. A field that is added to the contract and not to the codec
// fails here.
func TestTheCodecSpeaksProtobuf(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		for _, m := range []proto.Message{&fnhostv1.HostFrame{}, &fnhostv1.FunctionFrame{}} {
			fill(r, m.ProtoReflect(), 4)
			written, err := Codec().Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			got := m.ProtoReflect().New().Interface()
			if err := proto.Unmarshal(written.Materialize(), got); err != nil || !proto.Equal(m, got) {
				t.Fatalf("wrote %v (%v)\nof %v", got, err, m)
			}
			b, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			got = m.ProtoReflect().New().Interface()
			if err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, got); err != nil || !proto.Equal(m, got) {
				t.Fatalf("read %v (%v)\nof %v", got, err, m)
			}
			written.Free()
		}
	}
}

func TestSizesAreThoseOfProtobuf(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		d, o := &fnhostv1.Delivery{}, &fnhostv1.Outcome{}
		fill(r, d.ProtoReflect(), 3)
		fill(r, o.ProtoReflect(), 3)
		if DeliveryBytes(d) != proto.Size(d) || OutcomeBytes(o) != proto.Size(o) {
			t.Fatalf("%d, %d bytes; want %d, %d", DeliveryBytes(d), OutcomeBytes(o), proto.Size(d), proto.Size(o))
		}
	}
}

// What is read stays as it is when the buffer is used again, and a handler that
// writes or appends to what it got changes nothing else.
func TestWhatIsReadIsTheReaders(t *testing.T) {
	t.Parallel()
	frame := &fnhostv1.HostFrame{}
	for n := range 3 {
		frame.Deliver = append(frame.Deliver, &fnhostv1.Delivery{
			Number: uint64(n), Stream: "s", EntryId: "1-0", Data: []byte("data"), Traceparent: "t",
			Attributes: []*fnhostv1.Attribute{{Name: []byte("a"), Value: []byte("1")}, {Name: []byte("b"), Value: []byte("2")}},
		})
	}
	answer := &fnhostv1.FunctionFrame{}
	for n := range 3 {
		answer.Outcome = append(answer.Outcome, &fnhostv1.Outcome{
			Delivery: uint64(n), Verdict: &fnhostv1.Outcome_Done{Done: &fnhostv1.Done{Result: []byte("data")}},
		})
	}
	got, gotAnswer := &fnhostv1.HostFrame{}, &fnhostv1.FunctionFrame{}
	for want, got := range map[proto.Message]proto.Message{frame: got, answer: gotAnswer} {
		b, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, got); err != nil {
			t.Fatal(err)
		}
		copy(b, bytes.Repeat([]byte{0xff}, len(b)))
		if !proto.Equal(want, got) {
			t.Fatalf("%v after the buffer was used again, want %v", got, want)
		}
	}
	for _, b := range [][]byte{got.Deliver[0].Data, gotAnswer.Outcome[0].GetDone().Result} {
		copy(b, "XXXX")
		_ = append(b, "YYYYYYYYYYYYYYYY"...)
	}
	frame.Deliver[0].Data, answer.Outcome[0].GetDone().Result = []byte("XXXX"), []byte("XXXX")
	if !proto.Equal(frame, got) || !proto.Equal(answer, gotAnswer) {
		t.Errorf("%v, %v after a write to the first one's data", got, gotAnswer)
	}
}

// A broken frame is an error and never more, as with protobuf.
func FuzzBrokenFrames(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 8 {
		for _, m := range []proto.Message{&fnhostv1.HostFrame{}, &fnhostv1.FunctionFrame{}} {
			fill(r, m.ProtoReflect(), 3)
			b, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
			f.Add(b[:len(b)/2])
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, frames := range [][2]proto.Message{
			{&fnhostv1.HostFrame{}, &fnhostv1.HostFrame{}}, {&fnhostv1.FunctionFrame{}, &fnhostv1.FunctionFrame{}},
		} {
			want, got := frames[0], frames[1]
			wantErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, want)
			err := Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(b)}, got)
			if (wantErr == nil) != (err == nil) {
				t.Fatalf("error %v, protobuf's %v", err, wantErr)
			}
			if err == nil && !proto.Equal(want, discarded(got)) {
				t.Fatalf("read %v, want %v", got, want)
			}
		}
	})
}

// discarded drops what the slow way keeps of unknown fields.
func discarded(m proto.Message) proto.Message {
	b, _ := proto.Marshal(m)
	clean := m.ProtoReflect().New().Interface()
	_ = proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, clean)
	return clean
}
