package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// asCommand in the environment makes the test binary the fnhost command.
const asCommand = "FNHOST_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		_ = os.Unsetenv(asCommand) // it is no setting
		main()                     // exits
	}
	goleak.VerifyTestMain(m)
}
