package main

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	yaml3 "go.yaml.in/yaml/v3"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"sigs.k8s.io/yaml"
)

const config = "../../config"

// manifests are parsed objects by kind, namespace and name.
type manifests map[string]map[string]any

func (m manifests) add(t *testing.T, document string) {
	t.Helper()
	object := map[string]any{}
	if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	if len(object) == 0 {
		return
	}
	meta := object["metadata"].(map[string]any)
	ns, _ := meta["namespace"].(string)
	key := path.Join(object["kind"].(string), ns, meta["name"].(string))
	if m[key] != nil {
		t.Fatalf("%s is there twice", key)
	}
	m[key] = object
}

// chartHere loads the chart as it is committed.
func chartHere(t *testing.T) *chart.Chart {
	t.Helper()
	loaded, err := loader.Load(filepath.Join(config, "helm"))
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// values parses what a user writes into a file or gives with --set.
func values(t *testing.T, text string) map[string]any {
	t.Helper()
	parsed, err := chartutil.ReadValues([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// environment returns the values of a file of the chart, such as values-production.yaml; none for "".
func environment(t *testing.T, name string) map[string]any {
	t.Helper()
	if name == "" {
		return map[string]any{}
	}
	text, err := os.ReadFile(filepath.Join(config, "helm", "values-"+name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return values(t, string(text))
}

// rendered returns what Helm would install.
func rendered(t *testing.T, release string, given map[string]any) manifests {
	t.Helper()
	out, err := tryRender(t, release, given)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryRender(t *testing.T, release string, given map[string]any) (manifests, error) {
	t.Helper()
	loaded := chartHere(t)
	all, err := chartutil.ToRenderValues(loaded, given, chartutil.ReleaseOptions{Name: "beskar7", Namespace: release, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		return nil, err
	}
	out := manifests{}
	for name, content := range files {
		if path.Base(name) == "NOTES.txt" {
			continue
		}
		for _, document := range releaseutil.SplitManifests(content) {
			out.add(t, document)
		}
	}
	return out, nil
}

// kustomized returns what kustomize builds of a directory under config.
func kustomized(t *testing.T, dir string) manifests {
	t.Helper()
	objects, err := build(filepath.Join(config, dir))
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, objects)
}

func parsed(t *testing.T, objects []object) manifests {
	t.Helper()
	out := manifests{}
	for _, o := range objects {
		document, err := encode(o.root)
		if err != nil {
			t.Fatal(err)
		}
		out.add(t, document)
	}
	return out
}

// except takes from both sides what the chart cannot say as kustomize does. Each line has its reason.
func except(t *testing.T, want, got manifests) {
	t.Helper()
	// A release's own record lives in its namespace, which is there before any object: Helm would refuse to take it over.
	// "helm install --create-namespace" makes it; the label of Pod Security is one command (docs/quick-start.md).
	delete(want, "Namespace/beskar7-system")
	for key, object := range got {
		if !strings.HasPrefix(key, "CustomResourceDefinition/") {
			continue
		}
		// Without it "helm uninstall" deletes the CRDs and with them every host and machine; kustomize has no such command.
		annotations := object["metadata"].(map[string]any)["annotations"].(map[string]any)
		if annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s has no resource policy keep: %v", key, annotations)
		}
		delete(annotations, "helm.sh/resource-policy")
	}
}

// same fails for every object that only one side has, or that differs.
func same(t *testing.T, want, got manifests) {
	t.Helper()
	if len(want) < 20 {
		t.Errorf("only %d objects to compare with", len(want))
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] == nil {
			t.Errorf("the chart has no %s", key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if want[key] == nil {
			t.Errorf("only the chart has %s", key)
		} else if differences := differ("", want[key], got[key]); len(differences) > 0 {
			t.Errorf("%s differs:\n%s", key, strings.Join(differences, "\n"))
		}
	}
}

// differ lists the places at which two trees differ, with what each has.
func differ(at string, want, got any) []string {
	if before, after, equal := lists(want, got); equal {
		var out []string
		for i := range before {
			out = append(out, differ(fmt.Sprintf("%s/%d", at, i), before[i], after[i])...)
		}
		return out
	}
	wanted, isMap := want.(map[string]any)
	gotten, areMaps := got.(map[string]any)
	if !isMap || !areMaps {
		if reflect.DeepEqual(want, got) {
			return nil
		}
		before, _ := yaml.Marshal(want)
		after, _ := yaml.Marshal(got)
		return []string{at + ": " + strings.TrimSpace(string(before)) + " -> " + strings.TrimSpace(string(after))}
	}
	keys := maps.Clone(wanted)
	maps.Copy(keys, gotten)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		out = append(out, differ(at+"/"+key, wanted[key], gotten[key])...)
	}
	return out
}

// lists returns both when they are lists of equal length.
func lists(want, got any) (before, after []any, equal bool) {
	before, isList := want.([]any)
	after, areLists := got.([]any)
	return before, after, isList && areLists && len(before) == len(after)
}

func mapping(pairs ...string) *yaml3.Node {
	node := &yaml3.Node{Kind: yaml3.MappingNode}
	for _, value := range pairs {
		node.Content = append(node.Content, &yaml3.Node{Kind: yaml3.ScalarNode, Tag: "!!str", Value: value})
	}
	return node
}

// engineText returns what one template of a chart becomes.
func engineText(t *testing.T, loaded *chart.Chart, name string) string {
	t.Helper()
	all, err := chartutil.ToRenderValues(loaded, nil, chartutil.ReleaseOptions{Name: "beskar7", Namespace: namespace}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(loaded, all)
	if err != nil {
		t.Fatal(err)
	}
	return files[name]
}
