package main

import (
	"bytes"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// object is one manifest as a tree that keeps the order of its keys.
type object struct {
	root *yaml.Node
}

// build returns the objects that kustomize makes of a directory, in its order.
func build(dir string) ([]object, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	return run(filesys.MakeFsOnDisk(), dir)
}

func run(files filesys.FileSystem, dir string) ([]object, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, dir)
	if err != nil {
		return nil, fmt.Errorf("kustomize build %s: %w", dir, err)
	}
	var objects []object
	for _, resource := range resources.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			return nil, fmt.Errorf("kustomize build %s: %w", dir, err)
		}
		var document yaml.Node
		if err := yaml.Unmarshal(text, &document); err != nil {
			return nil, fmt.Errorf("kustomize build %s: %w", dir, err)
		}
		objects = append(objects, object{root: document.Content[0]})
	}
	return objects, nil
}

func (o object) kind() string { return text(o.get("kind")) }
func (o object) name() string { return text(o.get("metadata", "name")) }

// get returns what is under a path of keys, nil when it is absent. It enters a list by the "name" of its element.
func (o object) get(path ...string) *yaml.Node { return lookup(o.root, path...) }

func lookup(node *yaml.Node, path ...string) *yaml.Node {
	for _, key := range path {
		if node == nil {
			return nil
		}
		node = child(node, key)
	}
	return node
}

func child(node *yaml.Node, key string) *yaml.Node {
	if node.Kind == yaml.MappingNode {
		for i := 0; i < len(node.Content); i += 2 {
			if node.Content[i].Value == key {
				return node.Content[i+1]
			}
		}
	}
	if node.Kind == yaml.SequenceNode {
		for _, element := range node.Content {
			if text(lookup(element, "name")) == key {
				return element
			}
		}
	}
	return nil
}

// set puts a scalar under a key of the mapping at a path; a key that is absent comes last.
func (o object) set(value string, path ...string) error {
	last := len(path) - 1
	parent := o.get(path[:last]...)
	if parent == nil || parent.Kind != yaml.MappingNode {
		return fmt.Errorf("%s %s has no mapping at %v", o.kind(), o.name(), path[:last])
	}
	scalar := yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	if found := child(parent, path[last]); found != nil {
		*found = scalar
		return nil
	}
	parent.Content = append(parent.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: path[last]}, &scalar)
	return nil
}

// remove takes a key away from the mapping at a path.
func (o object) remove(path ...string) {
	last := len(path) - 1
	parent := o.get(path[:last]...)
	if parent == nil || parent.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i < len(parent.Content); i += 2 {
		if parent.Content[i].Value == path[last] {
			parent.Content = append(parent.Content[:i], parent.Content[i+2:]...)
			return
		}
	}
}

// each visits every scalar under a node.
func each(node *yaml.Node, visit func(*yaml.Node)) {
	if node.Kind == yaml.ScalarNode {
		visit(node)
	}
	for _, child := range node.Content {
		each(child, visit)
	}
}

func text(node *yaml.Node) string {
	if node == nil {
		return ""
	}
	return node.Value
}

func encode(value any) (string, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return out.String(), encoder.Close()
}
