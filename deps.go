//go:build deps

package fnhost

import (
	_ "github.com/alicebob/miniredis/v2"
	_ "github.com/bufbuild/protocompile"
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/hashicorp/go-hclog"
	_ "github.com/hashicorp/go-plugin"
	_ "github.com/hashicorp/go-plugin/runner"
	_ "github.com/jedib0t/go-pretty/v6/table"
	_ "github.com/mattn/go-isatty"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/redis/go-redis/v9"
	_ "github.com/schollz/progressbar/v3"
	_ "github.com/sethvargo/go-retry"
	_ "github.com/urfave/cli/v2"
	_ "github.com/yuin/goldmark"
	_ "go.uber.org/goleak"
	_ "golang.org/x/net/html"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/time/rate"
	_ "google.golang.org/grpc"
	_ "google.golang.org/grpc/test/bufconn"
	_ "gopkg.in/yaml.v3"
	_ "github.com/dustin/go-humanize"
	_ "modernc.org/sqlite"
	_ "github.com/santhosh-tekuri/jsonschema/v6"
)
