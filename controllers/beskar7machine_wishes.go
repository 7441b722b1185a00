package controllers

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	ctrl "sigs.k8s.io/controller-runtime"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/scope"
)

// Wishes tell the claim arbiter what machines ask for. It runs on every replica, so it learns from caches and not from the machine
// controller: both judge by the same objects.
type Wishes struct {
	// Client reads from the cache.
	Client client.Client
	// WatchFilter is the value of the watch-filter label that machines must have; empty: all.
	WatchFilter string
}

// Of says what the machine asks for; false: it must not be given a host now. Without its finalizer it would not give it back.
func (w Wishes) Of(ctx context.Context, m *v1beta1.Beskar7Machine) (coordinator.ClaimRequest, bool) {
	none := coordinator.ClaimRequest{}
	if !slices.Contains(m.Finalizers, v1beta1.MachineFinalizer) || !scope.Owned(w.WatchFilter, m) {
		return none, false
	}
	owner, cluster, err := ownersOf(ctx, w.Client, m)
	if err != nil || owner == nil || cluster == nil || annotations.IsPaused(cluster, m) || !mayBeClaimedFor(owner, cluster) {
		return none, false // the caches do not fail; what is missing is an event when it comes
	}
	return claimRequest(m, owner, cluster), true
}

// mayBeClaimedFor is the contract's order: first the cluster's infrastructure, then the bootstrap data, then a host.
func mayBeClaimedFor(owner *clusterv1.Machine, cluster *clusterv1.Cluster) bool {
	return ptr.Deref(cluster.Status.Initialization.InfrastructureProvisioned, false) && owner.Spec.Bootstrap.DataSecretName != nil
}

// claimRequest is what a machine asks for, in both modes.
func claimRequest(m *v1beta1.Beskar7Machine, owner *clusterv1.Machine, cluster *clusterv1.Cluster) coordinator.ClaimRequest {
	return coordinator.ClaimRequest{
		Machine: m, Cluster: cluster.Name, FailureDomain: owner.Spec.FailureDomain, ControlPlane: util.IsControlPlaneMachine(owner), Owner: hostselection.OwnerOf(owner.Labels),
		Boot: v1beta1.Boot{ImageURL: m.Spec.ImageURL, Checksum: m.Spec.ImageChecksum, OSFamily: m.Spec.OSFamily,
			BootMode: m.Spec.BootMode, BootstrapSecret: *owner.Spec.Bootstrap.DataSecretName},
	}
}

// Feed tells the arbiter of everything that its decisions depend on, from the caches. It must be called before they start.
func (w Wishes) Feed(ctx context.Context, caches crcache.Cache, arbiter *coordinator.Arbiter) error {
	infra := v1beta1.GroupVersion.WithKind("Beskar7Machine")
	changed := map[client.Object]func(object any){
		&v1beta1.PhysicalHost{}:   func(o any) { arbiter.HostChanged(o.(*v1beta1.PhysicalHost)) },
		&v1beta1.Beskar7Machine{}: func(o any) { arbiter.MachineChanged(o.(*v1beta1.Beskar7Machine)) },
		&clusterv1.Machine{}: func(o any) {
			owner := o.(*clusterv1.Machine)
			if ref := owner.Spec.InfrastructureRef; ref.Kind == infra.Kind && ref.APIGroup == infra.Group {
				arbiter.WishChanged(types.NamespacedName{Namespace: owner.Namespace, Name: ref.Name})
			}
		},
		&clusterv1.Cluster{}: func(o any) { w.clusterChanged(ctx, o.(*clusterv1.Cluster), arbiter) },
	}
	for object, tell := range changed {
		informer, err := caches.GetInformer(ctx, object)
		if err != nil {
			return fmt.Errorf("watch for the claim arbiter: %w", err)
		}
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: tell, UpdateFunc: func(_, o any) { tell(o) }, DeleteFunc: func(o any) { gone(o, arbiter, tell) },
		}); err != nil {
			return fmt.Errorf("watch for the claim arbiter: %w", err)
		}
	}
	return nil
}

// gone tells of a deletion. An owner that is gone changes what its machines wish for.
func gone(o any, arbiter *coordinator.Arbiter, tell func(any)) {
	if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = last.Obj
	}
	switch object := o.(type) {
	case *v1beta1.PhysicalHost:
		arbiter.HostDeleted(client.ObjectKeyFromObject(object))
	case *v1beta1.Beskar7Machine:
		arbiter.MachineDeleted(client.ObjectKeyFromObject(object))
	case *clusterv1.Machine, *clusterv1.Cluster:
		tell(object)
	}
}

// clusterChanged looks again at the machines of a cluster: it may be paused, or its infrastructure ready.
func (w Wishes) clusterChanged(ctx context.Context, cluster *clusterv1.Cluster, arbiter *coordinator.Arbiter) {
	machines := &v1beta1.Beskar7MachineList{}
	err := w.Client.List(ctx, machines, client.InNamespace(cluster.Namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: cluster.Name}, client.UnsafeDisableDeepCopy)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Cannot tell the claim arbiter of a cluster")
		return
	}
	for i := range machines.Items {
		arbiter.WishChanged(client.ObjectKeyFromObject(&machines.Items[i]))
	}
}
