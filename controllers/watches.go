package controllers

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/scope"
)

// What others' objects matter for. A Cluster and a Machine change their status all the time, and each Cluster has all its hosts
// looked at: so only a change of what is read of them counts. Whoever reads more of them adds it here.

// updates makes a predicate that lets creations and deletions through, and those updates for which matters is true.
func updates[T client.Object](matters func(before, after T) bool) predicate.Funcs {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok1 := e.ObjectOld.(T)
		after, ok2 := e.ObjectNew.(T)
		return !ok1 || !ok2 || matters(before, after)
	}}
}

// clusterMatters: hosts ask their Cluster whether it is paused, and whether its control plane was up, without which a Node cannot be
// looked for.
var clusterMatters = updates(func(before, after *clusterv1.Cluster) bool {
	return ptr.Deref(before.Spec.Paused, false) != ptr.Deref(after.Spec.Paused, false) || deletionBegan(before, after) || initializationChanged(before, after)
})

// clusterMattersToInfrastructure: the Beskar7Cluster asks for the endpoint, too.
var clusterMattersToInfrastructure = updates(func(before, after *clusterv1.Cluster) bool {
	return before.Generation != after.Generation || deletionBegan(before, after) || initializationChanged(before, after)
})

func initializationChanged(before, after *clusterv1.Cluster) bool {
	b, a := before.Status.Initialization, after.Status.Initialization
	return ptr.Deref(b.InfrastructureProvisioned, false) != ptr.Deref(a.InfrastructureProvisioned, false) ||
		ptr.Deref(b.ControlPlaneInitialized, false) != ptr.Deref(a.ControlPlaneInitialized, false)
}

// claimantMatters: a host asks its Beskar7Machine for all that is not status.
var claimantMatters = updates(func(before, after *v1beta1.Beskar7Machine) bool { return specOrMetadataDiffer(before, after) })

// ownerMatters: a Beskar7Machine asks its Machine for all that is not status, and whether the Node is known.
var ownerMatters = updates(func(before, after *clusterv1.Machine) bool {
	return specOrMetadataDiffer(before, after) || before.Status.NodeRef != after.Status.NodeRef
})

// ownerMattersToHost: the host asks that Machine which bootstrap Secret is its own, whether it has the provider id of the claim, and
// whether its Node is known.
var ownerMattersToHost = updates(func(before, after *clusterv1.Machine) bool {
	return ptr.Deref(before.Spec.Bootstrap.DataSecretName, "") != ptr.Deref(after.Spec.Bootstrap.DataSecretName, "") ||
		before.Spec.ProviderID != after.Spec.ProviderID || before.Status.NodeRef.IsDefined() != after.Status.NodeRef.IsDefined() || deletionBegan(before, after)
})

func specOrMetadataDiffer(before, after client.Object) bool {
	e := event.UpdateEvent{ObjectOld: before, ObjectNew: after}
	return predicate.GenerationChangedPredicate{}.Update(e) || predicate.AnnotationChangedPredicate{}.Update(e) || predicate.LabelChangedPredicate{}.Update(e) ||
		deletionBegan(before, after) || !slices.Equal(before.GetFinalizers(), after.GetFinalizers()) || ownersDiffer(before, after)
}

func deletionBegan(before, after client.Object) bool {
	return before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero()
}

func ownersDiffer(before, after client.Object) bool {
	b, a := before.GetOwnerReferences(), after.GetOwnerReferences()
	if len(b) != len(a) {
		return true
	}
	for i := range b {
		if b[i].UID != a[i].UID || b[i].Name != a[i].Name {
			return true
		}
	}
	return false
}

func sameLabels(a, b *v1beta1.PhysicalHost) bool { return maps.Equal(a.Labels, b.Labels) }

// domainChanged lets through what can change the published failure domains.
var domainChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*v1beta1.PhysicalHost), e.ObjectNew.(*v1beta1.PhysicalHost)
	return before.Spec.FailureDomain != after.Spec.FailureDomain || hostselection.Offered(before) != hostselection.Offered(after) || !sameLabels(before, after)
}}

// hardwareChanged lets through what can change the capacity of templates.
var hardwareChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, after := e.ObjectOld.(*v1beta1.PhysicalHost), e.ObjectNew.(*v1beta1.PhysicalHost)
	return !sameLabels(before, after) || !equality.Semantic.DeepEqual(before.Status.Hardware, after.Status.Hardware)
}}

// ownedEvents lets through the events of objects that are this manager's, or were until now: those are let go of.
func ownedEvents(filter string) predicate.Predicate {
	owned := func(o client.Object) bool { return scope.Owned(filter, o) }
	events := predicate.NewPredicateFuncs(owned)
	events.UpdateFunc = func(e event.UpdateEvent) bool { return owned(e.ObjectOld) || owned(e.ObjectNew) }
	return events
}

// requestsFor are those of the objects that are this manager's.
func requestsFor[T any, P interface {
	*T
	client.Object
}](filter string, objects []T) []reconcile.Request {
	requests := make([]reconcile.Request, 0, len(objects))
	for i := range objects {
		if o := P(&objects[i]); scope.Owned(filter, o) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		}
	}
	return requests
}
