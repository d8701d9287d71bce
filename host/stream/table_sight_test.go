package stream

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest/model"
)

// A sight is what a server holds, in the model's words.
type sight struct {
	store   model.Store
	counter uint64 // of fences
	now     time.Time
	added   map[string]bool // ids of entries in streams
}

func (s *sight) fence(f uint64) uint8 {
	switch {
	case f <= tableCounter:
		return uint8(f)
	case f == s.counter:
		return tableCounter + 1
	}
	return unknown
}

func (s *sight) entry(id string) model.Kept {
	switch {
	case id == "":
		return model.NoEntry
	case id == "5-5":
		return model.Earlier
	case s.added[id]:
		return model.Fresh
	}
	return unknown
}

// ticks is a time as the model has it.
func (s *sight) ticks(ms float64) uint8 {
	left := ms - float64(s.now.UnixMilli())
	return uint8(max(math.Round(left/float64(tableTick.Milliseconds())), 0))
}

// looked are the replies to all that is looked at.
type looked struct {
	time                          *redis.TimeCmd
	groups, pending               *redis.Cmd
	entries, results, target, dlq *redis.Cmd
	floor, reach, fence, version  *redis.StringCmd
	delayed, later                *redis.ZSliceCmd
	stats, before                 *redis.MapStringStringCmd
	locks                         [model.Messages]*redis.StringCmd
	kinds                         [model.Messages]*redis.StatusCmd
	lives                         [model.Messages]*redis.DurationCmd
}

func (b *bench) look() *looked {
	ctx, l := b.Context(), &looked{}
	now := time.Now()
	_, _ = b.rdb.Pipelined(ctx, func(p redis.Pipeliner) error { // each reply holds its own error
		l.time = p.Time(ctx)
		l.groups = p.Do(ctx, "XINFO", "GROUPS", b.log.stream)
		l.pending = p.Do(ctx, "XPENDING", b.log.stream, sub.Group, "-", "+", 10)
		for at, stream := range map[**redis.Cmd]string{&l.entries: sub.Stream, &l.results: sub.Results, &l.target: tableTarget, &l.dlq: tableDLQ} {
			*at = p.Do(ctx, "XRANGE", b.c.keys.Stream(stream), "-", "+")
		}
		l.floor, l.reach, l.fence = p.Get(ctx, b.log.floor), p.Get(ctx, b.log.reach), p.Get(ctx, b.log.fence)
		l.version = p.HGet(ctx, b.c.keys.State(sub.Role, "k"), versionField)
		l.delayed = p.ZRangeWithScores(ctx, b.log.delayed, 0, -1)
		l.later = p.ZRangeWithScores(ctx, b.c.keys.Later(tableTarget), 0, -1)
		l.stats = p.HGetAll(ctx, b.c.keys.Stats(sub.Role, now))
		l.before = p.HGetAll(ctx, b.c.keys.Stats(sub.Role, now.Add(-time.Minute)))
		for i, id := range tableIDs {
			l.locks[i], l.kinds[i], l.lives[i] = p.Get(ctx, b.log.lock(id)), p.Type(ctx, b.log.lock(id)), p.PTTL(ctx, b.log.lock(id))
		}
		return nil
	})
	return l
}

// observe says what the server holds.
func (b *bench) observe() *sight {
	b.Helper()
	l := b.look()
	s := &sight{now: l.time.Val(), added: map[string]bool{}}
	s.store.Published, s.store.Floor = model.Messages, model.NoFloor
	s.counter, _ = strconv.ParseUint(l.fence.Val(), 10, 64)
	s.store.Fence = s.fence(s.counter)
	version, _ := strconv.Atoi(l.version.Val())
	s.store.State = uint8(version)
	if floor := l.floor.Val(); floor != "" {
		s.store.Floor = passed(floor, false)
	}
	s.store.Reach = passed(l.reach.Val(), true)
	s.groups(l)
	s.counts(l)
	s.entries(l)
	for i := range tableIDs {
		s.store.M[i].Lock = s.lock(l, i)
	}
	for _, z := range l.delayed.Val() {
		for i, id := range tableIDs {
			if z.Member == id {
				s.store.M[i].Indexed, s.store.M[i].Due = true, s.ticks(z.Score)
			}
		}
	}
	return s
}

// passed is how many messages lie below an id, or also at it.
func passed(id string, at bool) (n uint8) {
	for _, each := range tableIDs {
		if c := delivery.CompareIDs(each, id); c < 0 || c == 0 && at {
			n++
		}
	}
	return n
}

