//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/lab"
)

// TestOneNamespace: an installation with components/namespaced-rbac makes and removes a cluster in its namespace, with rights in no
// other, neither reads nor touches the hosts of another one, and is refused that one's Secrets.
func TestOneNamespace(t *testing.T) {
	l := newLab(t)
	s := newStory(t, l, "mine", 2)
	g := NewWithT(t)
	// Nobody runs while the rights change: a watch that is open already would outlive its right.
	s.system("scale", "deployment", "beskar7-controller-manager", "--replicas=0")
	s.rolledOut(0)
	g.Expect(s.Client.Delete(t.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "beskar7-system-manager-rolebinding"}})).To(Succeed())
	manifests := s.kustomized(s.withComponent("namespaced-rbac"))
	for _, line := range []string{"namespace: %s\n", "--namespace=%s\n"} {
		manifests = bytes.ReplaceAll(manifests, fmt.Appendf(nil, line, "default"), fmt.Appendf(nil, line, s.namespace))
	}
	s.applyManifests(manifests)
	s.rolledOut(1)

	g.Expect(l.AddHosts(t.Context(), "theirs", "theirs", 1)).To(Succeed())
	s.apply(lab.ClusterSpec{Name: "own", ControlPlanes: 1, Workers: 1})
	s.running("own", 1, 1)
	s.remove("own")
	s.available()
	w := s.witness()
	g.Expect([]int{w.Provisioned, w.Released}).To(Equal([]int{2, 2}))

	theirs, err := lab.Object(t.Context(), l, "theirs", "theirs-0", &v1beta1.PhysicalHost{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(theirs.Status.State).To(BeEmpty(), "a host of another namespace was looked at")
	g.Expect(theirs.Finalizers).To(BeEmpty(), "a host of another namespace was changed")
	for _, namespace := range []string{"theirs", "kube-system", "beskar7-system"} {
		_, err := l.Plane.Kubectl(t.Context(), nil, "-n", namespace, "get", "secrets", "--as=system:serviceaccount:beskar7-system:beskar7-controller-manager")
		g.Expect(err).To(MatchError(ContainSubstring("forbidden")), namespace)
	}
}

// system runs kubectl in the namespace of the installation.
func (s *story) system(args ...string) {
	s.t.Helper()
	_, err := s.Plane.Kubectl(s.t.Context(), nil, append([]string{"-n", "beskar7-system"}, args...)...)
	NewWithT(s.t).Expect(err).NotTo(HaveOccurred())
}

// withComponent is a folder with config/default and a component.
func (s *story) withComponent(name string) string {
	s.t.Helper()
	g := NewWithT(s.t)
	root, err := lab.Root("")
	g.Expect(err).NotTo(HaveOccurred())
	dir, err := filepath.EvalSymlinks(s.t.TempDir())
	g.Expect(err).NotTo(HaveOccurred())
	up, err := filepath.Rel(dir, filepath.Join(root, "config"))
	g.Expect(err).NotTo(HaveOccurred())
	content := fmt.Sprintf("resources: [%s/default]\ncomponents: [%s/components/%s]\n", up, up, name)
	g.Expect(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(content), 0o600)).To(Succeed())
	return dir
}
