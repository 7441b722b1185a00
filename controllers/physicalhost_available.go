package controllers

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/provision"
)

// available says whether a machine may claim the host, and if not, why.
func available(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision, reach metav1.Condition) metav1.Condition {
	no := func(reason, message string) metav1.Condition {
		return condition(v1beta1.AvailableCondition, metav1.ConditionFalse, reason, message)
	}
	switch {
	case host.Spec.Claim != nil:
		return no(v1beta1.ReasonClaimed, "claimed by machine "+host.Spec.Claim.Machine)
	case g.facts.Deleting:
		return no(v1beta1.ReasonDeleting, "the host is being deleted")
	case g.facts.Paused:
		return no(v1beta1.ReasonHostPaused, pausedBy(host, g))
	case host.Spec.Quarantine != nil:
		return no(v1beta1.ReasonQuarantined, quarantined(host))
	case reach.Status == metav1.ConditionFalse:
		return no(reach.Reason, reach.Message)
	case d.State != provision.Available && troubled(g, reach):
		return no(reach.Reason, triedAgain(reach.Message)) // it has yet to be read
	}
	switch d.State {
	case provision.Available:
		if why := unfit(host); why != "" {
			return no(v1beta1.ReasonUnsupported, why)
		}
		return condition(v1beta1.AvailableCondition, metav1.ConditionTrue, v1beta1.ReasonAvailable, "")
	case provision.Maintenance:
		return no(v1beta1.ReasonMaintenance, "spec.maintenance is set. When the server may be used again: "+patchHost(host, `{"spec":{"maintenance":false}}`))
	case provision.Duplicate, provision.OtherServer:
		c := identityVerified(host, g)
		return no(c.Reason, c.Message)
	case provision.PoweredOn:
		return no(v1beta1.ReasonPoweredOn, "the server is running and nobody claims it: power it off, or consent to have it powered off and emptied (and take the consent back afterwards): "+consent(host))
	case provision.NotEmpty:
		reason, what := notEmpty(g)
		return no(reason, what+", and nobody claims the host: clear it, or consent to have it emptied (and take the consent back afterwards): "+consent(host))
	case provision.Cleaning:
		if failing := failingOperation(host); failing != "" {
			return no(v1beta1.ReasonOperationFailing, "being powered off and emptied with its owner's consent. "+failing)
		}
		return no(v1beta1.ReasonCleaning, "being powered off and emptied with its owner's consent")
	case provision.Inspecting:
		if failing := failingOperation(host); failing != "" {
			return no(v1beta1.ReasonOperationFailing, failing)
		}
		return no(v1beta1.ReasonInspecting, "the hardware is being read")
	default:
		return no(v1beta1.ReasonNotObserved, "power and media were not read yet")
	}
}

func quarantined(host *v1beta1.PhysicalHost) string {
	if c := host.Spec.Claim; c != nil && c.Release == nil && host.Spec.Quarantine.Reason == v1beta1.ReasonOrphaned {
		return fmt.Sprintf("%s: %s. Restore the machine and remove spec.quarantine; or power the server off and end its claim: %s",
			host.Spec.Quarantine.Reason, host.Spec.Quarantine.Message, releaseUnverified(host))
	}
	return fmt.Sprintf("%s: %s. When the server is in order: kubectl -n %s patch ph %s --type json -p '[{\"op\":\"remove\",\"path\":\"/spec/quarantine\"}]'",
		host.Spec.Quarantine.Reason, host.Spec.Quarantine.Message, host.Namespace, host.Name)
}
