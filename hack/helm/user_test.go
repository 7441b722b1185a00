package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

const (
	manage = "Deployment/beskar7-system/beskar7-controller-manager"
	pod    = manage + "/spec/template/spec"
	box    = pod + "/containers/0"
	fresh  = "null -> "
)

// changes are what differs between the default installation and the one with the given values.
func changes(t *testing.T, before manifests, given string) []string {
	t.Helper()
	after := rendered(t, namespace, values(t, given))
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	var out []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch {
		case before[key] == nil:
			out = append(out, "+"+key)
		case after[key] == nil:
			out = append(out, "-"+key)
		default:
			out = append(out, differ(key, before[key], after[key])...)
		}
	}
	return out
}

func TestAValueChangesWhatItNamesAndNothingElse(t *testing.T) {
	usual := rendered(t, namespace, nil)
	for given, want := range map[string][]string{
		"replicas: 3":                        {manage + "/spec/replicas: 1 -> 3"},
		"image: {tag: v9}":                   {box + "/image: beskar7/controller:v0.1.0 -> beskar7/controller:v9"},
		"image: {repository: r.example/b7}":  {box + "/image: beskar7/controller:v0.1.0 -> r.example/b7:v0.1.0"},
		"image: {pullPolicy: Always}":        {box + "/imagePullPolicy: IfNotPresent -> Always"},
		"imagePullSecrets: [{name: s}]":      {pod + "/imagePullSecrets: " + fresh + "- name: s"},
		"strategy: {type: Recreate}":         {manage + "/spec/strategy: " + fresh + "type: Recreate"},
		"logLevel: debug":                    {box + "/env/0/value: info -> debug"},
		"nodeSelector: {disk: ssd}":          {pod + "/nodeSelector: " + fresh + "disk: ssd"},
		"affinity: {nodeAffinity: {}}":       {pod + "/affinity: " + fresh + "nodeAffinity: {}"},
		"tolerations: []":                    {pod + "/tolerations: - effect: NoSchedule\n  key: node-role.kubernetes.io/control-plane\n  operator: Exists -> null"},
		"resources: {limits: {memory: 2Gi}}": {box + "/resources/limits/memory: 512Mi -> 2Gi"},
		"livenessProbe: {periodSeconds: 7}":  {box + "/livenessProbe/periodSeconds: 20 -> 7"},
		"readinessProbe: {periodSeconds: 7}": {box + "/readinessProbe/periodSeconds: 10 -> 7"},
		"labels: {a: b}":                     {manage + "/metadata/labels/a: " + fresh + "b"},
		"podLabels: {a: b}":                  {manage + "/spec/template/metadata/labels/a: " + fresh + "b"},
		"podAnnotations: {a: \"1\"}":         {manage + "/spec/template/metadata/annotations/a: " + fresh + "\"1\""},
		"podDisruptionBudget: {minAvailable: 1}": {
			"+PodDisruptionBudget/beskar7-system/beskar7-controller-manager"},
		"settings: {log.level: debug}": {"+ConfigMap/beskar7-system/beskar7-config"},
		"media: {service: {type: LoadBalancer, annotations: {a: b}, spec: {externalTrafficPolicy: Local}}}": {
			"Service/beskar7-system/beskar7-media/metadata/annotations: " + fresh + "a: b",
			"Service/beskar7-system/beskar7-media/spec/externalTrafficPolicy: " + fresh + "Local",
			"Service/beskar7-system/beskar7-media/spec/type: ClusterIP -> LoadBalancer"},
	} {
		if got := changes(t, usual, given); !slices.Equal(got, want) {
			t.Errorf("%s changes\n%s\nwant\n%s", given, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// Lists are written whole by differ, so that what is added is looked for at their end.
func TestAdditionsComeLast(t *testing.T) {
	usual := rendered(t, namespace, nil)
	for given, want := range map[string]string{
		"extraArgs: [\"--namespace={{ .Release.Name }}\"]": "- --media-cache-dir=/home/controller/.cache/media\n- --namespace=beskar7",
		"env: [{name: HTTPS_PROXY, value: p}]":             "name: NODE_NAME\n  valueFrom:\n    fieldRef:\n      fieldPath: spec.nodeName\n- name: HTTPS_PROXY\n  value: p",
	} {
		got := changes(t, usual, given)
		if len(got) != 1 || !strings.HasPrefix(got[0], box) || !strings.HasSuffix(got[0], want) {
			t.Errorf("%s changes\n%s\nwant the end\n%s", given, strings.Join(got, "\n"), want)
		}
	}
}

func TestWithoutCRDs(t *testing.T) {
	got := changes(t, rendered(t, namespace, nil), "crds: {install: false}")
	if len(got) != 5 {
		t.Errorf("%d changes, want the 5 CRDs gone: %v", len(got), got)
	}
	for _, change := range got {
		if !strings.HasPrefix(change, "-CustomResourceDefinition/") {
			t.Errorf("not a CRD gone: %s", change)
		}
	}
}

// In another namespace everything says that one, also if it looks like a number, and names that only begin like the usual one stay.
func TestAnotherNamespace(t *testing.T) {
	for _, env := range []string{"", "large-scale"} {
		for _, elsewhere := range []string{"elsewhere", "123"} {
			moves(t, elsewhere, environment(t, env))
		}
	}
}

// moves compares an installation in another namespace with that in the usual one.
func moves(t *testing.T, elsewhere string, given map[string]any) {
	t.Helper()
	usual, other := rendered(t, namespace, given), rendered(t, elsewhere, given)
	if len(usual) != len(other) {
		t.Fatalf("%d objects, want %d", len(other), len(usual))
	}
	for key, object := range usual {
		moved := other[strings.Replace(key, "/"+namespace+"/", "/"+elsewhere+"/", 1)]
		if moved == nil {
			t.Errorf("%s has no counterpart", key)
			continue
		}
		for _, difference := range differ(key, object, moved) {
			_, values, _ := strings.Cut(difference, ": ")
			before, after, _ := strings.Cut(values, " -> ")
			if strings.ReplaceAll(before, namespace, elsewhere) != strings.Trim(after, `"`) { // a text that looks like a number is shown as one
				t.Errorf("not only the namespace: %s", difference)
			}
		}
		if text := leftover(moved); text != "" {
			t.Errorf("%s still says %s", key, text)
		}
	}
}

// leftover returns a string with the usual namespace in it, other than as the beginning of a longer name.
func leftover(value any) string {
	switch value := value.(type) {
	case map[string]any:
		for _, v := range value {
			if found := leftover(v); found != "" {
				return found
			}
		}
	case []any:
		for _, v := range value {
			if found := leftover(v); found != "" {
				return found
			}
		}
	case string:
		if strings.Contains(strings.ReplaceAll(value, namespace+"-m", ""), namespace) {
			return value
		}
	}
	return ""
}

func TestWhatIsNoValueIsRefused(t *testing.T) {
	for _, given := range []string{"replica: 3", "image: {version: v9}", "media: {type: NodePort}", "crds: {enabled: false}",
		"replicas: many", "logLevel: loud", "profiles: [no-such-profile]", "extraArgs: {a: b}", "watchNamespace: Hosts"} {
		if _, err := tryRender(t, namespace, values(t, given)); err == nil {
			t.Errorf("%s is accepted", given)
		}
	}
}

// A description in a CRD may hold what Helm takes for an action; it must come out as it went in.
func TestBracesOfAManifestAreNotActions(t *testing.T) {
	o := object{}
	o.root = mapping("kind", "ServiceAccount", "description", "a {{ .Values.x }} b")
	written, err := template(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	loaded := chartHere(t)
	for _, file := range loaded.Templates {
		if file.Name == "templates/serviceaccount.yaml" {
			file.Data = []byte(written)
		}
	}
	if got := engineText(t, loaded, "beskar7/templates/serviceaccount.yaml"); !strings.Contains(got, "a {{ .Values.x }} b") {
		t.Errorf("rendered as %s", got)
	}
}
