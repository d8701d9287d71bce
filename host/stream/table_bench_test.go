package stream

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest/model"
)

const (
	// tableTick is a tick of the model. A row must not take half of one.
	tableTick   = 30 * time.Second
	tableTarget = "next:tasks"
	tableDLQ    = "rag:dlq"
	// unknown is what the server holds and the model has no word for.
	unknown = 99
)

var tableIDs = [model.Messages]string{"1000-0", "2000-0"}

// A bench brings a server into a state of the model, runs a script, and says in
// the model's words what came of it.
type bench struct {
	*world
	log *Log
}

func newBench(w *world) *bench {
	if w.srv != nil {
		w.do("CONFIG", "SET", "stream-node-max-entries", 1) // so that it trims to the entry
	}
	return &bench{world: w, log: w.log(me, time.Duration(tableProtocol.Lease)*tableTick)}
}

func (b *bench) held() delivery.Held {
	return delivery.Held{ID: tableIDs[0], Grant: delivery.Grant{
		Fence: uint64(tableHeld.Fence), Attempt: int(tableHeld.Attempt), Deaths: int(tableHeld.Deaths)}}
}

// An outcome is what a script answers and leaves behind.
type outcome struct {
	answer model.Answer
	store  model.Store
}

// difference names the fields in which two outcomes differ.
func (o outcome) difference(got outcome) string {
	var b strings.Builder
	differ(&b, "", reflect.ValueOf(o), reflect.ValueOf(got))
	return b.String()
}

func differ(b *strings.Builder, name string, want, got reflect.Value) {
	switch want.Kind() {
	case reflect.Struct:
		for i := range want.NumField() {
			differ(b, name+"."+want.Type().Field(i).Name, want.Field(i), got.Field(i))
		}
	case reflect.Array:
		for i := range want.Len() {
			differ(b, fmt.Sprint(name, i), want.Index(i), got.Index(i))
		}
	default:
		if !want.Equal(got) {
			fmt.Fprintf(b, "  %s is %v, want %v\n", name, got, want)
		}
	}
}

// expected is what the model makes of the row.
func (r tableRow) expected() outcome {
	o := outcome{store: r.before}
	o.answer = r.script.model(&o.store)
	if o.answer.Status == model.NoGroup && r.script.heals { // the log makes it again
		tableProtocol.Ensure(&o.store, false)
	}
	o.store.TrueFloor = 0
	for i := range o.store.M {
		m := &o.store.M[i]
		m.Failures, m.Newest, m.Expired, m.Evicted, m.Robbed = 0, 0, false, false, false
	}
	return o
}

// run runs the row on the server.
func (b *bench) run(r tableRow) outcome {
	b.Helper()
	b.set(r)
	a := r.script.real(b)
	seen := b.observe()
	o := outcome{answer: a.Answer, store: seen.store}
	if a.fence != 0 {
		o.answer.Fence = seen.fence(a.fence)
	}
	if a.Status == model.Committed {
		o.answer.Entry = seen.entry(a.entry)
	}
	return o
}

// set brings the server into the row's state.
func (b *bench) set(r tableRow) {
	b.Helper()
	now := time.Now()
	_, err := b.rdb.Pipelined(b.Context(), func(p redis.Pipeliner) error {
		do := func(args ...any) { p.Do(b.Context(), args...) }
		do("FLUSHDB")
		s := &r.before
		for i := range tableIDs {
			do("XADD", b.log.stream, tableIDs[i], "n", i)
		}
		if s.Group {
			do("XGROUP", "CREATE", b.log.stream, sub.Group, append([]string{"0-0"}, tableIDs[:]...)[s.Delivered])
		}
		if s.Floor < model.NoFloor {
			do("SET", b.log.floor, append(tableIDs[:], following(tableIDs[1]))[s.Floor])
		}
		if s.Reach > 0 {
			do("SET", b.log.reach, tableIDs[s.Reach-1])
		}
		do("SET", b.log.fence, s.Fence)
		do("HSET", b.c.keys.State(sub.Role, "k"), versionField, s.State)
		if r.script.misfit {
			do("SET", b.c.keys.Stream(sub.Results), "x")
		}
		for i := range s.M {
			b.setMessage(do, i, &s.M[i], now)
		}
		return nil
	})
	if err != nil {
		b.Fatalf("%s: %v", r, err)
	}
}

func (b *bench) setMessage(do func(...any), i int, m *model.Message, now time.Time) {
	id := tableIDs[i]
	due := func(ticks uint8) int64 {
		if ticks == 0 {
			return now.Add(-time.Hour).UnixMilli()
		}
		return now.Add(time.Duration(ticks) * tableTick).UnixMilli()
	}
	if m.Consumer != model.Nobody {
		idle := time.Duration(m.Idle) * tableTick
		do("XCLAIM", b.log.stream, sub.Group, consumerOf(m.Consumer), 0, id, "IDLE", idle.Milliseconds(), "RETRYCOUNT", m.Times, "FORCE", "JUSTID")
	}
	if m.Deleted {
		do("XDEL", b.log.stream, id)
	}
	if m.Indexed {
		do("ZADD", b.log.delayed, due(m.Due), id)
	}
	for n := range m.Later {
		do("ZADD", b.c.keys.Later(tableTarget), 1, fmt.Sprintf("%s/%d\n%s", id, n, pack([]string{"entryid", id})))
	}
	switch l := m.Lock; l.Kind {
	case model.Undecided:
		do("SET", b.log.lock(id), fmt.Sprintf("P|%s|%d|%d|%d|%d", ownerOf(l.Owner), l.Fence, l.Attempt, l.Deaths, due(l.Left)))
	case model.Decided:
		do("SET", b.log.lock(id), fmt.Sprintf("D|%s:%d|ok|5-5", ownerOf(l.Owner), l.Fence))
	case model.Strange:
		do("SET", b.log.lock(id), "worker-17")
	case model.StrangeKey:
		do("RPUSH", b.log.lock(id), "x")
	}
}

func ownerOf(o model.Owner) string {
	return map[model.Owner]string{model.Nobody: "", model.A: me, model.B: peer}[o]
}

func consumerOf(o model.Owner) string {
	if o == model.Parked {
		return parkedConsumer
	}
	return ownerOf(o)
}

func asOwner(name string) model.Owner {
	switch name {
	case "":
		return model.Nobody
	case me:
		return model.A
	case peer:
		return model.B
	case parkedConsumer:
		return model.Parked
	}
	return unknown
}
