// Command echo is the smallest function: it answers with the data it got.
package main

import (
	"context"

	"github.com/fnhost/fnhost/sdk"
)

func main() {
	sdk.Serve(sdk.Function{Role: "echo", Handler: sdk.HandlerFunc(
		func(_ context.Context, m *sdk.Message) (*sdk.Reply, error) {
			return &sdk.Reply{Data: m.Data, ContentType: m.ContentType}, nil
		})})
}
