package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/beskar7/beskar7/api/v1beta1"
)

type change[T client.Object] struct {
	name  string
	edit  func(T)
	wakes bool
}

func wakesBy[T client.Object](t *testing.T, p predicate.Predicate, before T, changes ...change[T]) {
	t.Helper()
	for _, c := range changes {
		after := before.DeepCopyObject().(T)
		after.SetResourceVersion("2")
		c.edit(after)
		if got := p.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != c.wakes {
			t.Errorf("%s: wakes %v", c.name, got)
		}
	}
	if !p.Create(event.CreateEvent{Object: before}) || !p.Delete(event.DeleteEvent{Object: before}) {
		t.Error("its creation or its end is not noticed")
	}
}

// A Cluster's every heartbeat is not a reason to look at all its hosts.
func TestWhatOfAClusterWakesItsHosts(t *testing.T) {
	now := metav1.NewTime(time.Unix(1, 0))
	heartbeat := func(c *clusterv1.Cluster) {
		c.Status.Phase = "Provisioned"
		c.Status.Conditions = []metav1.Condition{{Type: "Available", Status: metav1.ConditionTrue, LastTransitionTime: now}}
		c.Status.Workers = &clusterv1.WorkersStatus{ReadyReplicas: ptr.To(int32(3))}
		c.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
	}
	paused := func(c *clusterv1.Cluster) { c.Generation++; c.Spec.Paused = ptr.To(true) }
	deleted := func(c *clusterv1.Cluster) { c.DeletionTimestamp = &now }
	infrastructure := func(c *clusterv1.Cluster) { c.Status.Initialization.InfrastructureProvisioned = ptr.To(true) }
	plane := func(c *clusterv1.Cluster) { c.Status.Initialization.ControlPlaneInitialized = ptr.To(true) }
	endpoint := func(c *clusterv1.Cluster) { c.Generation++; c.Spec.ControlPlaneEndpoint.Host = "10.0.0.1" }
	type cluster = change[*clusterv1.Cluster]
	wakesBy(t, clusterMatters, newCluster(), cluster{"heartbeat", heartbeat, false}, cluster{"paused", paused, true}, cluster{"deleted", deleted, true},
		cluster{"infrastructure", infrastructure, true}, cluster{"control plane", plane, true}, cluster{"endpoint", endpoint, false})
	wakesBy(t, clusterMattersToInfrastructure, newCluster(), cluster{"heartbeat", heartbeat, false}, cluster{"paused", paused, true}, cluster{"deleted", deleted, true},
		cluster{"infrastructure", infrastructure, true}, cluster{"control plane", plane, true}, cluster{"endpoint", endpoint, true})
}

// What a machine says of itself does not wake the host that said it first.
func TestWhatOfAMachineWakesItsHost(t *testing.T) {
	type machine = change[*v1beta1.Beskar7Machine]
	wakesBy(t, claimantMatters, newMachine(),
		machine{"status", func(m *v1beta1.Beskar7Machine) { m.Status.FailureDomain = "rack" }, false},
		machine{"host", func(m *v1beta1.Beskar7Machine) { m.Generation++; m.Spec.HostRef = nil }, true},
		machine{"paused", func(m *v1beta1.Beskar7Machine) { m.Annotations = map[string]string{clusterv1.PausedAnnotation: ""} }, true},
		machine{"deleted", func(m *v1beta1.Beskar7Machine) { m.DeletionTimestamp = ptr.To(metav1.Now()) }, true},
		machine{"let go", func(m *v1beta1.Beskar7Machine) { m.Finalizers = nil }, true},
		machine{"adopted", func(m *v1beta1.Beskar7Machine) { m.OwnerReferences[0].UID = "other" }, true})
	type owner = change[*clusterv1.Machine]
	wakesBy(t, ownerMatters, &clusterv1.Machine{ObjectMeta: named("m")},
		owner{"heartbeat", func(m *clusterv1.Machine) { m.Status.Phase = "Running"; m.Status.LastUpdated = metav1.Now() }, false},
		owner{"bootstrap data", func(m *clusterv1.Machine) { m.Generation++; m.Spec.Bootstrap.DataSecretName = ptr.To("m") }, true},
		owner{"node", func(m *clusterv1.Machine) { m.Status.NodeRef.Name = "node" }, true},
		owner{"label", func(m *clusterv1.Machine) { m.Labels = map[string]string{"a": "b"} }, true})
}

// What a host asks the Machine above its claim: its bootstrap Secret, and whether its Node is known. The rest is not its business.
func TestWhatOfAMachineAboveWakesItsHost(t *testing.T) {
	type owner = change[*clusterv1.Machine]
	wakesBy(t, ownerMattersToHost, &clusterv1.Machine{ObjectMeta: named("m")},
		owner{"heartbeat", func(m *clusterv1.Machine) { m.Status.Phase = "Running"; m.Status.LastUpdated = metav1.Now() }, false},
		owner{"label", func(m *clusterv1.Machine) { m.Labels = map[string]string{"a": "b"} }, false},
		owner{"version", func(m *clusterv1.Machine) { m.Generation++; m.Spec.Version = "v1.36.0" }, false},
		owner{"bootstrap data", func(m *clusterv1.Machine) { m.Generation++; m.Spec.Bootstrap.DataSecretName = ptr.To("m") }, true},
		owner{"provider id", func(m *clusterv1.Machine) { m.Spec.ProviderID = "beskar7://ns/h/" + claimID }, true},
		owner{"node", func(m *clusterv1.Machine) { m.Status.NodeRef.Name = "node" }, true},
		owner{"deleted", func(m *clusterv1.Machine) { m.DeletionTimestamp = ptr.To(metav1.Now()) }, true})
	other := claimedHost()
	other.Name, other.Spec.Claim.Machine = "o", "other"
	r := newRig(t, claimedHost(), other)
	above := ownerMachine()
	above.Name, above.Spec.InfrastructureRef = "any-name", clusterv1.ContractVersionedObjectReference{APIGroup: v1beta1.GroupVersion.Group, Kind: "Beskar7Machine", Name: "m"}
	if got := r.host.hostsOfOwner(t.Context(), above); len(got) != 1 || got[0].Name != "h" {
		t.Errorf("it wakes %v", got)
	}
	above.Spec.InfrastructureRef.Kind = "MetalMachine"
	if got := r.host.hostsOfOwner(t.Context(), above); len(got) != 0 {
		t.Errorf("a Machine of another infrastructure wakes %v", got)
	}
}

// A Node's heartbeat is no news; that it is gone is.
func TestWhatOfANodeWakesItsHost(t *testing.T) {
	ready := func(n *corev1.Node) {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	}
	type node = change[*corev1.Node]
	wakesBy(t, nodeMatters, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m"}},
		node{"heartbeat", func(n *corev1.Node) { n.Status.NodeInfo.BootID = "b" }, false},
		node{"ready", ready, true},
		node{"provider id", func(n *corev1.Node) { n.Spec.ProviderID = "beskar7://ns/h/" + claimID }, true})
}
