package stream

import (
	"errors"
	"time"

	"github.com/fnhost/fnhost/host/delivery"
	"github.com/fnhost/fnhost/host/hosttest/model"
	"github.com/fnhost/fnhost/host/topology"
)

// A tableScript is a script of the table: the real one, which answers as the
// model does but for fences, and the model's.
type tableScript struct {
	name string
	file string // of the script
	real func(*bench) answer
	// model changes the store. What the real one's caller cannot tell apart
	// answers the same.
	model  func(*model.Store) model.Answer
	misfit bool // the stream for results is none
	heals  bool // what calls it makes the group again if it is gone
}

// An answer of the real script, with the fence as it is.
type answer struct {
	model.Answer
	fence uint64
	entry string // of a commit
}

// commits are the commits of the table, in both forms.
var (
	doneCommit  = model.Commit{}
	deadCommit  = model.Commit{Dead: true}
	stateCommit = model.Commit{State: true, Version: 5, Emits: 1, Later: 1}
	oldCommit   = model.Commit{State: true, Version: 4, Emits: 1}
	misfit      = model.Commit{Misfit: true, Emits: 1}
)

var messageScripts = []tableScript{
	{name: "begin", file: "begin", heals: true, real: realBegin, model: func(s *model.Store) model.Answer {
		return tableProtocol.Begin(s, model.A, 0)
	}},
	{name: "renew", file: "renew", heals: true, real: realRenew, model: func(s *model.Store) model.Answer {
		return tableProtocol.Renew(s, model.A, 0, tableHeld)
	}},
	rerunScriptOf("rerun", model.Next{Attempt: 2, Deaths: 2}),
	rerunScriptOf("retry", model.Next{Attempt: 4, Deaths: 1}),
	rerunScriptOf("park", model.Next{Attempt: 4, Deaths: 1, Park: true}),
	{name: "hand back", file: "handback", heals: true, real: realHandBack, model: func(s *model.Store) model.Answer {
		return tableProtocol.HandBack(s, model.A, 0, tableHeld)
	}},
	takeoverScriptOf("takeover", false),
	takeoverScriptOf("takeover, gently", true),
	commitScriptOf("commit", doneCommit),
	commitScriptOf("commit of a dead letter", deadCommit),
	commitScriptOf("commit with state and emissions", stateCommit),
	commitScriptOf("commit on old state", oldCommit),
	commitScriptOf("commit to a key that is no stream", misfit),
}

var groupScripts = []tableScript{
	{name: "scan", file: "scan", real: realScan, model: modelScan},
	{name: "group, from the beginning", file: "group", real: realGroup("0-0"), model: modelGroup(false)},
	{name: "group, from the end", file: "group", real: realGroup("$"), model: modelGroup(true)},
	{name: "trim", file: "trim", real: realTrim, model: func(s *model.Store) model.Answer {
		return model.Answer{Times: tableProtocol.Trim(s)}
	}},
	{name: "reap", file: "reap", real: realReap, model: modelReap},
	{name: "promote", file: "promote", real: realPromote, model: func(s *model.Store) model.Answer {
		return model.Answer{Times: tableProtocol.Promote(s)}
	}},
}

func rerunScriptOf(name string, next model.Next) tableScript {
	return tableScript{name: name, file: "rerun", heals: true,
		real: func(b *bench) answer {
			r := delivery.Rerun{Held: b.held(), Attempt: int(next.Attempt), Deaths: int(next.Deaths), Park: next.Park}
			if next.Park {
				r.Delay = tableTick * time.Duration(tableProtocol.Delay)
			}
			return b.lease(b.log.Rerun(b.Context(), []delivery.Rerun{r}))
		},
		model: func(s *model.Store) model.Answer { return tableProtocol.Rerun(s, model.A, 0, tableHeld, next) },
	}
}

