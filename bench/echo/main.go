// Command echo answers with the data it got, as examples/echo does, in the role
// that its file is named for: so copies of one binary serve many roles.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/fnhost/fnhost/sdk"
)

func main() {
	sdk.Serve(sdk.Function{Role: filepath.Base(os.Args[0]), Version: "bench", Handler: sdk.HandlerFunc(
		func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) {
			return &sdk.Reply{Data: m.Data, ContentType: m.ContentType}, nil
		})})
}
