// Package delivery holds the nouns of the message path: the entry as read, the
// grant to run it, the reply of the function, the outcome, and the commit that
// makes it true. It is pure: no Redis, no processes, no clock.
package delivery

import "time"

// An Entry is a stream entry as read by a group.
type Entry struct {
	ID string
	// Fields are the entry's names and values in turn, in their order, byte for byte.
	Fields []string
	// Delivered is how often the group has handed the entry out; 1 on a first read.
	Delivered int64
}

// Bytes is the size of the entry's names and values.
func (e *Entry) Bytes() int {
	n := 0
	for _, f := range e.Fields {
		n += len(f)
	}
	return n
}

// A Grant is the right to run a message now. Its token is `owner:fence`; the
// owner is the host's consumer name and not repeated here.
type Grant struct {
	Fence   uint64 // rises with every dispatch
	Attempt int    // 1 on the first run; rises only when a failure was charged
	Deaths  int    // plugin deaths this message had started under
}

// Held names a grant that we hold.
type Held struct {
	ID string
	Grant
}

// GrantStatus is what became of asking for, or keeping, a lease.
type GrantStatus uint8

// Answers of begin, renew, retry and reclaim.
const (
	Granted GrantStatus = iota // the message is ours to run
	Decided                    // it has its outcome; acknowledged, forget it
	Busy                       // another owner's, or a lock we do not understand; left alone
	Stale                      // no longer ours
)

func (s GrantStatus) String() string {
	return [...]string{"granted", "decided", "busy", "stale"}[s]
}

// A Lease is the answer for one message.
type Lease struct {
	ID     string
	Status GrantStatus
	Grant
}

// A Rerun asks for a new grant for a message that we hold: another attempt after
// a failure, or the same again after a cancel or a death.
type Rerun struct {
	Held
	Attempt int // of the next run
	Deaths  int
	// Delay until the next run. A long one leaves memory: the lease ends when it
	// is due, and whoever looks then takes the message over.
	Delay time.Duration
	Park  bool // leave memory; the answer's status is Granted all the same
	Audit []Add
}

// A Reclaimed message was taken over from an owner that did not renew it.
type Reclaimed struct {
	Entry
	Grant
}

// A Delivery is a message under a lease, on its way to an outcome.
type Delivery struct {
	Number  uint64 // names this dispatch to the function; unique within the host
	Stream  string // the input stream, without the namespace
	Entry   Entry
	Grant   Grant
	Message Message       // the entry, read as CloudEvents attributes and data
	Timeout time.Duration // of the handler, from when it starts
	Trace   string        // W3C traceparent of this run; empty: not traced
	// More are further messages of the same key that the function gets with this
	// one, in their order: a batch, which has one number, one timeout and one
	// reply. They are deliveries without a number of their own.
	More []*Delivery
}

// Verdict is what the function, or its end, says about a delivery.
type Verdict uint8

// Verdicts. The first five are the handler's.
const (
	Done        Verdict = iota + 1
	Retry               // failed; counts as an attempt
	Snooze              // not now; does not count
	Dead                // no further attempt can succeed
	Drop                // no result wanted
	NotStarted          // cancelled before the handler ran
	Interrupted         // cancelled while the handler ran
	Died                // the plugin ended without an outcome for it
)

func (v Verdict) String() string {
	return [...]string{"", "done", "retry", "snooze", "dead", "drop", "not started", "interrupted", "died"}[v]
}

// An Error is a failure as it is kept and shown.
type Error struct {
	Type    string // a stable name of the kind, for grouping
	Message string
	Detail  string // a stack, or a stderr tail; in the dead letter only
}

// A Reply is a function's answer to one delivery. Every delivery gets exactly one.
type Reply struct {
	Number      uint64
	Verdict     Verdict
	Started     bool // the handler had (or may have) begun
	Error       Error
	After       time.Duration // of Snooze, and of Retry if HasAfter
	HasAfter    bool
	Result      []byte
	ContentType string
	Emissions   []Emission
	State       []StateWrite
	Cache       []CacheWrite
	Parts       []Part        // of a batch: what Done says of Delivery.More, in its order
	Took        time.Duration // the handler's own time
	Plugin      Plugin        // who answered
}

