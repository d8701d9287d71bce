package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/render"
)

// version is the release, set by the build: -ldflags "-X main.version=...".
var version string

// A build is what this binary was made of.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"` // the work tree differed from the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (b build) String() string { return b.Version }

var buildColumns = []render.Column[build]{
	{Key: "version", Cell: func(b build) string { return b.Version }},
	{Key: "revision", Cell: func(b build) string { return cmp.Or(b.Revision, "unknown") }},
	{Key: "go", Cell: func(b build) string { return b.Go }},
	{Key: "platform", Cell: func(b build) string { return b.Platform }},
}

func buildInfo() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		b.Version = cmp.Or(b.Version, "dev")
		return b
	}
	if v := info.Main.Version; b.Version == "" && v != "(devel)" {
		b.Version = v
	}
	b.Version = cmp.Or(b.Version, "dev")
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (a *app) versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "print the version", Category: "local",
		Action: func(c *cli.Context) error {
			if err := wantArgs(c, 0, 0, "no argument"); err != nil {
				return err
			}
			return render.One(a.printer(c), buildColumns, buildInfo())
		},
	}
}
