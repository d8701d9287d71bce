//go:build accept

package dsl_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
)

var lookahead = regexp.MustCompile(`\(\?[!=][^)]*\)`)

// What the profile accepts is valid by the specification's own schema.
func TestAcceptProfileIsWithinTheSpecification(t *testing.T) {
	data := os.Getenv("TESTDATA")
	if data == "" {
		t.Skip("TESTDATA is not set: no schema of the specification to compare with")
	}
	text, err := os.ReadFile(filepath.Join(data, "serverless-workflow", "schema", "workflow.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	if err := yaml.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(func(pattern string) (jsonschema.Regexp, error) {
		// Go has no lookaheads. Those of the specification are about durations,
		// which the profile does not have.
		return regexp.Compile(lookahead.ReplaceAllString(pattern, ""))
	})
	if err := c.AddResource("workflow.json", schema); err != nil {
		t.Fatal(err)
	}
	specification, err := c.Compile("workflow.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range valid {
		w, err := dsl.Parse([]byte(document + text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := specification.Validate(w.Definition); err != nil {
			t.Errorf("%s: the specification's schema refuses what ours accepts: %v", name, err)
		}
	}
}