// A Part is what a batch's reply says of one of its further messages.
type Part struct {
	Result      []byte
	ContentType string
	Emissions   []Emission
}

// Plugin names the exact binary that ran a message.
type Plugin struct {
	Name, Version, SHA256 string
	PID                   int
}

// An Emission is an entry that the outcome adds to another stream.
type Emission struct {
	To     string   // a stream, or a role: that role's first input stream
	Fields []string // attributes and data, names and values in turn
	// NotBefore is when it appears on the stream; zero, or past: at once.
	NotBefore time.Time
}

// A StateWrite changes one key of the role's keyed state if its version is
// still the one that was loaded.
type StateWrite struct {
	Key     string
	Version string // empty: the key did not exist
	Set     []string
	Remove  []string
	Delete  bool // remove the whole key, before anything is set
}

// A CacheWrite replaces one key of the role's cache; an empty Set removes it.
type CacheWrite struct {
	Key string
	Set []string
	TTL time.Duration
}

// A Load asks for keyed state or cache while a delivery is handled.
type Load struct {
	Request  uint64
	Delivery uint64
	Key      string
	Cache    bool     // of the cache; else of the state
	Fields   []string // only these; empty: all
}

// Loaded answers a Load.
type Loaded struct {
	Request uint64
	Version string // of state; empty when the key does not exist
	Found   bool
	Fields  []string
	Err     error
	// Unavailable says of Err that the store could not be asked: a handler that
	// fails for it is not to blame.
	Unavailable bool
}

// An Add is an entry to add to a stream, as part of a commit.
type Add struct {
	Stream string // without the namespace
	Fields []string
	MaxLen int64 // trims the stream to about this many entries; 0: no trimming
	// NotBefore parks the entry until then; zero, or past: it is added at once.
	NotBefore time.Time
}

// A Commit makes one outcome true, all or nothing: adds, state and cache writes,
// done mark, counts and acknowledgement.
type Commit struct {
	Held
	Outcome string // `ok`, `error`, `dropped` or `discarded`, kept in the done mark and counted
	Adds    []Add  // result, reply, emissions, dead letter; the first one's id is the commit's
	State   []StateWrite
	Cache   []CacheWrite
	Audit   []Add         // added if it can be; never a reason to fail
	Latency time.Duration // from the entry's time to now, for the minute's counts
	// Also are further messages whose outcomes become true in this same commit:
	// all of it or nothing. State and cache writes are of all of them together.
	Also []Member
}

// A Member is what a commit of several messages says of one of the further ones.
type Member struct {
	Held
	Outcome string
	Adds    []Add
	Audit   []Add
	Latency time.Duration
}

// CommitStatus is what became of a commit.
type CommitStatus uint8

// Answers of commit.
const (
	Committed  CommitStatus = iota
	CommitLost              // the message, or one of several, is another's now; nothing was written
	Conflict                // a state version has changed; nothing was written
	Refused                 // a target cannot take its entry; nothing was written
)

func (s CommitStatus) String() string {
	return [...]string{"committed", "lost", "conflict", "refused"}[s]
}

// A CommitResult is the answer for one commit.
type CommitResult struct {
	ID     string
	Status CommitStatus
	Entry  string // id of the first added entry
	Reason string // of Refused: the key and what is wrong with it
	// Lost are, of CommitLost, the ids of those messages that are another's.
	Lost []string
}

// Cause says why a delivery is cancelled.
type Cause uint8

// Causes of a cancel.
const (
	CauseStop Cause = iota + 1
	CauseLostLease
	CauseTimeout
)

// Kind is what becomes of a delivery.
type Kind uint8

// Kinds of outcome. The first three end the message; the others keep it.
const (
	KindDone Kind = iota + 1
	KindDead
	KindDrop
	KindRerun // another run, now or later, charged or not
)

// An Outcome is the fate of one delivery.
type Outcome struct {
	Kind   Kind
	Reason string // of KindDead: why it is a dead letter; of KindDrop: the handler's words
	Error  Error  // of KindDead and KindRerun
	// Of KindRerun: the next run's attempt and deaths, and the delay until it.
	Attempt, Deaths int
	Delay           time.Duration
	Charged         bool // the failure counted as an attempt
}
