//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/test/lab"
)

// TestOverlays applies each environment of config/overlays, and each profile of config/profiles, to a running installation as
// an operator would, and waits until every replica of it is Ready, by its own probes, with the arguments, settings and rights that
// it ships. A profile is one that --config-map names.
func TestOverlays(t *testing.T) {
	l := newLab(t)
	s := newStory(t, l, "overlays", 1)
	for replica := 1; replica < 5; replica++ {
		if _, err := l.RunReplica(replica); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"development", "staging", "production", "large-scale"} {
		t.Run(name, func(t *testing.T) {
			s := &story{Lab: l, t: t, namespace: s.namespace}
			before := currentGeneration(t, l)
			s.applyDirectory("config/overlays/" + name)
			s.until(name+" to be ready", func(ctx context.Context) (bool, string, error) {
				d, err := lab.Object(ctx, l, "beskar7-system", "beskar7-controller-manager", &appsv1.Deployment{})
				if err != nil {
					return false, "", err
				}
				st := d.Status
				done := d.Generation > before && st.ObservedGeneration == d.Generation && st.UpdatedReplicas == *d.Spec.Replicas && st.ReadyReplicas == st.UpdatedReplicas && st.Replicas == st.UpdatedReplicas
				return done, fmt.Sprintf("%d of %d replicas are ready", st.ReadyReplicas, *d.Spec.Replicas), nil
			})
			s.available()
		})
	}
	for _, name := range []string{"latency-optimized", "high-throughput", "dell-idrac", "hpe-ilo", "supermicro"} {
		t.Run(name, func(t *testing.T) { (&story{Lab: l, t: t, namespace: s.namespace}).runsProfile(name) })
	}
}

// runsProfile applies a profile, starts one manager with it and nothing else, and expects its values to be in effect.
func (s *story) runsProfile(name string) {
	s.t.Helper()
	g := NewWithT(s.t)
	s.applyDirectory("config/profiles/" + name)
	configMap := "beskar7-config-" + name
	profile, err := lab.Object(s.t.Context(), s.Lab, "beskar7-system", configMap, &corev1.ConfigMap{})
	g.Expect(err).NotTo(HaveOccurred())
	d, _ := s.installed()
	base := d.DeepCopy()
	c := &d.Spec.Template.Spec.Containers[0]
	c.Args = append(slices.DeleteFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, "--config-map=") }), "--config-map="+configMap)
	d.Spec.Replicas = new(int32(1))
	g.Expect(s.Client.Patch(s.t.Context(), d, client.MergeFrom(base))).To(Succeed())
	s.rolledOut(1)
	list := s.shown()
	for key, value := range profile.Data {
		g.Expect(list).To(HaveKeyWithValue(key, [2]string{value, "configmap " + configMap}))
	}
	s.available()
}

func currentGeneration(t *testing.T, l *lab.Lab) int64 {
	t.Helper()
	d, err := lab.Object(t.Context(), l, "beskar7-system", "beskar7-controller-manager", &appsv1.Deployment{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Generation
}

// applyDirectory is "kubectl apply -k", with the kustomize that make release uses.
func (s *story) applyDirectory(dir string) {
	s.t.Helper()
	s.applyManifests(s.kustomized(dir))
}

// kustomized builds a folder.
func (s *story) kustomized(dir string) []byte {
	s.t.Helper()
	g := NewWithT(s.t)
	root, err := lab.Root("")
	g.Expect(err).NotTo(HaveOccurred())
	build := exec.CommandContext(s.t.Context(), filepath.Join(root, "bin", "kustomize"), "build", dir)
	build.Dir = root
	manifests, err := build.Output()
	g.Expect(err).NotTo(HaveOccurred(), "kustomize build %s", dir)
	return manifests
}

// applyManifests applies all but webhook configurations and CRDs: the site has routed those to processes, and they are the same in
// every environment.
func (s *story) applyManifests(manifests []byte) {
	s.t.Helper()
	manifests = slices.Concat(slices.DeleteFunc(bytes.SplitAfter(manifests, []byte("\n---\n")), func(document []byte) bool {
		return bytes.Contains(document, []byte("WebhookConfiguration\n")) || bytes.Contains(document, []byte("kind: CustomResourceDefinition\n"))
	})...)
	_, err := s.Plane.Kubectl(s.t.Context(), manifests, "apply", "--server-side", "--force-conflicts", "-f", "-")
	NewWithT(s.t).Expect(err).NotTo(HaveOccurred())
}
