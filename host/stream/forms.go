package stream

import (
	"slices"
	"strconv"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
)

// Entries of one commit that go to the same stream under the same names are alike
// in most of their values. A form says once what they have in common, and an
// entry only what it has of its own: fewer arguments to write, to send, to parse
// and to hand to the script, which is most of what a commit costs.
//
// A form is sent as: place of the stream, maxlen, count of names and values, the
// names and values of the first entry, count of holes, and for each hole its
// place among the names and values and the number of the value that fills it,
// where 0 is the message's id. An entry is sent as the number of its form and the
// values of its own, in their order.
type form struct {
	number string // from 1
	stream string
	maxLen int64
	kind   formKind
	adds   []formed

	holes  []hole
	values []int // the places of the values that an entry sends
}

type formKind uint8

const (
	plain   formKind = iota
	counted          // what its trimming drops is counted
	later            // for later: an entry sends when it is due, and itself in one piece
)

// A formed is an entry with its message's id.
type formed struct {
	id     *string
	fields []string
}

type hole struct{ at, value int }

// forms are those of one call.
type forms struct {
	all []*form
	of  []*form // of each entry, in the order that they were added
	now time.Time
	dlq string
}

// maxForms is how many forms are looked through for an entry's; one that is none
// of theirs has a form of its own.
const maxForms = 16

func (f *forms) add(id *string, adds []delivery.Add) {
	for i := range adds {
		a := &adds[i]
		kind := plain
		switch {
		case a.NotBefore.After(f.now):
			kind = later
		case a.MaxLen > 0 && a.Stream == f.dlq:
			kind = counted
		}
		known := f.find(a, kind)
		known.adds = append(known.adds, formed{id, a.Fields})
		f.of = append(f.of, known)
	}
}

func (f *forms) find(a *delivery.Add, kind formKind) *form {
	for _, known := range f.all[:min(len(f.all), maxForms)] {
		if known.fits(a, kind) {
			return known
		}
	}
	made := &form{number: strconv.Itoa(len(f.all) + 1), stream: a.Stream, maxLen: a.MaxLen, kind: kind}
	f.all = append(f.all, made)
	return made
}

func (f *form) fits(a *delivery.Add, kind formKind) bool {
	if kind != f.kind || a.Stream != f.stream {
		return false
	}
	if kind == later {
		return true
	}
	first := f.adds[0].fields
	if len(a.Fields) != len(first) || a.MaxLen != f.maxLen {
		return false
	}
	for i := 0; i < len(first); i += 2 {
		if a.Fields[i] != first[i] {
			return false
		}
	}
	return true
}

// settle finds what the entries do not have in common, once all of them are known.
func (f *form) settle() {
	first := f.adds[0].fields
	for at := 1; at < len(first); at += 2 {
		if f.each(func(e formed) bool { return e.fields[at] == first[at] }) {
			continue
		}
		if f.each(func(e formed) bool { return e.fields[at] == *e.id }) {
			f.holes = append(f.holes, hole{at: at + 1})
			continue
		}
		n := slices.IndexFunc(f.values, func(other int) bool {
			return f.each(func(e formed) bool { return e.fields[at] == e.fields[other] })
		})
		if n < 0 {
			n = len(f.values)
			f.values = append(f.values, at)
		}
		f.holes = append(f.holes, hole{at: at + 1, value: n + 1})
	}
}

func (f *form) each(holds func(formed) bool) bool {
	for _, e := range f.adds {
		if !holds(e) {
			return false
		}
	}
	return true
}

// writeForms appends the forms, as commit.lua reads them.
func (l *Log) writeForms(p places, f *forms) {
	p.int(len(f.all))
	for _, form := range f.all {
		if form.kind == later {
			p.int(p.of(l.c.keys.Later(form.stream)))
			p.text("@")
			p.int(1)
			p.int(p.of(l.c.keys.Stream(form.stream)))
			p.int(0)
			p.int(2)
			continue
		}
		form.settle()
		p.int(p.of(l.c.keys.Stream(form.stream)))
		p.text(form.limit())
		p.list(form.adds[0].fields)
		p.int(len(form.holes))
		for _, h := range form.holes {
			p.int(h.at)
			p.int(h.value)
		}
		p.int(len(form.values))
	}
}

func (f *form) limit() string {
	if f.kind == counted {
		return "!" + strconv.FormatInt(f.maxLen, 10)
	}
	return strconv.FormatInt(f.maxLen, 10)
}

// write appends entries of a message: those whose forms are next.
func (f *forms) write(p places, adds []delivery.Add) {
	for i := range adds {
		a, form := &adds[i], f.of[0]
		f.of = f.of[1:]
		p.text(form.number)
		if form.kind == later {
			p.text(strconv.FormatInt(dueMillis(a.NotBefore), 10))
			p.text(pack(a.Fields))
			continue
		}
		for _, at := range form.values {
			p.ref(&a.Fields[at])
		}
	}
}
