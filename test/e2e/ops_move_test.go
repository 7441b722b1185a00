//go:build e2e

package e2e

import (
	"context"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
	"github.com/beskar7/beskar7/test/lab"
)

// quiet is for how long nothing must happen to be called quiet: several looks at each BMC, and CAPI's own requeues.
const quiet = 20 * time.Second

// TestMove moves a running cluster with its servers to another management cluster in one go, and back with a long pause before
// the first object moves. Each side can work with what it got.
func TestMove(t *testing.T) {
	source := newStory(t, newLab(t), "move", 4)
	source.apply(lab.ClusterSpec{Name: "move", ControlPlanes: 1, Workers: 1})
	source.running("move", 1, 1)
	targetLab := newLab(t, func(o *lab.Options) { o.Dir, o.Share = o.Dir+"-target", source.Lab })
	target := &story{Lab: targetLab, t: t, namespace: source.namespace}
	g := NewWithT(t)

	before := source.hardware()
	source.clusterctl("move", "--to-kubeconfig", target.Plane.Kubeconfig(), "-n", source.namespace)
	target.moved("move", 1, 1)
	g.Consistently(source.hardware, quiet, time.Second).Should(Equal(before), "a move touches no hardware")
	source.empty()
	source.witness()
	since := time.Now()
	target.scaleWorkers(2)
	target.running("move", 1, 2)
	target.witnessSince(since)

	before = source.hardware()
	target.slowMove(source)
	source.moved("move", 1, 2)
	g.Consistently(source.hardware, quiet, time.Second).Should(Equal(before), "a slow move touches no hardware")
	since = time.Now()
	source.remove("move")
	source.available()
	source.spent()
	source.witnessSince(since)
}

// slowMove moves the story's namespace to another lab. It is held up between the pause and the first object that is created there,
// by the annotation with which anybody may hold a move, on an object that our manager does not look at for it.
func (s *story) slowMove(to *story) {
	s.t.Helper()
	t, g := s.t, NewWithT(s.t)
	clusters := &clusterv1.ClusterList{}
	g.Expect(s.Client.List(t.Context(), clusters, client.InNamespace(s.namespace))).To(Succeed())
	g.Expect(clusters.Items).To(HaveLen(1))
	cluster, host := clusters.Items[0].Name, s.namespace+"-0"
	before := s.hardware()
	s.kubectl("annotate", "ph", host, clusterctlv1.BlockMoveAnnotation+"=")
	moved := make(chan error, 1)
	go func() {
		_, err := s.Plane.Clusterctl(t.Context(), "move", "--to-kubeconfig", to.Plane.Kubeconfig(), "-n", s.namespace)
		moved <- err
	}()
	s.until("the cluster to be paused", func(ctx context.Context) (bool, string, error) {
		c, err := lab.Object(ctx, s.Lab, s.namespace, cluster, &clusterv1.Cluster{})
		return err == nil && ptr.Deref(c.Spec.Paused, false), "it is not", err
	})
	g.Consistently(s.hardware, quiet, time.Second).Should(Equal(before), "a pause touches no hardware")
	g.Expect(moved).NotTo(Receive())
	s.kubectl("annotate", "ph", host, clusterctlv1.BlockMoveAnnotation+"-")
	g.Eventually(moved, patience).Should(Receive(Succeed()))
}

// moved waits until the cluster runs as before and the servers without a machine can be claimed.
func (s *story) moved(cluster string, controlPlanes, workers int) {
	s.t.Helper()
	s.running(cluster, controlPlanes, workers)
	s.until("the free hosts to be Available", func(ctx context.Context) (bool, string, error) {
		hosts, err := s.Hosts(ctx, s.namespace)
		if err != nil {
			return false, "", err
		}
		for i := range hosts {
			h := &hosts[i]
			if h.Spec.Paused {
				return false, h.Name + " is paused", nil
			}
			if h.Spec.Claim == nil && h.Status.State != v1beta1.StateAvailable || h.Spec.Claim != nil && h.Status.State != v1beta1.StateProvisioned {
				return false, h.Name + " is " + string(h.Status.State), nil
			}
		}
		return len(hosts) == len(s.Fleet.BMCs()), "hosts are missing", nil
	})
}

// empty expects that a move left nothing of ours behind.
func (s *story) empty() {
	s.t.Helper()
	for _, list := range []client.ObjectList{&v1beta1.PhysicalHostList{}, &v1beta1.Beskar7MachineList{}, &v1beta1.Beskar7ClusterList{}} {
		g := NewWithT(s.t)
		g.Expect(s.Client.List(s.t.Context(), list, client.InNamespace(s.namespace))).To(Succeed())
		g.Expect(list).To(HaveField("Items", BeEmpty()))
	}
}

// hardware is all that was done to the servers' hardware since they stand, whoever did it.
func (s *story) hardware() []emulator.Event {
	kinds := []emulator.EventKind{emulator.EventPower, emulator.EventReset, emulator.EventOverride, emulator.EventInsert, emulator.EventEject, emulator.EventSettings}
	var all []emulator.Event
	for _, b := range s.Fleet.BMCs() {
		all = append(all, slices.DeleteFunc(b.Events(), func(e emulator.Event) bool { return !slices.Contains(kinds, e.Kind) })...)
	}
	return all
}

func (s *story) clusterctl(args ...string) {
	s.t.Helper()
	if _, err := s.Plane.Clusterctl(s.t.Context(), args...); err != nil {
		s.t.Fatal(err)
	}
}

// witnessSince is witness for what happened since this management cluster has the servers.
func (s *story) witnessSince(since time.Time) {
	s.t.Helper()
	w, err := s.WitnessWith(s.t.Context(), s.namespace, lab.WitnessOptions{Since: since})
	if err == nil {
		err = w.Err()
	}
	if err != nil {
		s.t.Error(err)
	}
}
