package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/cluster-api/util/finalizers"
	"sigs.k8s.io/cluster-api/util/patch"
	"sigs.k8s.io/cluster-api/util/paused"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/scope"
)

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=beskar7clusters,verbs=list;watch;patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=beskar7clusters/status,verbs=patch

// Beskar7ClusterReconciler publishes a cluster's endpoint and failure domains.
type Beskar7ClusterReconciler struct {
	Client      client.Client
	WatchFilter string
}

var clusterOwned = []string{v1beta1.ReadyCondition, v1beta1.PausedCondition, v1beta1.EndpointReadyCondition, v1beta1.FailureDomainsCondition}

// Reconcile looks at one cluster.
func (r *Beskar7ClusterReconciler) Reconcile(ctx context.Context, req ctrl.Request) (_ ctrl.Result, rerr error) {
	bc := &v1beta1.Beskar7Cluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, bc); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !scope.Owned(r.WatchFilter, bc) || annotations.IsExternallyManaged(bc) {
		return ctrl.Result{}, nil
	}
	cluster, err := util.GetOwnerCluster(ctx, r.Client, bc.ObjectMeta)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, err
	}
	if cluster == nil {
		return ctrl.Result{}, r.dropUnowned(ctx, bc)
	}
	if added, err := finalizers.EnsureFinalizer(ctx, r.Client, bc, v1beta1.ClusterFinalizer); err != nil || added {
		return ctrl.Result{}, err
	}
	if isPaused, requeue, err := paused.EnsurePausedCondition(ctx, r.Client, cluster, bc); err != nil || isPaused || requeue {
		return ctrl.Result{RequeueAfter: requeueNow(requeue)}, err
	}
	helper, err := patch.NewHelper(bc, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	defer func() {
		if err := helper.Patch(ctx, bc, patch.WithOwnedConditions{Conditions: clusterOwned}); err != nil {
			rerr = errors.Join(rerr, client.IgnoreNotFound(err))
		}
	}()
	if !bc.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, r.reconcileDelete(ctx, bc, cluster)
	}
	return ctrl.Result{}, r.reconcileNormal(ctx, bc, cluster)
}

// dropUnowned lets a deleted object without a Cluster go: nothing of ours hangs on it.
func (r *Beskar7ClusterReconciler) dropUnowned(ctx context.Context, bc *v1beta1.Beskar7Cluster) error {
	if bc.DeletionTimestamp.IsZero() || !controllerutil.ContainsFinalizer(bc, v1beta1.ClusterFinalizer) {
		return nil
	}
	base := bc.DeepCopy()
	controllerutil.RemoveFinalizer(bc, v1beta1.ClusterFinalizer)
	return client.IgnoreNotFound(r.Client.Patch(ctx, bc, client.MergeFrom(base)))
}

func (r *Beskar7ClusterReconciler) reconcileNormal(ctx context.Context, bc *v1beta1.Beskar7Cluster, cluster *clusterv1.Cluster) error {
	if err := r.publishDomains(ctx, bc); err != nil {
		return err
	}
	if !bc.Spec.ControlPlaneEndpoint.IsValid() && !cluster.Spec.ControlPlaneEndpoint.IsValid() {
		message := "set spec.controlPlaneEndpoint (host and port) of this Beskar7Cluster or of the Cluster: Beskar7 does not make load balancers"
		conditions.Set(bc, condition(v1beta1.EndpointReadyCondition, metav1.ConditionFalse, v1beta1.ReasonEndpointMissing, message))
		conditions.Set(bc, condition(v1beta1.ReadyCondition, metav1.ConditionFalse, v1beta1.ReasonEndpointMissing, message))
		return nil
	}
	bc.Status.Initialization.Provisioned = ptr.To(true)
	conditions.Set(bc, condition(v1beta1.EndpointReadyCondition, metav1.ConditionTrue, v1beta1.ReasonEndpointKnown, ""))
	conditions.Set(bc, condition(v1beta1.ReadyCondition, metav1.ConditionTrue, v1beta1.ReasonProvisioned, ""))
	return nil
}

