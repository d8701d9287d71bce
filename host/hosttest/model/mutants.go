package model

// A Mutant is a protocol with a known fault; the zero value has none.
type Mutant uint8

// Mutants. The first ones are faults that queues on Redis streams have had.
const (
	None Mutant = iota
	AckOnLock
	AckBeforeAdd
	NoTokenCompare
	NilAccepted
	NilRefused
	PendingOfAnyone
	LockShorterThanLease
	RenewWithoutToken
	ReapUnguarded
	GroupAtEnd
	TrimByLength
	AttemptsFromDeliveries
	BeginAgainBusy
	AddRetried
	BeginWithoutPEL
	RenewWithoutForce
	FloorCountsDelayed
	HandBackDeletes
	TakeOverRunning
	TakeOverFresh
	TakeOverWithoutForce
	RerunKeepsFence
	ParkWithoutIndex
	mutants // how many there are
)

func (m Mutant) String() string {
	return [...]string{
		"no fault",
		"begin acknowledges because a lock exists",
		"commit acknowledges before it adds the result",
		"commit compares no token",
		"a missing lock is accepted from anybody",
		"a missing lock is accepted from nobody",
		"a missing lock is accepted from whoever asks while anybody holds the entry",
		"the lock's key ends before the lease",
		"renew compares no token",
		"a dead consumer is removed with what was handed to it",
		"a lost group is made again at the end of the stream",
		"the stream is trimmed by length",
		"attempts are the group's count of deliveries",
		"begin, repeated, answers busy",
		"the result is added outside the script, and again after a lost answer",
		"begin takes a missing lock without asking the group",
		"renew claims without FORCE",
		"the floor counts what waits until it is due",
		"hand-back deletes the lock",
		"takeover does not look at the lease",
		"takeover takes what was just handed out",
		"takeover claims without FORCE",
		"a rerun keeps its fence",
		"a delay is not put into the index",
	}[m]
}
