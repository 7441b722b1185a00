package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/serverid"
)

// nodeSight says what is known of a claim's Node.
type nodeSight struct {
	// node has the claim's provider id; named, if there is none, has its host name and any other id, or none.
	node, named *corev1.Node
	// known is false while the workload cluster cannot be asked: then an absent Node proves nothing.
	known bool
}

// findNode looks for the Node with a provider id in a workload cluster, from ClusterCache's own watch, and for that of a name.
func findNode(ctx context.Context, cache clustercache.ClusterCache, cluster client.ObjectKey, providerID, name string) (nodeSight, error) {
	remote, err := cache.GetClient(ctx, cluster)
	if errors.Is(err, clustercache.ErrClusterNotConnected) {
		return nodeSight{}, nil
	}
	if err != nil {
		return nodeSight{}, err
	}
	nodes := &corev1.NodeList{}
	if err := remote.List(ctx, nodes, client.MatchingFields{clustercache.NodeProviderIDIndex.Field: providerID}); err != nil {
		return nodeSight{}, nil //nolint:nilerr // a workload cluster that cannot be asked is a fact, not a failure of ours
	}
	if len(nodes.Items) > 0 {
		return nodeSight{known: true, node: &nodes.Items[0]}, nil
	}
	named := &corev1.Node{}
	switch err := remote.Get(ctx, client.ObjectKey{Name: name}, named); {
	case apierrors.IsNotFound(err):
		return nodeSight{known: true}, nil
	case err != nil:
		return nodeSight{}, nil //nolint:nilerr // as above
	}
	return nodeSight{known: true, named: named}, nil
}

// nodeReady says whether a Node's kubelet says that it is ready.
func nodeReady(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// hostsOfNode are the hosts that a Node of a cluster may run on: that of its provider id or, without one of ours, those that are
// claimed for a machine of its name.
func (r *PhysicalHostReconciler) hostsOfNode(cluster client.ObjectKey) func(context.Context, *corev1.Node) []ctrl.Request {
	return func(ctx context.Context, node *corev1.Node) []ctrl.Request {
		if namespace, host, _, ok := parseProviderID(node.Spec.ProviderID); ok {
			return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: namespace, Name: host}}}
		}
		return r.hostsWith(ctx, cluster.Namespace, coordinator.HostByClaimMachine, node.Name)
	}
}

// watchNodesFor watches the Nodes of a workload cluster. Watching twice is free.
func watchNodesFor(ctx context.Context, cache clustercache.ClusterCache, cluster client.ObjectKey, name string,
	watcher clustercache.SourceWatcher[ctrl.Request], toRequest func(context.Context, *corev1.Node) []ctrl.Request) error {
	err := cache.Watch(ctx, cluster, clustercache.NewWatcher(clustercache.WatcherOptions{
		Name: name, Watcher: watcher, Kind: &corev1.Node{},
		EventHandler: handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []ctrl.Request {
			return toRequest(ctx, o.(*corev1.Node))
		}),
		Predicates: []predicate.TypedPredicate[client.Object]{nodeMatters},
	}))
	if errors.Is(err, clustercache.ErrClusterNotConnected) {
		return nil // the cluster source wakes us once it is connected
	}
	return err
}

// nodeMatters lets through what matters to us: not the kubelet's heartbeats. A Node that is gone is no sign of life any more.
var nodeMatters = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, after := e.ObjectOld.(*corev1.Node), e.ObjectNew.(*corev1.Node)
		return before.Spec.ProviderID != after.Spec.ProviderID || nodeReady(before) != nodeReady(after)
	},
	GenericFunc: func(event.GenericEvent) bool { return false },
}

// parseProviderID takes a provider id of ours apart.
func parseProviderID(id string) (namespace, host, claim string, ok bool) {
	rest, ok := strings.CutPrefix(id, v1beta1.ProviderIDScheme+"://")
	if !ok {
		return "", "", "", false
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// watchOwnNode wakes the machine of a Node, and gives the Node our provider id where its kubelet could not be told: only if
// it has none, and only on the one Node whose SMBIOS UUID, in either order of bytes, and name are this machine's (D10).
func (r *Beskar7MachineReconciler) watchOwnNode(ctx context.Context, w *machineWork) error {
	server := recordedServer(w.host)
	if w.owner.Status.NodeRef.IsDefined() || server.UUID == "" {
		return nil
	}
	cluster := client.ObjectKeyFromObject(w.cluster)
	remote, err := r.ClusterCache.GetClient(ctx, cluster)
	if err != nil {
		return nil //nolint:nilerr // not connected yet: the cluster source wakes us
	}
	if r.watcher != nil {
		if err := r.watchNewNodes(ctx, cluster); err != nil {
			return err
		}
	}
	node := &corev1.Node{}
	if err := remote.Get(ctx, client.ObjectKey{Name: w.machine.Name}, node); err != nil {
		return nil //nolint:nilerr // not there yet: its appearance wakes us
	}
	if node.Spec.ProviderID != "" || !serverid.SameUUID(node.Status.NodeInfo.SystemUUID, server.UUID) {
		return nil
	}
	base := node.DeepCopy()
	node.Spec.ProviderID = w.machine.Spec.ProviderID
	if err := remote.Patch(ctx, node, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("set provider id of node %s: %w", node.Name, err)
	}
	return nil
}

// watchNewNodes maps a Node without a provider id to the machine of its name in the cluster's namespace.
func (r *Beskar7MachineReconciler) watchNewNodes(ctx context.Context, cluster client.ObjectKey) error {
	return watchNodesFor(ctx, r.ClusterCache, cluster, "beskar7machine-nodes", r.watcher, func(_ context.Context, node *corev1.Node) []ctrl.Request {
		if node.Spec.ProviderID != "" {
			return nil
		}
		return []ctrl.Request{{NamespacedName: client.ObjectKey{Namespace: cluster.Namespace, Name: node.Name}}}
	})
}

// staticIPs are the addresses that the host's network data declare, without their prefix lengths.
func staticIPs(n *v1beta1.NetworkData) []string {
	if n == nil {
		return nil
	}
	var out []string
	for _, i := range n.Interfaces {
		for _, a := range i.Addresses {
			if p, err := netip.ParsePrefix(a); err == nil {
				out = append(out, p.Addr().String())
			}
		}
	}
	return out
}
