// Package workflows has example workflows. That they run is tested end to end,
// with the fnhost command.
package workflows

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
)

func TestEveryExampleIsValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("files %q, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		w, err := dsl.Parse(text)
		if err != nil {
			t.Errorf("%s:\n%v", file, err)
		} else if w.Name+".yaml" != file {
			t.Errorf("%s holds the workflow %s", file, w.Name)
		}
	}
}
