// Command rag is the plugin of role rag: it keeps documents and answers
// questions from them. Its README says how to talk to it.
package main

import (
	"github.com/fnhost/fnhost/plugins/rag/internal/function"
	"github.com/fnhost/fnhost/sdk"
)

// version is set when the plugin is built: -ldflags "-X main.version=...".
var version = "dev"

func main() {
	sdk.Serve(function.New(version))
}
