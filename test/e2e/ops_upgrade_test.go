//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/beskar7/beskar7/test/controlplane"
	"github.com/beskar7/beskar7/test/lab"
)

// nextVersion is a later release, with the same content but for its images.
const nextVersion = "v0.2.0"

// TestUpgrade upgrades the provider with clusterctl under a running cluster.
func TestUpgrade(t *testing.T) {
	l := newLab(t)
	s := newStory(t, l, "upgrade", 3)
	s.apply(lab.ClusterSpec{Name: "upgrade", ControlPlanes: 1, Workers: 1})
	s.running("upgrade", 1, 1)
	g := NewWithT(t)
	g.Expect(l.Plane.AddSource(controlplane.ReleaseSource{Name: "beskar7", Type: "InfrastructureProvider", URL: nextRelease(t)})).To(Succeed())
	settings, err := lab.Object(t.Context(), l, "beskar7-system", "beskar7-config", &corev1.ConfigMap{})
	g.Expect(err).NotTo(HaveOccurred())
	before, pid := s.hardware(), l.Manager.PID()

	s.clusterctl("upgrade", "apply", "--infrastructure", "beskar7:"+nextVersion)
	s.until("the next version to run", func(ctx context.Context) (bool, string, error) {
		d, err := lab.Object(ctx, l, "beskar7-system", "beskar7-controller-manager", &appsv1.Deployment{})
		if err != nil {
			return false, "", err
		}
		image := d.Spec.Template.Spec.Containers[0].Image
		return d.Status.ReadyReplicas == 1 && strings.HasSuffix(image, nextVersion) && l.Manager.PID() != pid, image, nil
	})
	g.Expect(l.Manager.Ready(t.Context())).To(Succeed())
	g.Expect(l.Plane.Routed(t.Context())).To(Succeed())
	s.running("upgrade", 1, 1)
	g.Consistently(s.hardware, quiet, time.Second).Should(Equal(before), "an upgrade touches no hardware")
	after, err := lab.Object(t.Context(), l, "beskar7-system", "beskar7-config", &corev1.ConfigMap{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(after.UID).To(Equal(settings.UID))
	g.Expect(after.Data).To(Equal(settings.Data))

	s.scaleWorkers(2)
	s.running("upgrade", 1, 2)
	s.remove("upgrade")
	s.available()
	s.spent()
	s.witness()
}

// nextRelease writes a local repository with both versions and returns the later one's components file.
func nextRelease(t *testing.T) string {
	t.Helper()
	root, err := lab.Root("")
	if err != nil {
		t.Fatal(err)
	}
	released := filepath.Join(root, "out", "release", "infrastructure-beskar7", lab.Version)
	base := filepath.Join(t.TempDir(), "infrastructure-beskar7")
	for version, change := range map[string]func([]byte) []byte{
		lab.Version: func(b []byte) []byte { return b },
		nextVersion: func(b []byte) []byte {
			b = bytes.ReplaceAll(b, []byte(":"+lab.Version), []byte(":"+nextVersion))
			return bytes.Replace(b, []byte("releaseSeries:\n"), []byte("releaseSeries:\n- major: 0\n  minor: 2\n  contract: v1beta2\n"), 1)
		},
	} {
		if err := os.MkdirAll(filepath.Join(base, version), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"infrastructure-components.yaml", "metadata.yaml"} {
			content, err := os.ReadFile(filepath.Join(released, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(base, version, name), change(content), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return filepath.Join(base, nextVersion, "infrastructure-components.yaml")
}
