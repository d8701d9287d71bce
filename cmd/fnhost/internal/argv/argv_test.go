package argv_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/fnhost/fnhost/cmd/fnhost/internal/argv"
)

func app() *cli.App {
	return &cli.App{
		Flags: []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}}, &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}}},
		Commands: []*cli.Command{
			{Name: "publish", Flags: []cli.Flag{
				&cli.StringFlag{Name: "type"}, &cli.StringFlag{Name: "data"}, &cli.BoolFlag{Name: "wait"},
				&cli.StringSliceFlag{Name: "header"},
			}},
			{Name: "serve", Aliases: []string{"run"}},
			{Name: "dlq", Subcommands: []*cli.Command{{Name: "list"}, {Name: "requeue", Flags: []cli.Flag{&cli.BoolFlag{Name: "all"}}}}},
		},
	}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"already in order", "fnhost -o json publish --type x rag", "fnhost -o json publish --type x -- rag"},
		{"flags after the argument", "fnhost publish rag --type x --data y", "fnhost publish --type x --data y -- rag"},
		{"a switch takes no value", "fnhost publish --wait rag --type x", "fnhost publish --wait --type x -- rag"},
		{"global flags anywhere", "fnhost publish rag -q --type x -o json", "fnhost -q -o json publish --type x -- rag"},
		{"values joined by =", "fnhost publish rag --type=x --output=json", "fnhost --output=json publish --type=x -- rag"},
		{"a value that looks like a flag", "fnhost publish rag --data -1 --type x", "fnhost publish --data -1 --type x -- rag"},
		{"standard input", "fnhost publish rag --data -", "fnhost publish --data - -- rag"},
		{"repeated", "fnhost publish rag --header a=1 --header b=2", "fnhost publish --header a=1 --header b=2 -- rag"},
		{"subcommand", "fnhost dlq requeue rag 1-0 --all 2-0", "fnhost dlq requeue --all -- rag 1-0 2-0"},
		{"alias", "fnhost run", "fnhost run"},
		{"after two dashes all is positional", "fnhost publish -- --type rag", "fnhost publish -- --type rag"},
		{"unknown flags stay for the command to name", "fnhost publish rag --typ x", "fnhost publish --typ -- rag x"},
		{"help of a command", "fnhost publish rag --help", "fnhost publish --help -- rag"},
		{"a flag without its value", "fnhost publish rag --type", "fnhost publish --type -- rag"},
		{"nothing", "fnhost", "fnhost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := argv.Order(app(), strings.Fields(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Fields(c.want); !slices.Equal(got, want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

func TestUnknownCommandSuggestsTheNearest(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"fnhost pubilsh rag": `"publish"`,
		"fnhost dlq lst":     `"list"`,
		"fnhost srve":        `"serve"`,
	} {
		_, err := argv.Order(app(), strings.Fields(in))
		if !errors.Is(err, argv.ErrUnknownCommand) || !strings.Contains(err.Error(), "Did you mean "+want) {
			t.Errorf("%s: got error %v, want one that suggests %s", in, err, want)
		}
	}
	if _, err := argv.Order(app(), []string{"fnhost", "frobnicate"}); err == nil || strings.Contains(err.Error(), "mean") {
		t.Errorf("got %v, want an error without a suggestion: nothing is near", err)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	roles := []string{"cm", "orchestrator", "persist", "rag"}
	for in, want := range map[string]string{"rga": "rag", "persits": "persist", "orchestator": "orchestrator", "banana": "", "x": ""} {
		if got := argv.Nearest(in, roles); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}
