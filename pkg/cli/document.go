package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one object of a YAML file, with the lines of its parts.
type document struct{ root *yaml.Node }

// documents reads all documents of a file; the items of lists count as documents. The error names the line.
func documents(file []byte) ([]document, error) {
	var found []document
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	for {
		var node yaml.Node
		err := decoder.Decode(&node)
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, fmt.Errorf("no YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(node.Content) == 0 {
			continue
		}
		root := node.Content[0]
		if strings.HasSuffix(text(child(root, "kind")), "List") && child(root, "items") != nil {
			for _, item := range child(root, "items").Content {
				found = append(found, document{resolve(item)})
			}
			continue
		}
		if root.Kind == yaml.MappingNode {
			found = append(found, document{root})
		}
	}
}

func (d document) kind() string { return text(child(d.root, "kind")) }
func (d document) name() string { return text(child(child(d.root, "metadata"), "name")) }

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// child is the value of a key in a mapping; nil if there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if n = resolve(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return resolve(n.Content[i+1])
		}
	}
	return nil
}

func path(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		n = child(n, key)
	}
	return n
}

func text(n *yaml.Node) string {
	if n = resolve(n); n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// items are the elements of a sequence.
func items(n *yaml.Node) []*yaml.Node {
	if n = resolve(n); n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// pairs calls f for every key of a mapping.
func pairs(n *yaml.Node, f func(key, value *yaml.Node)) {
	if n = resolve(n); n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		f(n.Content[i], resolve(n.Content[i+1]))
	}
}
