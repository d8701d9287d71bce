// Cm is the plugin of role cm, the campaign manager: it turns campaign commands
// into workflows of role orchestrator and keeps each campaign's progress. Its
// contract is in README.md.
package main

import (
	"github.com/fnhost/fnhost/plugins/cm/internal/function"
	"github.com/fnhost/fnhost/sdk"
)

// version is set by -ldflags "-X main.version=...".
var version = "dev"

func main() { sdk.Serve(function.New(version)) }
