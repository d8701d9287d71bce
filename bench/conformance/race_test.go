//go:build race

package conformance

// underRace says that the race detector is on. The suite's TestReconnect, which
// restarts the service, has a data race of its own (it reads its list of what it
// published while another goroutine may still write it) and is left out then;
// TestOnceThroughFaults is not.
const underRace = true
