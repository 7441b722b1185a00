package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	clusterctlv1 "sigs.k8s.io/cluster-api/cmd/clusterctl/api/v1alpha3"
	"sigs.k8s.io/cluster-api/controllers/clustercache"
	"sigs.k8s.io/cluster-api/util"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/cluster-api/util/finalizers"
	"sigs.k8s.io/cluster-api/util/patch"
	"sigs.k8s.io/cluster-api/util/paused"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/lease"
	"github.com/beskar7/beskar7/pkg/scope"
)

// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=beskar7machines,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=infrastructure.cluster.x-k8s.io,resources=beskar7machines/status,verbs=patch
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=clusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=cluster.x-k8s.io,resources=machines,verbs=list;watch

// Beskar7MachineReconciler gives each machine a host and takes it back. It never touches hardware: it claims, and marks the
// release; the host controller does the rest.
type Beskar7MachineReconciler struct {
	Client       client.Client
	Reader       client.Reader
	Claims       coordinator.Claimer
	ClusterCache clustercache.ClusterCache
	Clock        clock.PassiveClock
	WatchFilter  string

	watcher clustercache.SourceWatcher[ctrl.Request]
}

// Reconcile looks at one machine.
func (r *Beskar7MachineReconciler) Reconcile(ctx context.Context, req ctrl.Request) (_ ctrl.Result, rerr error) {
	m := &v1beta1.Beskar7Machine{}
	if err := r.Client.Get(ctx, req.NamespacedName, m); err != nil {
		r.Claims.Forget(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !scope.Owned(r.WatchFilter, m) {
		r.Claims.Forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	owner, cluster, err := ownersOf(ctx, r.Client, m)
	if err != nil {
		return ctrl.Result{}, err
	}
	if (owner == nil || cluster == nil) && m.DeletionTimestamp.IsZero() {
		r.Claims.Forget(req.NamespacedName)
		return ctrl.Result{}, nil // CAPI sets owner and label; the write wakes us
	}
	if added, err := finalizers.EnsureFinalizer(ctx, r.Client, m, v1beta1.MachineFinalizer); err != nil || added {
		return ctrl.Result{}, err
	}
	if stop, result, err := r.handlePause(ctx, m, cluster); err != nil || stop {
		r.Claims.Forget(req.NamespacedName)
		return result, err
	}
	helper, err := patch.NewHelper(m, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	w := &machineWork{machine: m, owner: owner, cluster: cluster}
	defer func() {
		machineConditions(w)
		if err := helper.Patch(ctx, m, patch.WithOwnedConditions{Conditions: machineOwned}); err != nil {
			rerr = errors.Join(rerr, client.IgnoreNotFound(err))
		}
	}()
	if !m.DeletionTimestamp.IsZero() {
		r.Claims.Forget(req.NamespacedName)
		return ctrl.Result{}, r.reconcileDelete(ctx, w)
	}
	return r.reconcileNormal(ctx, w)
}

// machineWork is what one reconcile knows and finds out.
type machineWork struct {
	machine *v1beta1.Beskar7Machine
	owner   *clusterv1.Machine
	cluster *clusterv1.Cluster
	host    *v1beta1.PhysicalHost
	// wait says what the machine waits for, and reason in one word.
	reason, wait string
}

func (w *machineWork) waitFor(reason, message string) { w.reason, w.wait = reason, message }

// ownersOf reads the CAPI objects above the machine; what is missing is nil.
func ownersOf(ctx context.Context, c client.Client, m *v1beta1.Beskar7Machine) (*clusterv1.Machine, *clusterv1.Cluster, error) {
	owner, err := util.GetOwnerMachine(ctx, c, m.ObjectMeta)
	if client.IgnoreNotFound(err) != nil {
		return nil, nil, fmt.Errorf("read the owner Machine: %w", err)
	}
	cluster, err := util.GetClusterFromMetadata(ctx, c, m.ObjectMeta)
	if err != nil && !apierrors.IsNotFound(err) && !errors.Is(err, util.ErrNoCluster) {
		return nil, nil, fmt.Errorf("read the Cluster: %w", err)
	}
	return owner, cluster, nil
}

// handlePause stops a paused machine, but first carries the pause to its host, so that it survives `clusterctl move`; only
// then does block-move go. The other way round when the pause ends: block-move first, then the host goes on.
func (r *Beskar7MachineReconciler) handlePause(ctx context.Context, m *v1beta1.Beskar7Machine, cluster *clusterv1.Cluster) (bool, ctrl.Result, error) {
	wanted := annotations.HasPaused(m) || (cluster != nil && annotations.IsPaused(cluster, m))
	if wanted {
		if err := r.pauseHost(ctx, m, true); err != nil {
			return true, ctrl.Result{}, err
		}
		if err := r.blockMove(ctx, m, false); err != nil {
			return true, ctrl.Result{}, err
		}
	}
	var isPaused, requeue bool
	var err error
	if cluster != nil {
		isPaused, requeue, err = paused.EnsurePausedCondition(ctx, r.Client, cluster, m)
	} else {
		isPaused = annotations.HasPaused(m)
	}
	if err != nil || isPaused || requeue || wanted {
		return true, ctrl.Result{RequeueAfter: requeueNow(requeue)}, err
	}
	if err := r.blockMove(ctx, m, m.Spec.HostRef != nil); err != nil {
		return true, ctrl.Result{}, err
	}
	return false, ctrl.Result{}, r.pauseHost(ctx, m, false)
}

func requeueNow(yes bool) time.Duration {
	if yes {
		return time.Millisecond
	}
	return 0
}

// pauseHost writes the pause to the machine's host. Only a claim that names this machine back is touched.
func (r *Beskar7MachineReconciler) pauseHost(ctx context.Context, m *v1beta1.Beskar7Machine, pause bool) error {
	host, err := r.ownHost(ctx, r.Client, m)
	if err != nil {
		return err
	}
	if _, blocked := m.Annotations[clusterctlv1.BlockMoveAnnotation]; pause && blocked && (host == nil || !host.Spec.Paused) {
		// block-move goes next, so a cache that does not show the claim yet must not let the host move without its pause.
		if host, err = r.ownHost(ctx, r.Reader, m); err != nil {
			return err
		}
	}
	if host == nil || host.Spec.Paused == pause {
		return nil
	}
	base := host.DeepCopy()
	host.Spec.Paused = pause
	if err := r.Client.Patch(ctx, host, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("pause host %s: %w", host.Name, err)
	}
	return nil
}

// ownHost is the host that the machine and its claim agree on, or nil.
func (r *Beskar7MachineReconciler) ownHost(ctx context.Context, reader client.Reader, m *v1beta1.Beskar7Machine) (*v1beta1.PhysicalHost, error) {
	if m.Spec.HostRef == nil {
		return nil, nil
	}
	host := &v1beta1.PhysicalHost{}
	err := reader.Get(ctx, client.ObjectKey{Namespace: m.Namespace, Name: m.Spec.HostRef.Name}, host)
	if err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if !host.ClaimedBy(m) {
		return nil, nil
	}
	return host, nil
}

// blockMove keeps `clusterctl move` waiting from the intent to claim until the pause is stored on the host.
func (r *Beskar7MachineReconciler) blockMove(ctx context.Context, m *v1beta1.Beskar7Machine, block bool) error {
	_, blocked := m.Annotations[clusterctlv1.BlockMoveAnnotation]
	if blocked == block {
		return nil
	}
	base := m.DeepCopy()
	if block {
		if m.Annotations == nil {
			m.Annotations = map[string]string{}
		}
		m.Annotations[clusterctlv1.BlockMoveAnnotation] = ""
	} else {
		delete(m.Annotations, clusterctlv1.BlockMoveAnnotation)
	}
	// Under the version that was read: the cache may be older than an intent, which must keep its block.
	if err := r.Client.Patch(ctx, m, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("set block-move: %w", err)
	}
	return nil
}

// reconcileNormal gets the machine a host and reports when it was booted.
func (r *Beskar7MachineReconciler) reconcileNormal(ctx context.Context, w *machineWork) (ctrl.Result, error) {
	m := w.machine
	// A machine that must not claim now may have been woken for a host: it is the turn of the next one.
	if !ptr.Deref(w.cluster.Status.Initialization.InfrastructureProvisioned, false) {
		r.Claims.Forget(client.ObjectKeyFromObject(m))
		w.waitFor(v1beta1.ReasonWaitingForCluster, "the cluster's infrastructure is not provisioned yet")
		return ctrl.Result{}, nil
	}
	if w.owner.Spec.Bootstrap.DataSecretName == nil {
		r.Claims.Forget(client.ObjectKeyFromObject(m))
		w.waitFor(v1beta1.ReasonWaitingForBootstrapData, "the bootstrap provider has not made the bootstrap data yet")
		return ctrl.Result{}, nil
	}
	claimed, result, err := r.claim(ctx, w)
	if err != nil || !claimed {
		return result, err
	}
	if err := r.reportSpread(ctx, w); err != nil {
		return result, err
	}
	if !bootedFor(w.host, m) {
		w.waitFor(v1beta1.ReasonProvisioning, "")
		return result, nil
	}
	r.reportProvisioned(w)
	return result, r.watchOwnNode(ctx, w)
}

// bootedFor says whether the host was booted for the machine: the contract's provisioned (D9a).
func bootedFor(host *v1beta1.PhysicalHost, m *v1beta1.Beskar7Machine) bool {
	if ptr.Deref(m.Status.Initialization.Provisioned, false) || host.Spec.Claim.Bound {
		return true
	}
	b := host.Status.Booted
	return b != nil && b.ClaimID == host.Spec.Claim.ID
}

// claim makes progress towards a host; claimed is true once host and machine name each other.
func (r *Beskar7MachineReconciler) claim(ctx context.Context, w *machineWork) (claimed bool, _ ctrl.Result, _ error) {
	m := w.machine
	if host, err := r.ownHost(ctx, r.Client, m); err != nil {
		return false, ctrl.Result{}, err
	} else if host != nil {
		w.host = host
		return true, ctrl.Result{}, nil
	}
	result, err := r.Claims.Claim(ctx, claimRequest(m, w.owner, w.cluster))
	switch {
	case errors.Is(err, coordinator.ErrSelector):
		w.waitFor(v1beta1.ReasonSelectorInvalid, err.Error())
		return false, ctrl.Result{}, nil
	case errors.Is(err, coordinator.ErrNoLease):
		w.waitFor(v1beta1.ReasonWaitingForArbiter, "no manager holds the lease under which hosts are claimed")
		return false, ctrl.Result{RequeueAfter: time.Second}, nil
	case err != nil:
		return false, ctrl.Result{}, fmt.Errorf("claim a host: %w", err)
	}
	again := ctrl.Result{RequeueAfter: result.RetryAfter}
	switch result.Outcome {
	case coordinator.Claimed, coordinator.Confirmed:
		// hostRef is the coordinator's write alone: the patch at the end of the reconcile must not repeat it later.
		w.host = result.Host
		return true, ctrl.Result{}, nil
	case coordinator.NoHost:
		w.waitFor(v1beta1.ReasonNoHostAvailable, result.Diagnosis.Message())
	case coordinator.Queued:
		w.waitFor(v1beta1.ReasonWaitingForArbiter, "a host fits; the claim arbiter will claim one when it is this machine's turn")
	case coordinator.NoArbiter:
		w.waitFor(v1beta1.ReasonWaitingForArbiter, "no manager holds the Lease "+lease.ClaimName+", so no host is claimed: see whether a manager runs")
	case coordinator.Contended:
		w.waitFor(v1beta1.ReasonClaimContended, "other machines were faster on every host that was tried; trying again")
	case coordinator.IntentLost:
		w.waitFor(v1beta1.ReasonHostLost, "the machine was provisioned, but its host is no longer its own: delete the Machine to have it replaced")
	}
	return false, again, nil
}

// reportProvisioned fills what CAPI reads, in the one patch at the end of the reconcile.
func (r *Beskar7MachineReconciler) reportProvisioned(w *machineWork) {
	m, host := w.machine, w.host
	if m.Spec.ProviderID == "" {
		m.Spec.ProviderID = v1beta1.ProviderID(host.Namespace, host.Name, host.Spec.Claim.ID)
	}
	m.Status.Initialization.Provisioned = ptr.To(true)
	m.Status.FailureDomain = host.Spec.FailureDomain
	m.Status.Addresses = addresses(m, host)
}

// addresses are the machine's host name, as its bootstrap data say it, and the static addresses of the host.
func addresses(m *v1beta1.Beskar7Machine, host *v1beta1.PhysicalHost) []clusterv1.MachineAddress {
	out := []clusterv1.MachineAddress{
		{Type: clusterv1.MachineHostName, Address: m.Name},
		{Type: clusterv1.MachineInternalDNS, Address: m.Name},
	}
	for _, ip := range staticIPs(host.Spec.NetworkData) {
		out = append(out, clusterv1.MachineAddress{Type: clusterv1.MachineInternalIP, Address: ip})
	}
	return out
}

// reconcileDelete gives the host back: the durable mark first, then wait until the claim is gone, then let the machine go.
// What is missing - Machine, Cluster, host, Secret - holds nothing up.
func (r *Beskar7MachineReconciler) reconcileDelete(ctx context.Context, w *machineWork) error {
	w.host, _ = r.ownHost(ctx, r.Client, w.machine)
	done, err := coordinator.MarkRelease(ctx, coordinator.Access{Client: r.Client, Reader: r.Reader, Clock: r.Clock}, w.machine, "MachineDeleted")
	if err != nil {
		return fmt.Errorf("give the host back: %w", err)
	}
	if !done {
		w.waitFor(v1beta1.ReasonWaitingForRelease, "")
		return nil
	}
	controllerutil.RemoveFinalizer(w.machine, v1beta1.MachineFinalizer)
	return nil
}
