// Package fnhost has no code: it is where the rules of the module are checked.
package fnhost

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fnhost/fnhost/"

// A rule says what the packages below `of` may import, of this module and of the
// libraries that are kept in one place.
type rule struct {
	of     string
	may    []string // prefixes within the module
	reason string
}

// rules are the arrows of the architecture: they point to the pure centre.
var rules = []rule{
	{"host/delivery", nil, "the nouns are pure"},
	{"host/topology", nil, "names of keys are pure"},
	{"host/retry", []string{"host/delivery"}, "the fate of a message is decided by nothing but the message"},
	{"host/lifecycle", nil, "written once, for all"},
	{"host/config", []string{"host/topology"}, "settings know names, and nothing that runs"},
	{"host/dispatch", []string{"host/delivery", "host/retry", "host/topology", "host/lifecycle"}, "one role at work: no Redis, no processes, no metrics"},
	{"host/stream", []string{"host/delivery", "host/topology", "host/lifecycle"}, "Redis, and no policy"},
	{"host/deadletter", []string{"host/delivery", "host/topology", "host/lifecycle"}, "Redis, and no policy"},
	{"host/ops", []string{"host/delivery", "host/topology", "host/lifecycle"}, "Redis, and no policy"},
	{"host/embedded", nil, "a Redis for development"},
	{"host/plugin", []string{"host/delivery", "sdk"}, "processes, and the wire to them"},
	{"host/telemetry", []string{"host/delivery", "host/topology"}, "names of metrics"},
	{"host/admin", []string{"host/lifecycle"}, "HTTP"},
	{"host/hosttest", []string{"host/"}, "for tests of the host"},
	{"host", []string{"host/", "sdk/fnhostv1"}, "the host wires its parts"},
	{"sdk/sdktest", []string{"sdk", "host"}, "tests of plugins may run the real host"},
	{"sdk/client", []string{"sdk"}, "the host's half of the wire"},
	{"sdk/fnhostv1", []string{"sdk/fnhostv1"}, "the contract"},
	{"sdk", []string{"sdk/fnhostv1", "sdk/internal"}, "the sdk never knows the host"},
	{"plugins/rag", []string{"sdk", "plugins/rag"}, "plugins know the sdk alone"},
	{"plugins/persist", []string{"sdk", "plugins/persist"}, "plugins know the sdk alone"},
	{"plugins/orchestrator/dsl", []string{"plugins/orchestrator"}, "reading a definition runs nothing: the command line does it too"},
	{"plugins/orchestrator", []string{"sdk", "plugins/orchestrator"}, "plugins know the sdk alone"},
	{"plugins/cm", []string{"sdk", "plugins/cm"}, "plugins know the sdk alone"},
	{"examples", []string{"sdk"}, "examples know the sdk alone"},
	{"cmd/fnhost", []string{"host", "cmd/fnhost", "plugins/orchestrator/dsl"}, "the command line; dsl is pure, and validates workflow files"},
}

// libraries are imported below these folders only.
var libraries = map[string][]string{
	"github.com/redis/go-redis/v9":           {"host/stream", "host/deadletter", "host/ops", "host/hosttest", "host"},
	"github.com/hashicorp/go-plugin":         {"host/plugin", "sdk"},
	"github.com/prometheus/client_golang":    {"host/telemetry"},
	"github.com/alicebob/miniredis/v2":       {"host/embedded"},
	"github.com/urfave/cli/v2":               {"cmd/fnhost"},
	"modernc.org/sqlite":                     {"plugins"},
	"testing":                                {"host/hosttest", "sdk/sdktest", "cmd/fnhost/internal/call/calltest"},
	"github.com/fnhost/fnhost/host/hosttest": nil,
	"github.com/fnhost/fnhost/sdk/sdktest":   nil,
}

func TestImports(t *testing.T) {
	t.Parallel()
	for _, pkg := range packages(t) {
		path, inside := strings.CutPrefix(pkg.ImportPath, module)
		if !inside {
			continue
		}
		r := ruleOf(path)
		if r == nil {
			t.Errorf("%s: no rule says what it may import; add one to rules", path)
			continue
		}
		for _, imported := range pkg.Imports {
			check(t, path, *r, imported)
		}
	}
}

func check(t *testing.T, path string, r rule, imported string) {
	t.Helper()
	for library, places := range libraries {
		if (imported == library || strings.HasPrefix(imported, library+"/")) && !slices.ContainsFunc(places, func(p string) bool { return below(path, p) && (p != "host" || path == "host") }) {
			t.Errorf("%s imports %s, which only %v may", path, imported, places)
		}
	}
	own, inside := strings.CutPrefix(imported, module)
	if !inside || below(own, r.of) {
		return
	}
	if !slices.ContainsFunc(r.may, func(p string) bool { return below(own, strings.TrimSuffix(p, "/")) }) {
		t.Errorf("%s imports %s; it may import %v: %s", path, own, r.may, r.reason)
	}
}

// below says whether a path is the folder or lies in it.
func below(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// ruleOf gives the first rule that is about the path.
func ruleOf(path string) *rule {
	for i := range rules {
		if below(path, rules[i].of) {
			return &rules[i]
		}
	}
	return nil
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) (all []goPackage) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
