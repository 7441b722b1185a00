package main

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestDefaultValuesAreTheDefaultInstallation(t *testing.T) {
	want, got := kustomized(t, "default"), rendered(t, namespace, environment(t, ""))
	except(t, want, got)
	same(t, want, got)
}

func TestEnvironmentsAreTheOverlays(t *testing.T) {
	for _, name := range namesIn(t, "overlays") {
		t.Run(name, func(t *testing.T) {
			want, got := kustomized(t, "overlays/"+name), rendered(t, namespace, environment(t, name))
			except(t, want, got)
			same(t, want, got)
		})
	}
}

// A profile is taken by its name: its ConfigMap comes with it, and the flags that its kustomization says to set.
func TestProfilesAreTheProfiles(t *testing.T) {
	for _, name := range namesIn(t, "profiles") {
		t.Run(name, func(t *testing.T) {
			want, got := kustomized(t, "overlays/production"), environment(t, "production")
			maps.Copy(want, kustomized(t, "profiles/"+name))
			args := want["Deployment/beskar7-system/beskar7-controller-manager"]["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)["containers"].([]any)[0].(map[string]any)
			args["args"] = append(args["args"].([]any), "--config-map=beskar7-config", "--config-map=beskar7-config-"+name)
			got["profiles"] = []any{name}
			with := rendered(t, namespace, got)
			except(t, want, with)
			same(t, want, with)
		})
	}
}

// A component is taken with values.
func TestValuesStandForComponents(t *testing.T) {
	for name, given := range map[string]string{
		"media-loadbalancer": "media: {service: {type: LoadBalancer, spec: {externalTrafficPolicy: Local}}}",
		"media-nodeport":     "media: {service: {type: NodePort, nodePort: 30890}}",
		"media-hostnetwork":  "{hostNetwork: true, strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}}",
		"namespaced-rbac":    "watchNamespace: default",
		"network-policy":     "networkPolicy: {enabled: true}",
	} {
		t.Run(name, func(t *testing.T) {
			objects, err := with(config, name)
			if err != nil {
				t.Fatal(err)
			}
			want, got := parsed(t, objects), rendered(t, namespace, values(t, given))
			except(t, want, got)
			same(t, want, got)
		})
	}
}

// What is committed is what the generator writes: an edit by hand, or a manifest changed without it, is refused.
func TestTheChartIsGenerated(t *testing.T) {
	files, err := generate(config)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(config, "helm")
	for name, content := range files {
		committed, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || string(committed) != content {
			t.Errorf("%s is stale (%v): run make generate manifests", name, err)
		}
	}
	err = filepath.WalkDir(root, func(file string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(root, file)
		if _, ok := files[filepath.ToSlash(name)]; !ok {
			t.Errorf("%s is not the generator's", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	names, err := directories(filepath.Join(config, dir))
	if err != nil || len(names) == 0 {
		t.Fatalf("nothing in %s: %v", dir, err)
	}
	return names
}