func takeoverScriptOf(name string, gentle bool) tableScript {
	return tableScript{name: name, file: "takeover", heals: true,
		real: func(b *bench) answer { return realTakeOver(b, gentle) },
		model: func(s *model.Store) model.Answer {
			a := tableProtocol.TakeOver(s, model.A, 0, gentle)
			if a.Status == model.DecidedBefore {
				a.Status = model.Left
			}
			return a
		},
	}
}

func commitScriptOf(name string, c model.Commit) tableScript {
	return tableScript{name: name, file: "commit", heals: true,
		real:   func(b *bench) answer { return realCommit(b, c) },
		model:  func(s *model.Store) model.Answer { return tableProtocol.Commit(s, model.A, 0, tableHeld, c) },
		misfit: c.Misfit,
	}
}

// lease reads the answer of begin, renew and rerun.
func (b *bench) lease(leases []delivery.Lease, err error) answer {
	if err != nil {
		return b.failed(err)
	}
	l := leases[0]
	status := map[delivery.GrantStatus]model.Status{
		delivery.Granted: model.Granted, delivery.Decided: model.DecidedBefore, delivery.Busy: model.Busy, delivery.Stale: model.Stale,
	}[l.Status]
	if status != model.Granted {
		return answer{Answer: model.Answer{Status: status}}
	}
	return answer{Answer: model.Answer{Status: status, Attempt: uint8(l.Attempt), Deaths: uint8(l.Deaths)}, fence: l.Fence}
}

func (b *bench) failed(err error) answer {
	b.Helper()
	if !errors.Is(err, ErrNoGroup) {
		b.Fatal(err)
	}
	return answer{Answer: model.Answer{Status: model.NoGroup}}
}

func realBegin(b *bench) answer {
	return b.lease(b.log.Begin(b.Context(), []delivery.Entry{{ID: tableIDs[0]}}))
}

func realRenew(b *bench) answer {
	a := b.lease(b.log.Renew(b.Context(), []delivery.Held{b.held()}))
	return answer{Answer: model.Answer{Status: a.Status}} // the grant is the caller's own
}

// realHandBack answers as the lock tells: its caller is told nothing.
func realHandBack(b *bench) answer {
	before := b.lockValue(tableIDs[0])
	if err := b.log.HandBack(b.Context(), []delivery.Held{b.held()}); err != nil {
		return b.failed(err)
	}
	if b.lockValue(tableIDs[0]) == before {
		return answer{Answer: model.Answer{Status: model.Left}}
	}
	return answer{Answer: model.Answer{Status: model.Given}}
}

func realTakeOver(b *bench, gentle bool) answer {
	b.log.since = time.Now().Add(-time.Hour)
	if gentle {
		b.log.since = time.Now()
	}
	_, taken, lost, err := b.log.takeOver(b.Context(), tableIDs[:1], 1)
	switch {
	case err != nil:
		return b.failed(b.log.failed(b.Context(), err, "take over a message"))
	case len(lost) > 0:
		return answer{Answer: model.Answer{Status: model.Gone}}
	case len(taken) == 0:
		return answer{Answer: model.Answer{Status: model.Left}}
	}
	t := taken[0]
	return answer{fence: t.Fence, Answer: model.Answer{
		Status: model.Taken, Attempt: uint8(t.Attempt), Deaths: uint8(t.Deaths), Times: uint8(t.Delivered)}}
}

func realCommit(b *bench, c model.Commit) answer {
	results, err := b.log.Commit(b.Context(), []delivery.Commit{b.commitOf(c)})
	if err != nil {
		return b.failed(err)
	}
	status := map[delivery.CommitStatus]model.Status{
		delivery.Committed: model.Committed, delivery.CommitLost: model.Lost, delivery.Conflict: model.Conflict, delivery.Refused: model.Refused,
	}[results[0].Status]
	return answer{Answer: model.Answer{Status: status}, entry: results[0].Entry}
}

