// Orchestrator is the plugin of role orchestrator: it runs workflows, each call a
// message to the role that the call names. Its contract is in README.md.
package main

import (
	"github.com/fnhost/fnhost/plugins/orchestrator/internal/function"
	"github.com/fnhost/fnhost/sdk"
)

// version is set by -ldflags "-X main.version=...".
var version = "dev"

func main() { sdk.Serve(function.New(version)) }
