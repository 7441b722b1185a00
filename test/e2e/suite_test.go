//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/lab"
)

// patience is how long one step of a story may take on a slow machine. A step that works takes a minute at most.
const patience = 8 * time.Minute

// newLab starts a site in out/e2e/<test> and stops it with the test. What a failed test wrote stays.
func newLab(t *testing.T, change ...func(*lab.Options)) *lab.Lab {
	t.Helper()
	root, err := lab.Root("")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "out", "e2e", strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()))
	o := lab.Options{Dir: dir, Root: root, Progress: t.Output()}
	for _, c := range change {
		c(&o)
	}
	if err := errors.Join(os.RemoveAll(o.Dir), os.RemoveAll(kept(o.Dir))); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := lab.Start(t.Context(), o)
	t.Cleanup(func() {
		if err := l.Stop(); err != nil {
			t.Errorf("stop the lab: %v", err)
		}
		if t.Failed() {
			t.Logf("the logs are in %s", o.Dir)
		} else {
			if !o.Bare { // there, nobody has our manager's rights
				_ = os.Rename(filepath.Join(o.Dir, "plane", "logs", "audit.log"), kept(o.Dir))
			}
			_ = os.RemoveAll(o.Dir)
		}
	})
	if err != nil {
		t.Fatalf("start the lab: %v (logs in %s)", err, o.Dir)
	}
	return l
}

// kept is the audit log of a test that passed: "make rights" reads what was used.
func kept(dir string) string { return dir + ".audit.log" }

// story is one namespace of a lab, with its servers.
type story struct {
	*lab.Lab
	t         *testing.T
	namespace string
}

// newStory registers servers in a namespace of the story's own and waits until they can be claimed.
func newStory(t *testing.T, l *lab.Lab, namespace string, hosts int, change ...func(int, *v1beta1.PhysicalHost)) *story {
	t.Helper()
	s := &story{Lab: l, t: t, namespace: namespace}
	NewWithT(t).Expect(l.AddHosts(t.Context(), namespace, namespace, hosts, change...)).To(Succeed())
	s.available()
	return s
}

// until waits for something, for patience at most.
func (s *story) until(what string, done func(context.Context) (bool, string, error)) {
	s.t.Helper()
	if err := lab.Until(s.t.Context(), what, patience, done); err != nil {
		s.t.Fatal(err)
	}
}

// available waits until every host of the story can be claimed.
func (s *story) available() {
	s.t.Helper()
	s.until("every host to be Available", func(ctx context.Context) (bool, string, error) {
		return s.AllAvailable(ctx, s.namespace)
	})
}

// running waits until Cluster API says that exactly these machines run, and their nodes are really there.
func (s *story) running(cluster string, controlPlanes, workers int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d control plane and %d worker machines of %s to run", controlPlanes, workers, cluster), func(ctx context.Context) (bool, string, error) {
		return s.ClusterRuns(ctx, s.namespace, cluster, controlPlanes, workers)
	})
}

// apply generates a cluster in the story's namespace and applies it.
func (s *story) apply(spec lab.ClusterSpec) {
	s.t.Helper()
	spec.Namespace = s.namespace
	NewWithT(s.t).Expect(s.Apply(s.t.Context(), spec)).To(Succeed())
}

// remove deletes a cluster and waits until it and all its machines are gone.
func (s *story) remove(name string) {
	s.t.Helper()
	cluster := &clusterv1.Cluster{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name}}
	NewWithT(s.t).Expect(s.Client.Delete(s.t.Context(), cluster)).To(Succeed())
	s.gone(cluster)
}

// gone waits until a cluster and all its machines are gone.
func (s *story) gone(cluster *clusterv1.Cluster) {
	s.t.Helper()
	s.until("cluster "+cluster.Name+" to be gone", func(ctx context.Context) (bool, string, error) {
		machines := &v1beta1.Beskar7MachineList{}
		if err := s.Client.List(ctx, machines, client.InNamespace(s.namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: cluster.Name}); err != nil {
			return false, "", err
		}
		if len(machines.Items) > 0 {
			m := &machines.Items[0]
			return false, fmt.Sprintf("machine %s: %s", m.Name, conditions.GetMessage(m, v1beta1.ReadyCondition)), nil
		}
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(cluster), cluster)
		return err != nil && client.IgnoreNotFound(err) == nil, "the Cluster object is still there", client.IgnoreNotFound(err)
	})
}

// kubectl runs kubectl in the story's namespace.
func (s *story) kubectl(args ...string) string {
	s.t.Helper()
	out, err := s.Plane.Kubectl(s.t.Context(), nil, append([]string{"-n", s.namespace}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// witness ends a story: no invariant was violated in its namespace. Returned for the story's own counts.
func (s *story) witness() *lab.Witness {
	s.t.Helper()
	w, err := s.Witness(s.t.Context(), s.namespace)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := w.Err(); err != nil {
		s.t.Error(err)
	}
	s.t.Logf("witness: %d provisioned, %d released, %d double claims", w.Provisioned, w.Released, w.DoubleClaims)
	return w
}

// forget deletes the story's namespace with everything in it, and waits until it is gone.
func (s *story) forget() {
	s.t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	NewWithT(s.t).Expect(s.Client.Delete(s.t.Context(), namespace)).To(Succeed())
	s.until("the namespace to be gone", func(ctx context.Context) (bool, string, error) {
		err := s.Client.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)
		return err != nil && client.IgnoreNotFound(err) == nil, fmt.Sprintf("conditions: %v", namespace.Status.Conditions), client.IgnoreNotFound(err)
	})
}
