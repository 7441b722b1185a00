package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// components are those of config/components that bring objects of their own, with the value that asks for them.
var components = []struct {
	name, condition string
	// rename maps a scalar of the component's to the expression that stands for it.
	rename map[string]string
}{
	{"namespaced-rbac", "if .Values.watchNamespace", map[string]string{"default": "{{ .Values.watchNamespace | quote }}"}},
	{"network-policy", "if .Values.networkPolicy.enabled", nil},
}

// with returns the objects of config/default with a component. The kustomization that says so is on no disk.
func with(config, component string) ([]object, error) {
	memory := filesys.MakeFsInMemory()
	err := filepath.WalkDir(config, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(config, file)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return memory.WriteFile("/config/"+filepath.ToSlash(relative), content)
	})
	if err != nil {
		return nil, err
	}
	kustomization := "resources: [../default]\ncomponents: [../components/" + component + "]\n"
	if err := memory.WriteFile("/config/composed/kustomization.yaml", []byte(kustomization)); err != nil {
		return nil, err
	}
	return run(memory, "/config/composed")
}

// added adds a template of what each component has beside the default installation.
func added(config string, defaults []object, files map[string]string) error {
	usual := map[string]bool{}
	for _, o := range defaults {
		usual[o.kind()+"/"+o.name()] = true
	}
	for _, component := range components {
		objects, err := with(config, component.name)
		if err != nil {
			return err
		}
		var written []string
		for _, o := range objects {
			if usual[o.kind()+"/"+o.name()] {
				continue
			}
			content, err := template(o, component.rename)
			if err != nil {
				return err
			}
			written = append(written, content)
		}
		if len(written) == 0 {
			return fmt.Errorf("component %s brings no object", component.name)
		}
		files["templates/"+component.name+".yaml"] = fmt.Sprintf(header, "config/components/"+component.name) +
			"{{- " + component.condition + " }}\n" + strings.Join(written, "---\n") + "{{- end }}\n"
	}
	return nil
}
