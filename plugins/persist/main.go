// Persist is the plugin of role persist: it keeps collections of JSON documents
// and writes each message once. Its contract is in README.md.
package main

import (
	"github.com/fnhost/fnhost/plugins/persist/internal/function"
	"github.com/fnhost/fnhost/sdk"
)

// version is set by -ldflags "-X main.version=...".
var version = "dev"

func main() { sdk.Serve(function.New(version)) }
