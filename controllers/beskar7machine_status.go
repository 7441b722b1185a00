package controllers

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/scope"
)

// machineOwned are the conditions that the machine controller alone writes.
var machineOwned = []string{v1beta1.ReadyCondition, v1beta1.PausedCondition, v1beta1.HostClaimedCondition, v1beta1.HostProvisionedCondition, v1beta1.SpreadCondition}

// machineConditions is the one place that sets the conditions of a Beskar7Machine.
func machineConditions(w *machineWork) {
	m := w.machine
	claimed := hostClaimed(w)
	provisioned := hostProvisioned(w, claimed)
	conditions.Set(m, claimed)
	conditions.Set(m, provisioned)
	switch {
	case !m.DeletionTimestamp.IsZero():
		conditions.Set(m, condition(v1beta1.ReadyCondition, metav1.ConditionFalse, v1beta1.ReasonDeleting, deleting(w)))
	case claimed.Status != metav1.ConditionTrue:
		conditions.Set(m, condition(v1beta1.ReadyCondition, metav1.ConditionFalse, claimed.Reason, claimed.Message))
	case provisioned.Status != metav1.ConditionTrue:
		conditions.Set(m, condition(v1beta1.ReadyCondition, metav1.ConditionFalse, provisioned.Reason, provisioned.Message))
	default:
		conditions.Set(m, condition(v1beta1.ReadyCondition, metav1.ConditionTrue, v1beta1.ReasonProvisioned, ""))
	}
}

func hostClaimed(w *machineWork) metav1.Condition {
	if w.host != nil {
		return condition(v1beta1.HostClaimedCondition, metav1.ConditionTrue, v1beta1.ReasonHostClaimed, "")
	}
	reason, message := w.reason, w.wait
	switch {
	case reason == "" && !w.machine.DeletionTimestamp.IsZero():
		reason = v1beta1.ReasonDeleting
	case reason == "":
		reason, message = v1beta1.ReasonWaitingForHost, "a host is being looked for"
	}
	return condition(v1beta1.HostClaimedCondition, metav1.ConditionFalse, reason, message)
}

// systemFaults are the reasons of a host's Ready that say that the system of its machine is not there, or is of no use. The
// machine is not ready then, which Cluster API shows as InfrastructureReady of the Machine, where a MachineHealthCheck can act on
// it. Everything else that a host may lack, above all a BMC that answers, does not take a running system from its machine.
var systemFaults = []string{v1beta1.ReasonBootstrapFailed, v1beta1.ReasonBootOverdue, v1beta1.ReasonPowerLost,
	v1beta1.ReasonSystemLost, v1beta1.ReasonBootFailed, v1beta1.ReasonSwitchedOff, v1beta1.ReasonPoweredOff, v1beta1.ReasonNodeUnknown}

// systemRuns says whether a machine that was provisioned still has its system, as far as its host knows.
func systemRuns(host *v1beta1.PhysicalHost) bool {
	ready := conditions.Get(host, v1beta1.ReadyCondition)
	switch {
	case ready == nil || ready.Status == metav1.ConditionTrue:
		return true
	case slices.Contains(systemFaults, ready.Reason):
		return false
	case host.Spec.Claim != nil && host.Spec.Claim.Bound:
		return true
	}
	return host.Status.State == v1beta1.StateBooting // else it is booted anew, or left as it is: nothing was ever seen of it
}

// hostProvisioned mirrors the host: what is wrong there is what the user of the machine must know.
func hostProvisioned(w *machineWork, claimed metav1.Condition) metav1.Condition {
	set := func(status metav1.ConditionStatus, reason, message string) metav1.Condition {
		return condition(v1beta1.HostProvisionedCondition, status, reason, message)
	}
	if w.host == nil {
		return set(metav1.ConditionFalse, claimed.Reason, claimed.Message)
	}
	ready := conditions.Get(w.host, v1beta1.ReadyCondition)
	provisioned := ptr.Deref(w.machine.Status.Initialization.Provisioned, false)
	switch {
	case provisioned && systemRuns(w.host):
		return set(metav1.ConditionTrue, v1beta1.ReasonProvisioned, "")
	case ready == nil || ready.Status == metav1.ConditionTrue || w.host.Status.State == v1beta1.StateAvailable:
		return set(metav1.ConditionFalse, v1beta1.ReasonProvisioning, fmt.Sprintf("PhysicalHost %s is claimed and will be prepared", w.host.Name))
	}
	return set(metav1.ConditionFalse, ready.Reason, fmt.Sprintf("PhysicalHost %s: %s", w.host.Name, ready.Message))
}

// deleting says what the deletion of a machine waits for. What its host waits for is the host's own word.
func deleting(w *machineWork) string {
	if w.host == nil {
		return "the machine is being deleted"
	}
	if blocked := conditions.Get(w.host, v1beta1.ReleaseBlockedCondition); blocked != nil && blocked.Status == metav1.ConditionTrue {
		return fmt.Sprintf("PhysicalHost %s cannot be released: %s", w.host.Name, blocked.Message)
	}
	waits := fmt.Sprintf("waiting until PhysicalHost %s is observed off and empty", w.host.Name)
	ready := conditions.Get(w.host, v1beta1.ReadyCondition)
	if w.host.Spec.Claim.Release == nil || ready == nil || ready.Status == metav1.ConditionTrue || ready.Reason == v1beta1.ReasonReleasing {
		return waits
	}
	return waits + ", which says: " + ready.Message
}

// reportSpread says, once the machine has its host, whether soft spreading had to give way, and looks again while it had. A machine
// whose failure domain is prescribed, or that asks for no spread, has no such condition.
func (r *Beskar7MachineReconciler) reportSpread(ctx context.Context, w *machineWork) error {
	m := w.machine
	set := hostselection.OwnerOf(w.owner.Labels)
	if mode := m.Spec.Spread; set == "" || w.owner.Spec.FailureDomain != "" || mode == "" || mode == v1beta1.SpreadNone {
		conditions.Delete(m, v1beta1.SpreadCondition)
		return nil
	}
	if w.host == nil || conditions.IsTrue(m, v1beta1.SpreadCondition) {
		return nil
	}
	var list v1beta1.PhysicalHostList
	if err := r.Client.List(ctx, &list, client.InNamespace(m.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list hosts: %w", err)
	}
	hosts := make([]*v1beta1.PhysicalHost, 0, len(list.Items))
	for i := range list.Items {
		if scope.Owned(r.WatchFilter, &list.Items[i]) {
			hosts = append(hosts, &list.Items[i])
		}
	}
	placement, err := coordinator.Placement(coordinator.ClaimRequest{Machine: m, Cluster: w.cluster.Name, Owner: set}, hosts, w.host)
	if err != nil {
		return nil //nolint:nilerr // a selector that was spoilt since the claim: HostClaimed says so when it matters
	}
	status, reason := metav1.ConditionTrue, v1beta1.ReasonSpreadKept
	if placement.GaveWay() {
		status, reason = metav1.ConditionFalse, v1beta1.ReasonSpreadGaveWay
	}
	conditions.Set(m, condition(v1beta1.SpreadCondition, status, reason, placement.Message()))
	return nil
}
