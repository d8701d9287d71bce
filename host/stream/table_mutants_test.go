package stream

import (
	"context"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A scriptMutant is a script with a fault: the text that is replaced, and by what.
type scriptMutant struct{ name, file, old, new string }

// scriptMutants are faults of the scripts that the table must notice. Those of
// the protocol, which the model finds by what they lead to, are here again as
// text: so it is seen that the table keeps the scripts to the model.
var scriptMutants = []scriptMutant{
	{"acknowledges because a lock exists", "begin", "if decided(v) then", "if decided(v) or parse(v) then"},
	{"repeated, answers busy", "begin", "if p.owner == owner then", "if p.owner == owner then return 'busy' end\n  if false then"},
	{"takes a missing lock without asking the group", "begin", "if ours(id) then --", "if true then --"},
	{"takes a lease that runs", "begin", "if p.till <= now then", "if true then"},
	{"keeps the fence of the one before", "begin", "hold(key, draw(), p.attempt", "hold(key, p.fence, p.attempt"},
	{"forgets the attempts", "begin", "draw(), p.attempt, p.deaths", "draw(), 1, 0"},
	{"does not put back what waits", "begin", "if p.owner == '' then", "if false then"},
	{"does not keep the counter", "begin", "if drawn then keep() end", ""},

	{"asks whether anybody holds the entry", "common", "id, id, 1, owner)", "id, id, 1)"},
	{"takes a foreign lock for a done mark", "common", "string.sub(v, 1, 2) == 'D|'", "string.sub(v, 1, 2) ~= 'P|'"},

	{"compares no token", "commit", "string.find(v, held .. fence .. '|', 1, true) == 1", "string.sub(v, 1, 2) == 'P|'"},
	{"compares no fence", "commit", "string.find(v, held .. fence .. '|', 1, true) == 1", "string.find(v, held, 1, true) == 1"},
	{"accepts a missing lock from anybody", "commit", "if v == nil then return pending(id) end", "if v == nil then return true end"},
	{"accepts a missing lock from nobody", "commit", "if v == nil then return pending(id) end", "if v == nil then return false end"},
	{"does not know its own done mark", "commit", "if string.sub(v, 1, #d) == d then", "if false then"},
	{"takes another's done mark for its own", "commit", "if string.sub(v, 1, #d) == d then", "if string.sub(v, 1, 2) == 'D|' then"},
	{"acknowledges nothing", "commit", "redis.call('XACK', stream, group, unpack(acks))", ""},
	{"leaves the index as it is", "commit", "redis.pcall('ZREM', KEYS[2], unpack(acks))", "redis.pcall('PING')"},
	{"compares no version", "commit", "if current ~= ARGV[at + 1] then", "if false then"},
	{"acknowledges what it refuses", "commit", "if status ~= COMMITTED then return status, reason, skip(at, shape) end", "if status ~= COMMITTED then acks[#acks + 1] = id return status, reason, skip(at, shape) end"},
	{"counts what is repeated", "commit", "return COMMITTED, before, skip(at, shape)", "label.count, fresh = label.count + 1, fresh + 1 return COMMITTED, before, skip(at, shape)"},
	{"keeps a done mark as long as a lock", "commit", "first, 'PX', life)", "first, 'PX', 86400000)"},

	{"compares no token", "renew", "p.owner == owner and p.fence == fence", "true"},
	{"compares no fence", "renew", "p.owner == owner and p.fence == fence", "p.owner == owner"},
	{"claims without FORCE", "renew", "ids[#ids + 1] = 'FORCE'", ""},
	{"accepts a missing lock from anybody", "renew", "keep = pending(id)", "keep = true"},
	{"accepts a missing lock from nobody", "renew", "keep = pending(id)", "keep = false"},
	{"writes a lock that ends before the lease", "renew", "'PX', life)", "'PX', lease / 2)"},
	{"does not say that it is decided", "renew", "status = 1", "status = 3"},

	{"keeps its fence", "rerun", "local fence = draw()", "local fence = '7'"},
	{"repeated, is stale", "rerun", "elseif p ~= nil and tonumber(p.fence) > tonumber(fence)", "elseif false"},
	{"repeated, takes whatever was given up", "rerun", "tonumber(p.fence) > tonumber(fence) and", ""},
	{"puts no delay into the index", "rerun", "redis.call('ZADD', KEYS[3]", "redis.call('ZADD', KEYS[3], 'XX'"},
	{"parks under its own name", "rerun", "group, parked, 0, id", "group, owner, 0, id"},
	{"lets what waits live no longer than a lock", "rerun", "int(life + delay)", "int(life)"},
	{"claims without FORCE", "rerun", "group, owner, 0, id, 'FORCE'", "group, owner, 0, id"},
	{"accepts a missing lock from anybody", "rerun", "done = pending(id)", "done = true"},

	{"deletes the lock", "handback", "redis.call('SET', KEYS[i], undecided('', fence, attempt, deaths, now), 'PX', life)", "redis.call('DEL', KEYS[i])"},
	{"leaves the entry as if it were renewed", "handback", "'IDLE', lease, ", ""},
	{"compares no token", "handback", "p.owner == owner and p.fence == fence", "true"},
	{"writes the attempts of the caller", "handback", "ours, attempt, deaths = true, p.attempt, p.deaths", "ours = true"},

	{"does not look at the lease", "takeover", "if p.till > now then", "if false then"},
	{"takes what was just handed out", "takeover", "'IDLE', ARGV[3], id, id, 1", "id, id, 1"},
	{"claims without FORCE", "takeover", "owner, 0, id, 'FORCE')", "owner, 0, id)"},
	{"is never gentle with a lapsed lease", "takeover", "if gentle and p.owner ~= '' then return { 2 } end", ""},
	{"is never gentle with a missing lock", "takeover", "if gentle then return { 2 } end", ""},
	{"runs again what is decided", "takeover", "if decided(v) then", "if false then"},
	{"forgets the attempts", "takeover", "take(key, id, p.attempt, p.deaths", "take(key, id, '1', '0'"},
	{"leaves a deleted message pending", "takeover", "    forget(id)\n    redis.call('DEL', key)", "    redis.call('DEL', key)"},
	{"takes the message out of the index", "takeover", "redis.call('ZADD', KEYS[3], 'XX', int(now + lease), id)\n  local row", "redis.call('ZREM', KEYS[3], id)\n  local row"},
	{"keeps the count of what was let go", "takeover", "if letgo then", "if false then"},

	{"counts what waits in the floor", "scan", "if consumer[1] ~= parked then", "if true then"},
	{"leaves what is pending out of the floor", "scan", "if #oldest > 0 then take(oldest[1][1]) end", ""},
	{"lets the reach fall", "scan", "if not known or lower(known, delivered) then", "if true then"},

	{"begins a lost group at the end", "group", "start = below(floor)", "start = last"},
	{"does not take back what waits", "group", "redis.call('XCLAIM'", "redis.call('PING'); redis.pcall('NONE'"},
	{"begins a new group at the beginning always", "group", "start, skipped = last, redis.call('XLEN', stream)", "start = '0-0'"},

	{"does not look at what is pending", "trim", "keep(redis.call('XPENDING', stream, g.name)[2])", ""},
	{"does not look at what is not handed out", "trim", "keep(g['last-delivered-id'])", ""},
	{"does not look at the floor", "trim", "keep(redis.call('GET', KEYS[2 * i - 4]))", ""},
	{"does not look at the index", "trim", "do keep(id) end", "do end"},
	{"trims though the group is gone", "trim", "if not there[ARGV[i]] then return { 0, 0 } end", ""},
	{"trims by length", "trim", "'MINID', '~', bound", "'MAXLEN', '~', 0"},

	{"removes a consumer with what it holds", "reap", "#pending == 0 and ", ""},

	{"leaves what it has added", "promote", "redis.call('ZREM', index, due[1])", "due = nil if true then added = added + 1 return nil end"},
}

// A swap runs other source than the scripts': a hook of the client.
type swap struct {
	hash   string // of the script that is replaced; empty: none
	source string
}

func (s *swap) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (s *swap) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.replace(cmd)
		return next(ctx, cmd)
	}
}