// commitOf is the commit as a host would send it.
func (b *bench) commitOf(c model.Commit) delivery.Commit {
	h := b.held()
	out := delivery.Commit{Held: h, Outcome: "ok", Latency: time.Millisecond}
	add := func(stream string, later bool) {
		a := delivery.Add{Stream: stream, Fields: []string{"entryid", h.ID, "status", out.Outcome}}
		if later {
			a.NotBefore = time.Now().Add(time.Hour)
		}
		out.Adds = append(out.Adds, a)
	}
	if c.Dead {
		out.Outcome = "error"
	}
	for range c.Emits {
		add(tableTarget, false)
	}
	add(sub.Results, false)
	if c.Dead {
		add(tableDLQ, false)
	}
	for range c.Later {
		add(tableTarget, true)
	}
	if c.State {
		version := map[uint8]string{4: "4", 5: "5"}[c.Version]
		out.State = []delivery.StateWrite{{Key: "k", Version: version, Set: []string{"n", "1"}}}
	}
	return out
}

func realScan(b *bench) answer {
	b.log.cursor = "-"
	found, err := b.log.scan(b.Context(), func(string) bool { return false })
	if err != nil {
		return b.failed(wrap(err, "scan"))
	}
	return answer{Answer: model.Answer{Times: foundBits(func(i int) bool { return contains(found.idle, tableIDs[i]) },
		func(i int) bool { return contains(found.due, tableIDs[i]) })}}
}

func modelScan(s *model.Store) model.Answer {
	found := tableProtocol.Scan(s)
	if found.NoGroup {
		return model.Answer{Status: model.NoGroup}
	}
	return model.Answer{Times: foundBits(func(i int) bool { return found.Idle[i] && !found.Due[i] }, func(i int) bool { return found.Due[i] })}
}

// foundBits is what a look has found, as a number.
func foundBits(idle, due func(int) bool) (bits uint8) {
	for i := range model.Messages {
		if idle(i) {
			bits |= 1 << i
		}
		if due(i) {
			bits |= 16 << i
		}
	}
	return bits
}

func contains(ids []string, id string) bool {
	for _, each := range ids {
		if each == id {
			return true
		}
	}
	return false
}

func realGroup(start string) func(*bench) answer {
	return func(b *bench) answer {
		made, err := b.c.EnsureGroups(b.Context(), []topology.Group{{Stream: sub.Stream, Group: sub.Group}}, start)
		if err != nil {
			b.Fatal(err)
		}
		return answer{Answer: model.Answer{Times: uint8(len(made))}}
	}
}

func modelGroup(end bool) func(*model.Store) model.Answer {
	return func(s *model.Store) model.Answer {
		if tableProtocol.Ensure(s, end) {
			return model.Answer{Times: 1}
		}
		return model.Answer{}
	}
}

func realPromote(b *bench) answer {
	p, err := b.c.Promote(b.Context(), []string{tableTarget})
	if err != nil {
		b.Fatal(err)
	}
	return answer{Answer: model.Answer{Times: uint8(p.Added)}}
}

func realTrim(b *bench) answer {
	trimmed, err := b.c.Trim(b.Context(), sub.Stream, []string{sub.Group}, time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	return answer{Answer: model.Answer{Times: uint8(trimmed.Removed)}}
}

// realReap calls the script itself: what goes before it in Reap is a first sieve.
func realReap(b *bench) answer {
	reap := call{keys: []string{b.log.stream, b.c.keys.Heartbeat(sub.Role, peer)}, args: []any{sub.Group, peer}}
	reply, err := run(b.Context(), b.c.commands, reapScript, reap)
	if err != nil {
		return b.failed(wrap(err, "reap"))
	}
	return answer{Answer: model.Answer{Times: uint8(number(reply))}}
}

func modelReap(s *model.Store) model.Answer {
	switch {
	case !s.Group:
		return model.Answer{Status: model.NoGroup}
	case tableProtocol.Reap(s, model.B):
		return model.Answer{Times: 1}
	}
	return model.Answer{}
}
