//go:build stress

package conformance

import "github.com/ThreeDotsLabs/watermill/pubsub/tests"

// The suite many times at once: STRESS_TEST_COUNT, or 10. Restarts would end what
// the others of them do.
func init() { suite, restarts = tests.TestPubSubStressTest, false }
