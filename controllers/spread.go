package controllers

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/hostselection"
	"github.com/beskar7/beskar7/pkg/scope"
)

// tenantAfter is who had the host last once its claim is cleared. A claim under which the hardware was never touched leaves no
// trace: what is on the disks is still of the tenant before.
func tenantAfter(host *v1beta1.PhysicalHost, now time.Time) *v1beta1.Tenant {
	claim, booted := host.Spec.Claim, host.Status.Booted
	touched := claim.Bound || claim.Media != nil || claim.PhoneHome != nil || booted != nil && booted.ClaimID == claim.ID
	if !touched {
		return host.Spec.LastTenant
	}
	return &v1beta1.Tenant{
		Cluster: claim.Cluster, Owner: claim.Owner, Machine: claim.Machine,
		ReleasedAt: metav1.NewMicroTime(now.Truncate(time.Microsecond)),
	}
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
