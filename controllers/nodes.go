package controllers

import (
	"context"
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"sigs.k8s.io/cluster-api/controllers/clustercache"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// nodeSight says what is known of a claim's Node.
type nodeSight struct {
	node *corev1.Node
	// known is false while the workload cluster cannot be asked: then an absent Node proves nothing.
	known bool
}

// findNode looks for the Node with a provider id in a workload cluster, from ClusterCache's own watch.
func findNode(ctx context.Context, cache clustercache.ClusterCache, cluster client.ObjectKey, providerID string) (nodeSight, error) {
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
	sight := nodeSight{known: true}
	if len(nodes.Items) > 0 {
		sight.node = &nodes.Items[0]
	}
	return sight, nil
}

// watchNodes wakes the host of a Node that appears or changes its provider id.
func watchNodes(ctx context.Context, cache clustercache.ClusterCache, cluster client.ObjectKey, name string,
	watcher clustercache.SourceWatcher[ctrl.Request], toRequest func(namespace, host string) []ctrl.Request) error {
	return watchNodesFor(ctx, cache, cluster, name, watcher, func(node *corev1.Node) []ctrl.Request {
		namespace, host, _, ok := parseProviderID(node.Spec.ProviderID)
		if !ok {
			return nil
		}
		return toRequest(namespace, host)
	})
}

// watchNodesFor watches the Nodes of a workload cluster. Watching twice is free.
func watchNodesFor(ctx context.Context, cache clustercache.ClusterCache, cluster client.ObjectKey, name string,
	watcher clustercache.SourceWatcher[ctrl.Request], toRequest func(*corev1.Node) []ctrl.Request) error {
	err := cache.Watch(ctx, cluster, clustercache.NewWatcher(clustercache.WatcherOptions{
		Name: name, Watcher: watcher, Kind: &corev1.Node{},
		EventHandler: handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []ctrl.Request {
			return toRequest(o.(*corev1.Node))
		}),
		Predicates: []predicate.TypedPredicate[client.Object]{nodeAppeared},
	}))
	if errors.Is(err, clustercache.ErrClusterNotConnected) {
		return nil // the cluster source wakes us once it is connected
	}
	return err
}

// nodeAppeared lets through what matters to us: not the kubelet's heartbeats.
var nodeAppeared = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.(*corev1.Node).Spec.ProviderID != e.ObjectNew.(*corev1.Node).Spec.ProviderID
	},
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
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
