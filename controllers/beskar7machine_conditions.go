package controllers

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
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
