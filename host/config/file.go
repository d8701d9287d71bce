package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/fnhost/fnhost/host/topology"
	"gopkg.in/yaml.v3"
)

const defaultFile = "fnhost.yaml"

// A file whose aliases refer to aliases, or to themselves, is bounded in the
// values it has and in the length of a value's path.
const (
	maxNodes = 20_000
	maxPath  = 2_000
)

// file reads fnhost.yaml node by node, since each value's line is wanted, and
// goes on after a problem to find them all.
type file struct {
	name     string
	env      map[string]string
	nodes    int
	tooLarge bool
	problems []error
	lines    []yamlEntry
}

// readFile reads fnhost.yaml if there is one, or the file that was asked for.
func (c *Config) readFile(dir string, env map[string]string) []error {
	asked := c.ConfigFile != ""
	path := c.ConfigFile
	if !asked {
		path = defaultFile
	}
	c.ConfigFile = under(dir, path)
	data, err := os.ReadFile(c.ConfigFile)
	if err != nil {
		return c.withoutFile(asked, err)
	}
	f := &file{name: filepath.Base(path), env: env}
	if root := f.parse(data); root != nil {
		f.document(c, root)
	}
	c.lines = f.lines
	return f.problems
}

func (c *Config) withoutFile(asked bool, err error) []error {
	if errors.Is(err, fs.ErrNotExist) && !asked {
		c.ConfigFile = ""
		return nil
	}
	return []error{&Problem{Setting: "FNHOST_CONFIG", Origin: c.values["FNHOST_CONFIG"].origin, What: fmt.Sprintf("reading the file: %v", err)}}
}

// parse gives the root of the one document, or nil if there is none.
func (f *file) parse(data []byte) *yaml.Node {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root, further yaml.Node
	switch err := decoder.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		f.problems = append(f.problems, &Problem{Setting: f.name, What: strings.TrimPrefix(err.Error(), "yaml: ")})
		return nil
	}
	if err := decoder.Decode(&further); !errors.Is(err, io.EOF) {
		f.problems = append(f.problems, &Problem{Setting: f.name, What: "it has more than one document (a line of ---), or an error after the first"})
	}
	return root.Content[0]
}

func (f *file) document(c *Config, root *yaml.Node) {
	f.object(root, "", fields{
		"roles": func(path string, n *yaml.Node) {
			f.each(n, path, func(path, name string, key, n *yaml.Node) {
				if err := topology.CheckRole(name); err != nil {
					f.fail(path, key, "%v", err)
				}
				c.Roles[name] = f.role(path, key.Line, n)
			})
		},
		"replies": func(path string, n *yaml.Node) { c.Replies = f.streams(path, n) },
	})
}

// origin is where a node stands.
func (f *file) origin(n *yaml.Node) string { return fmt.Sprintf("%s:%d", f.name, n.Line) }

func (f *file) fail(path string, n *yaml.Node, format string, args ...any) {
	f.problems = append(f.problems, &Problem{Setting: path, Origin: f.origin(n), What: fmt.Sprintf(format, args...)})
}

func (f *file) note(path string, n *yaml.Node, shown string) {
	f.lines = append(f.lines, yamlEntry{path, shown, f.origin(n)})
}

// fields are the keys that an object may have, and who takes each.
type fields map[string]func(path string, n *yaml.Node)

// object hands each key's value to its taker; unknown keys are problems.
func (f *file) object(n *yaml.Node, path string, takers fields) {
	f.each(n, path, func(path, name string, key, n *yaml.Node) {
		if take := takers[name]; take != nil {
			take(path, n)
			return
		}
		known := sortedKeys(takers)
		if meant, ok := nearest(name, known, 2); ok {
			f.fail(path, key, "there is no such key; did you mean %s?", meant)
		} else {
			f.fail(path, key, "there is no such key here: it may be %s", strings.Join(known, ", "))
		}
	})
}

// each visits the keys of an object, those merged in (<<) as well unless they
// are overridden; null is an object without keys.
func (f *file) each(n *yaml.Node, path string, visit func(path, name string, key, n *yaml.Node)) {
	n = f.resolve(path, n)
	if n == nil || isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		f.fail(path, n, "it must be an object: keys and values below it, indented")
		return
	}
	seen := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if first, twice := seen[key.Value]; twice {
			f.fail(join(path, key.Value), key, "it is already set in line %d", first)
			continue
		}
		seen[key.Value] = key.Line
	}
	f.visitAll(n, path, map[string]bool{}, visit)
}

// visitAll visits an object's own keys first, so that they win over merged ones.
func (f *file) visitAll(n *yaml.Node, path string, seen map[string]bool, visit func(path, name string, key, n *yaml.Node)) {
	var merged []*yaml.Node
	for i := 0; i < len(n.Content); i += 2 {
		key, val := n.Content[i], n.Content[i+1]
		switch {
		case key.Tag == "!!merge":
			merged = append(merged, val)
		case key.Kind != yaml.ScalarNode:
			f.fail(path, key, "a key must be a plain word")
		case !seen[key.Value]:
			seen[key.Value] = true
			visit(join(path, key.Value), key.Value, key, val)
		}
	}
	for _, m := range merged {
		f.merge(m, path, seen, visit)
	}
}

func (f *file) merge(n *yaml.Node, path string, seen map[string]bool, visit func(path, name string, key, n *yaml.Node)) {
	n = f.resolve(path, n)
	switch {
	case n == nil:
	case n.Kind == yaml.MappingNode:
		f.visitAll(n, path, seen, visit)
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			f.merge(item, path, seen, visit)
		}
	default:
		f.fail(path, n, "<< must name an object by its *anchor")
	}
}

// resolve follows an alias, and gives nil once the file has grown too large by them.
func (f *file) resolve(path string, n *yaml.Node) *yaml.Node {
	f.nodes++
	if f.nodes >= maxNodes || len(path) >= maxPath {
		if !f.tooLarge {
			f.fail(f.name, n, "it is too large or too deep: its *aliases repeat too much, or themselves")
		}
		f.tooLarge, f.nodes = true, maxNodes
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func lastPart(path string) string { return path[strings.LastIndex(path, ".")+1:] }

// scalar gives the text of a plain value.
func (f *file) scalar(path string, n *yaml.Node) (string, bool) {
	n = f.resolve(path, n)
	if n == nil {
		return "", false
	}
	if n.Kind != yaml.ScalarNode {
		f.fail(path, n, "it must be a plain value")
		return "", false
	}
	if isNull(n) {
		return "", true
	}
	return n.Value, true
}

var envReference = regexp.MustCompile(`\$\{env:([^}]*)\}`)

// fill puts variables of the environment for each ${env:NAME}; secret says that
// there were any.
func (f *file) fill(path string, n *yaml.Node) (filled string, secret bool) {
	filled = envReference.ReplaceAllStringFunc(n.Value, func(reference string) string {
		name := envReference.FindStringSubmatch(reference)[1]
		secret = true
		content, ok := f.env[name]
		if !ok {
			f.fail(path, n, "the variable %s is not in the environment of the host", name)
		}
		return content
	})
	return filled, secret
}