func (s *swap) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			s.replace(cmd)
		}
		return next(ctx, cmds)
	}
}

func (s *swap) replace(cmd redis.Cmder) {
	if args := cmd.Args(); s.hash != "" && cmd.Name() == "evalsha" && args[1] == s.hash {
		args[0], args[1] = "eval", s.source
	}
}

// mutate puts the fault into the script that a row of the table runs.
func (s *swap) mutate(t *testing.T, m scriptMutant, file string) {
	t.Helper()
	text := source(file)
	script := map[string]*redis.Script{
		"begin": beginScript, "renew": renewScript, "rerun": rerunScript, "handback": handBackScript, "commit": commitScript,
		"scan": scanScript, "takeover": takeoverScript, "group": groupScript, "promote": promoteScript, "trim": trimScript, "reap": reapScript,
	}[file]
	if redis.NewScript(text).Hash() != script.Hash() {
		text = source("common") + text
	}
	if !strings.Contains(text, m.old) {
		t.Fatalf("%s.lua has no %q any more: change the mutant with it", m.file, m.old)
	}
	s.hash, s.source = script.Hash(), strings.Replace(text, m.old, m.new, 1)
}

func TestTheTableNoticesFaultyScripts(t *testing.T) {
	t.Parallel()
	w := onReal(t)
	s := &swap{}
	w.c.commands.AddHook(s)
	w.c.renewals.AddHook(s)
	b := newBench(w)
	rows := tableRows(1)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	for _, m := range scriptMutants {
		if row := b.notices(t, s, m, rows); row != "" {
			t.Logf("%s.lua %s: %s", m.file, m.name, row)
		} else {
			t.Errorf("no row of the table notices that %s.lua %s", m.file, m.name)
		}
	}
}

// notices gives the first row that the mutant changes; empty: none.
func (b *bench) notices(t *testing.T, s *swap, m scriptMutant, rows []tableRow) string {
	t.Helper()
	for _, row := range rows {
		file := row.script.file
		if file != m.file && (m.file != "common" || file == "group" || file == "trim" || file == "reap" || file == "promote") {
			continue
		}
		s.mutate(t, m, file)
		if got := b.run(row); got != row.expected() {
			return row.String()
		}
	}
	return ""
}
