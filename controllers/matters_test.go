package controllers

import (
	"testing"
	"time"

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
