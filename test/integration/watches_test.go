package integration

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/lab"
)

// TestAHostFollowsTheMachineAboveItsClaim with everything that SetupAll wires and no resync: what a host reads of that Machine, it
// watches.
func TestAHostFollowsTheMachineAboveItsClaim(t *testing.T) {
	c, cfg := apiServerAndConfig(t)
	coreCRDs(t, c)
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{clusterv1.ClusterNameLabel: "c"}}
	}
	create := func(o client.Object) {
		t.Helper()
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	create(&corev1.Secret{ObjectMeta: meta("s"), Data: map[string][]byte{"username": []byte("u"), "password": []byte("p")}})
	above := &clusterv1.Machine{ObjectMeta: meta("above"), Spec: clusterv1.MachineSpec{ClusterName: "c",
		InfrastructureRef: clusterv1.ContractVersionedObjectReference{APIGroup: v1beta1.GroupVersion.Group, Kind: "Beskar7Machine", Name: "m"},
		Bootstrap:         clusterv1.Bootstrap{DataSecretName: ptr.To("another")}}}
	create(&clusterv1.Cluster{ObjectMeta: meta("c"), Spec: clusterv1.ClusterSpec{ControlPlaneRef: clusterv1.ContractVersionedObjectReference{
		APIGroup: "controlplane.cluster.x-k8s.io", Kind: "KubeadmControlPlane", Name: "c"}}})
	create(above)
	machine := &v1beta1.Beskar7Machine{ObjectMeta: meta("m"), Spec: v1beta1.Beskar7MachineSpec{ImageURL: "http://192.0.2.9/a.iso", OSFamily: "ubuntu",
		BootMode: v1beta1.BootModeLive, HostRef: &v1beta1.HostRef{Name: "h", ClaimID: firstClaim}}}
	machine.OwnerReferences = []metav1.OwnerReference{{APIVersion: clusterv1.GroupVersion.String(), Kind: "Machine", Name: "above", UID: above.UID}}
	create(machine)
	h := newHost("h")
	claim(h, firstClaim, "m")
	h.Spec.MediaURL = "https://media.example"
	create(h)
	startResyncing(t, cfg, "", time.Hour)
	says := func(reason string) func() bool {
		return func() bool {
			now := &v1beta1.PhysicalHost{}
			return c.Get(t.Context(), client.ObjectKeyFromObject(h), now) == nil && conditions.GetReason(now, v1beta1.ReadyCondition) == reason
		}
	}
	until(t, "the data of another Machine to be refused", says(v1beta1.ReasonBootstrapDataRefused))
	// Several times, and each well before the next poll of its BMC: what else wakes a host does so once.
	for _, step := range []struct{ secret, reason string }{
		{"b", v1beta1.ReasonBootstrapDataMissing}, {"another", v1beta1.ReasonBootstrapDataRefused}, {"b", v1beta1.ReasonBootstrapDataMissing},
	} {
		base := above.DeepCopy()
		above.Spec.Bootstrap.DataSecretName = ptr.To(step.secret)
		if err := c.Patch(t.Context(), above, client.MergeFrom(base)); err != nil {
			t.Fatal(err)
		}
		if err := lab.Until(t.Context(), "the host to say "+step.reason, 8*time.Second, func(context.Context) (bool, string, error) {
			return says(step.reason)(), "", nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}
