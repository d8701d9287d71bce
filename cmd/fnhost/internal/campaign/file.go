package campaign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// ErrFile is wrapped by the error for a file that can be read and is no campaign.
var ErrFile = errors.New("is no campaign")

// file is a campaign as it is written:
//
//	name: ingest and ask
//	workflow: {file: ingest-and-ask.yaml}   # or the definition itself
//	input: {...}
//	labels: {team: search}
type file struct {
	ID       string            `yaml:"id"`
	Name     string            `yaml:"name"`
	Workflow yaml.Node         `yaml:"workflow"`
	Input    any               `yaml:"input"`
	Labels   map[string]string `yaml:"labels"`
}

// ReadFile reads a campaign from a YAML file. The path of a workflow in it is
// relative to the file. A file that is a workflow is a campaign of that name
// without an input.
func ReadFile(path string) (Campaign, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Campaign{}, fmt.Errorf("reading the campaign: %w", err)
	}
	if name, isWorkflow := workflowName(text); isWorkflow {
		return Campaign{Name: name, Workflow: Workflow{YAML: string(text)}}, nil
	}
	f, err := parse(path, text)
	if err != nil {
		return Campaign{}, err
	}
	c := Campaign{ID: f.ID, Name: f.Name, Labels: f.Labels}
	if c.Workflow, err = f.workflow(filepath.Dir(path)); err != nil {
		return Campaign{}, fmt.Errorf("%s %w: workflow: %w", path, ErrFile, err)
	}
	if f.Input != nil {
		if c.Input, err = encode(f.Input); err != nil {
			return Campaign{}, fmt.Errorf("%s %w: input: %w", path, ErrFile, err)
		}
	}
	return c, nil
}

// A Place is where a definition stands: a text, and the JSON pointer in it.
type Place struct {
	Text    []byte
	Pointer string
}

// ReadWorkflow reads the definition of a file that [ReadFile] takes, and says
// where it stands. A text without `workflow` is a definition, whatever is wrong
// with it.
func ReadWorkflow(path string) (definition []byte, in Place, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, in, fmt.Errorf("reading the workflow: %w", err)
	}
	var holds struct{ Workflow yaml.Node }
	if err := yaml.Unmarshal(text, &holds); err != nil || holds.Workflow.IsZero() {
		return text, Place{Text: text}, nil
	}
	f, err := parse(path, text)
	if err != nil {
		return nil, in, err
	}
	w, err := f.workflow(filepath.Dir(path))
	if err != nil {
		return nil, in, fmt.Errorf("%s %w: workflow: %w", path, ErrFile, err)
	}
	if w.YAML != "" {
		return []byte(w.YAML), Place{Text: []byte(w.YAML)}, nil
	}
	return w.Inline, Place{text, "/workflow"}, nil
}

func parse(path string, text []byte) (f file, err error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("%s %w: %w", path, ErrFile, err)
	}
	return f, nil
}

// workflowName is the name of the workflow that the text is.
func workflowName(text []byte) (name string, isWorkflow bool) {
	var w struct {
		Document struct{ Name string }
		Do       yaml.Node
	}
	if err := yaml.Unmarshal(text, &w); err != nil || w.Do.IsZero() {
		return "", false
	}
	return w.Document.Name, true
}

var errNoWorkflow = errors.New("is missing: want a definition, or `file: PATH` of one")

func (f *file) workflow(dir string) (Workflow, error) {
	if f.Workflow.IsZero() {
		return Workflow{}, errNoWorkflow
	}
	var elsewhere struct{ File string }
	if err := f.Workflow.Decode(&elsewhere); err != nil || elsewhere.File == "" {
		return f.inline()
	}
	path := elsewhere.File
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	text, err := os.ReadFile(path)
	return Workflow{YAML: string(text)}, err
}

func (f *file) inline() (Workflow, error) {
	var definition map[string]any
	if err := f.Workflow.Decode(&definition); err != nil {
		return Workflow{}, err
	}
	encoded, err := encode(definition)
	return Workflow{Inline: encoded}, err
}

// encode gives v as JSON, as it is: texts of HTML do not grow.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
