package controllers

import (
	"testing"

	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// What the arbiter may claim for: the same order of the contract as the machine controller's, and only machines that will give
// their host back.
func TestWishes(t *testing.T) {
	ready := func() (*v1beta1.Beskar7Machine, *clusterv1.Machine, *clusterv1.Cluster) {
		m, owner, cluster := newMachine(), newOwner(), newCluster()
		m.Spec.HostRef = nil
		cluster.Status.Initialization.InfrastructureProvisioned = ptr.To(true)
		owner.Labels = map[string]string{clusterv1.MachineControlPlaneLabel: ""}
		owner.Spec.FailureDomain = "rack-1"
		return m, owner, cluster
	}
	for name, spoil := range map[string]func(*v1beta1.Beskar7Machine, *clusterv1.Machine, *clusterv1.Cluster){
		"":             func(*v1beta1.Beskar7Machine, *clusterv1.Machine, *clusterv1.Cluster) {},
		"no finalizer": func(m *v1beta1.Beskar7Machine, _ *clusterv1.Machine, _ *clusterv1.Cluster) { m.Finalizers = nil },
		"paused": func(m *v1beta1.Beskar7Machine, _ *clusterv1.Machine, _ *clusterv1.Cluster) {
			m.Annotations = map[string]string{clusterv1.PausedAnnotation: ""}
		},
		"cluster paused": func(_ *v1beta1.Beskar7Machine, _ *clusterv1.Machine, c *clusterv1.Cluster) {
			c.Spec.Paused = ptr.To(true)
		},
		"no infrastructure": func(_ *v1beta1.Beskar7Machine, _ *clusterv1.Machine, c *clusterv1.Cluster) {
			c.Status = clusterv1.ClusterStatus{}
		},
		"no bootstrap data": func(_ *v1beta1.Beskar7Machine, o *clusterv1.Machine, _ *clusterv1.Cluster) {
			o.Spec.Bootstrap.DataSecretName = nil
		},
		"no owner": func(m *v1beta1.Beskar7Machine, _ *clusterv1.Machine, _ *clusterv1.Cluster) { m.OwnerReferences = nil },
		"another watch filter": func(m *v1beta1.Beskar7Machine, _ *clusterv1.Machine, _ *clusterv1.Cluster) {
			m.Labels[clusterv1.WatchLabel] = "x"
		},
		"cluster of another name": func(m *v1beta1.Beskar7Machine, _ *clusterv1.Machine, _ *clusterv1.Cluster) {
			m.Labels[clusterv1.ClusterNameLabel] = "x"
		},
	} {
		m, owner, cluster := ready()
		m.Labels[clusterv1.WatchLabel] = "mine"
		spoil(m, owner, cluster)
		r := newRig(t, m, owner, cluster)
		stored := &v1beta1.Beskar7Machine{}
		if err := r.api.Get(t.Context(), client.ObjectKeyFromObject(m), stored); err != nil {
			t.Fatal(err)
		}
		request, ok := Wishes{Client: r.api, WatchFilter: "mine"}.Of(t.Context(), stored)
		if ok != (name == "") {
			t.Errorf("%q: %v", name, ok)
		}
		if ok && (!request.ControlPlane || request.FailureDomain != "rack-1" || request.Cluster != "c" || request.Boot.BootstrapSecret != "m") {
			t.Errorf("request %+v", request)
		}
	}
}
