package campaign

import (
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Line gives the line of a YAML text that a JSON pointer points to, or that of
// the nearest thing around it which there is; 0 if the text is no YAML.
func Line(text []byte, pointer string) int {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil || len(root.Content) == 0 {
		return 0
	}
	node, line := root.Content[0], root.Content[0].Line
	for _, token := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		next, at := child(node, token)
		if next == nil {
			return line
		}
		node, line = next, at
	}
	return line
}

// child gives a member or an item, and the line where it begins.
func child(n *yaml.Node, token string) (*yaml.Node, int) {
	switch n.Kind {
	case yaml.AliasNode:
		return child(n.Alias, token)
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == token {
				return n.Content[i+1], n.Content[i].Line
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i].Line
		}
	}
	return nil, 0
}