// publishDomains publishes the failure domains that a control plane machine can be placed in: those that have a host which it may
// get, of the listed ones or else of all. A domain that the control plane uses is never taken back, but without such a host it is
// not for control planes: a new machine would wait there for ever, though there is room elsewhere. Where no listed domain has such a
// host, all of them are for control planes: whoever lists domains wants machines to wait for one of these, not to be placed elsewhere.
func (r *Beskar7ClusterReconciler) publishDomains(ctx context.Context, bc *v1beta1.Beskar7Cluster) error {
	var invalid *inputError
	offered, used, err := r.hostDomains(ctx, bc)
	if err != nil && !errors.As(err, &invalid) {
		return err
	}
	open, reason, message := offered, v1beta1.ReasonDomainsFromHosts, ""
	names := slices.Concat(offered, used)
	if listed := bc.Spec.FailureDomains; len(listed) > 0 {
		reason = v1beta1.ReasonDomainsListed
		names, message = listedDomains(listed, names)
		open = slices.DeleteFunc(slices.Clone(listed), func(n string) bool { return !slices.Contains(offered, n) })
		if len(open) == 0 {
			open = listed
		}
		names = append(names, used...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	names, message = mostUseful(names, used, open, message)
	bc.Status.FailureDomains = nil
	for _, n := range names {
		bc.Status.FailureDomains = append(bc.Status.FailureDomains, clusterv1.FailureDomain{Name: n, ControlPlane: ptr.To(slices.Contains(open, n))})
	}
	switch {
	case invalid != nil: // said, and not retried: an edit mends it
		conditions.Set(bc, condition(v1beta1.FailureDomainsCondition, metav1.ConditionFalse, invalid.reason, invalid.message))
		return nil //nolint:nilerr // a fault of the user, told in the condition
	case len(names) == 0:
		reason = v1beta1.ReasonNoFailureDomains
	}
	conditions.Set(bc, condition(v1beta1.FailureDomainsCondition, metav1.ConditionTrue, reason, message))
	return nil
}

// listedDomains are those of the listed domains that have hosts, and what is to be said of the others.
func listedDomains(listed, withHosts []string) (names []string, message string) {
	var without []string
	for _, name := range listed {
		if slices.Contains(withHosts, name) {
			names = append(names, name)
		} else {
			without = append(without, strconv.Quote(name))
		}
	}
	if len(without) == 0 {
		return names, ""
	}
	slices.Sort(without)
	message = "no host that a control plane machine may get is in " + strings.Join(without, ", ")
	if len(names) == 0 {
		return slices.Clone(listed), message
	}
	return names, message
}

// mostUseful are as many of the sorted names as the contract allows: first those in use, as what is not published counts as gone
// for the control plane, then those where a further machine can be placed.
func mostUseful(names, used, open []string, message string) (kept []string, said string) {
	if len(names) <= maxFailureDomains {
		return names, message
	}
	left := fmt.Sprintf("%d further failure domains are not published, as Cluster API takes %d: list those to use in spec.failureDomains", len(names)-maxFailureDomains, maxFailureDomains)
	if message != "" {
		left = message + "; " + left
	}
	rank := func(name string) int {
		switch {
		case slices.Contains(used, name):
			return 0
		case slices.Contains(open, name):
			return 1
		}
		return 2
	}
	kept = slices.Clone(names)
	slices.SortStableFunc(kept, func(a, b string) int { return rank(a) - rank(b) })
	kept = kept[:maxFailureDomains]
	slices.Sort(kept)
	return kept, left
}

// maxFailureDomains is the contract's limit.
const maxFailureDomains = 100

// hostDomains are the failure domains of matching hosts that some machine may get, and those that the cluster's control plane uses.
// A host that is not ready for a while counts; one that is claimed, and not being given back, is no place to plan for.
func (r *Beskar7ClusterReconciler) hostDomains(ctx context.Context, bc *v1beta1.Beskar7Cluster) (offered, used []string, err error) {
	cluster := bc.Labels[clusterv1.ClusterNameLabel]
	planes, used, err := r.controlPlanes(ctx, bc)
	if err != nil {
		return nil, nil, err
	}
	selector, invalid := labels.Everything(), error(nil)
	if bc.Spec.ControlPlaneHostSelector != nil {
		if selector, err = metav1.LabelSelectorAsSelector(bc.Spec.ControlPlaneHostSelector); err != nil {
			selector, invalid = labels.Nothing(), &inputError{v1beta1.ReasonSelectorInvalid, "spec.controlPlaneHostSelector: " + err.Error()}
		}
	}
	hosts := &v1beta1.PhysicalHostList{}
	if err := r.Client.List(ctx, hosts, client.InNamespace(bc.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, nil, fmt.Errorf("list hosts: %w", err)
	}
	for i := range hosts.Items {
		h := &hosts.Items[i]
		switch claim := h.Spec.Claim; {
		case h.Spec.FailureDomain == "":
		case claim != nil && claim.Release == nil && claim.Cluster == cluster && planes[claim.Machine]:
			used = append(used, h.Spec.FailureDomain)
		case scope.Owned(r.WatchFilter, h) && selector.Matches(labels.Set(h.Labels)) && hostselection.Offered(h):
			offered = append(offered, h.Spec.FailureDomain)
		}
	}
	return offered, used, invalid
}

// controlPlanes are the names of the cluster's control plane machines, and the failure domains that they report.
func (r *Beskar7ClusterReconciler) controlPlanes(ctx context.Context, bc *v1beta1.Beskar7Cluster) (names map[string]bool, domains []string, err error) {
	machines, err := r.machines(ctx, bc)
	if err != nil {
		return nil, nil, err
	}
	names = map[string]bool{}
	for i := range machines.Items {
		m := &machines.Items[i]
		if _, controlPlane := m.Labels[clusterv1.MachineControlPlaneLabel]; !controlPlane {
			continue
		}
		names[m.Name] = true
		if m.Status.FailureDomain != "" {
			domains = append(domains, m.Status.FailureDomain)
		}
	}
	return names, domains, nil
}

func (r *Beskar7ClusterReconciler) machines(ctx context.Context, bc *v1beta1.Beskar7Cluster) (*v1beta1.Beskar7MachineList, error) {
	machines := &v1beta1.Beskar7MachineList{}
	err := r.Client.List(ctx, machines, client.InNamespace(bc.Namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: bc.Labels[clusterv1.ClusterNameLabel]})
	if err != nil {
		return nil, fmt.Errorf("list machines: %w", err)
	}
	return machines, nil
}

// reconcileDelete waits for the machines: they need the cluster to find out that they are unpaused and may go.
func (r *Beskar7ClusterReconciler) reconcileDelete(ctx context.Context, bc *v1beta1.Beskar7Cluster, cluster *clusterv1.Cluster) error {
	machines := &v1beta1.Beskar7MachineList{}
	if err := r.Client.List(ctx, machines, client.InNamespace(bc.Namespace), client.MatchingLabels{clusterv1.ClusterNameLabel: cluster.Name}); err != nil {
		return fmt.Errorf("list machines: %w", err)
	}
	if len(machines.Items) > 0 {
		conditions.Set(bc, condition(v1beta1.ReadyCondition, metav1.ConditionFalse, v1beta1.ReasonDeleting, fmt.Sprintf(
			"waiting until its machines are deleted; what each of them waits for: kubectl -n %s get beskar7machines -l %s=%s -o wide", bc.Namespace, clusterv1.ClusterNameLabel, cluster.Name)))
		return nil
	}
	controllerutil.RemoveFinalizer(bc, v1beta1.ClusterFinalizer)
	return nil
}
