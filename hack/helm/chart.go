package main

import (
	"embed"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// What the chart has beside the manifests: helpers, the objects of which config/default has none, and Helm's own files.
//
//go:embed all:static
var static embed.FS

const header = "# Written by hack/helm from %s (make generate manifests). Do not edit.\n"

// generate returns the files of the chart by their name inside it.
func generate(config string) (map[string]string, error) {
	files := map[string]string{}
	if err := copyStatic(files); err != nil {
		return nil, err
	}
	objects, err := build(filepath.Join(config, "default"))
	if err != nil {
		return nil, err
	}
	defaults, err := installationOf(objects)
	if err != nil {
		return nil, err
	}
	if files["Chart.yaml"], err = chartFile(defaults); err != nil {
		return nil, err
	}
	if files["values.yaml"], err = valuesFile(defaults); err != nil {
		return nil, err
	}
	if err := environments(config, defaults, files); err != nil {
		return nil, err
	}
	if err := profiles(config, files); err != nil {
		return nil, err
	}
	if err := added(config, objects, files); err != nil {
		return nil, err
	}
	return files, templates(objects, files)
}

func copyStatic(files map[string]string) error {
	return fs.WalkDir(static, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := static.ReadFile(name)
		files[strings.TrimPrefix(name, "static/")] = string(content)
		return err
	})
}

// templates adds one template for each CRD, and one for the objects of each other kind.
func templates(objects []object, files map[string]string) error {
	for _, o := range objects {
		if o.kind() == "Namespace" {
			continue // Helm creates it, or finds it: a release lives in it before its objects do.
		}
		content, err := template(o, nil)
		if err != nil {
			return err
		}
		name := "templates/" + strings.ToLower(o.kind()) + ".yaml"
		if o.kind() == "CustomResourceDefinition" {
			short, _, _ := strings.Cut(o.name(), ".")
			name = "templates/crds/" + short + ".yaml"
		}
		if files[name] == "" {
			files[name] = fmt.Sprintf(header, "config/default") + content
			continue
		}
		files[name] += "---\n" + content
	}
	return nil
}