func (s *sight) groups(l *looked) {
	all, _ := l.groups.Val().([]any)
	for _, g := range all {
		if info := fieldMap(g); text(info["name"]) == sub.Group {
			s.store.Group, s.store.Delivered = true, passed(text(info["last-delivered-id"]), true)
		}
	}
	rows, _ := l.pending.Val().([]any)
	for _, r := range rows {
		row := r.([]any)
		for i, id := range tableIDs {
			if text(row[0]) == id {
				m := &s.store.M[i]
				m.Consumer, m.Times = asOwner(text(row[1])), uint8(number(row[3]))
				m.Idle = min(uint8(min(number(row[2]), 3600_000)/tableTick.Milliseconds()), tableProtocol.Lease)
			}
		}
	}
}

func (s *sight) counts(l *looked) {
	n := func(field string) (sum uint8) {
		for _, counts := range []map[string]string{l.stats.Val(), l.before.Val()} {
			v, _ := strconv.Atoi(counts[field])
			sum += uint8(v)
		}
		return sum
	}
	s.store.Counts = model.Counts{OK: n("ok"), Error: n("error"), Retried: n("retried")}
	if n("latency_count") != n("ok")+n("error") || n("le_1") != n("latency_count") {
		s.store.Counts.OK = unknown
	}
}

func (s *sight) entries(l *looked) {
	count := func(cmd *redis.Cmd, status string, of func(*model.Message) *uint8) {
		for _, e := range entries(cmd.Val()) {
			s.added[e.ID] = true
			for i, id := range tableIDs {
				if e.Fields[1] == id && (status == "" || e.Fields[3] == status) {
					*of(&s.store.M[i])++
				}
			}
		}
	}
	count(l.results, "ok", func(m *model.Message) *uint8 { return &m.OKs })
	count(l.results, "error", func(m *model.Message) *uint8 { return &m.Errors })
	count(l.dlq, "", func(m *model.Message) *uint8 { return &m.Letters })
	count(l.target, "", func(m *model.Message) *uint8 { return &m.Emitted })
	for i, id := range tableIDs {
		m := &s.store.M[i]
		m.Deleted = true
		for _, e := range entries(l.entries.Val()) {
			m.Deleted = m.Deleted && e.ID != id
		}
		for _, z := range l.later.Val() {
			if strings.Contains(z.Member.(string), id) {
				m.Later++
			}
		}
	}
}

// lock reads a lock.
func (s *sight) lock(l *looked, i int) model.Lock {
	v, out := l.locks[i].Val(), model.Lock{Life: life(l.lives[i].Val())}
	parts := strings.Split(v, "|")
	switch {
	case l.kinds[i].Val() == "none":
		return model.Lock{}
	case l.kinds[i].Val() != "string":
		out.Kind = model.StrangeKey
	case parts[0] == "P" && len(parts) == 6:
		fence, _ := strconv.ParseUint(parts[2], 10, 64)
		attempt, _ := strconv.Atoi(parts[3])
		deaths, _ := strconv.Atoi(parts[4])
		until, _ := strconv.ParseFloat(parts[5], 64)
		out.Kind, out.Owner, out.Fence = model.Undecided, asOwner(parts[1]), s.fence(fence)
		out.Attempt, out.Deaths, out.Left = uint8(attempt), uint8(deaths), s.ticks(until)
	case parts[0] == "D" && len(parts) == 4:
		at := strings.LastIndexByte(parts[1], ':')
		fence, _ := strconv.ParseUint(parts[1][at+1:], 10, 64)
		out.Kind, out.Owner, out.Fence = model.Decided, asOwner(parts[1][:at]), s.fence(fence)
		out.Outcome = map[string]model.Outcome{"ok": model.OK, "error": model.Failed}[parts[2]]
		out.Entry = s.entry(parts[3])
	default:
		out.Kind = model.Strange
	}
	return out
}

// life is the class of a lock's time to live.
func life(ttl time.Duration) model.Life {
	near := func(d time.Duration) bool { return ttl > d-tableTick/2 && ttl <= d }
	switch delay := tableTick * time.Duration(tableProtocol.Delay); {
	case ttl < 0:
		return model.LifeUnset
	case near(time.Minute):
		return model.LifeDone
	case near(lockLife):
		return model.LifeDay
	case near(lockLife + delay):
		return model.LifeDayAndDelay
	}
	return unknown
}
