package controllers

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/serverid"
)

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
