package controllers

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/provision"
)

// hostConditions is the one place that sets the conditions of a PhysicalHost. Messages tell a person what to do next and hold
// neither times that pass nor request ids, so that they change only when the matter does.
func hostConditions(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) {
	reach := reachability(host, g)
	conditions.Set(host, reach)
	conditions.Set(host, inspected(host))
	conditions.Set(host, identityVerified(host, g))
	conditions.Set(host, pausedHost(host, g))
	conditions.Set(host, available(host, g, d, reach))
	conditions.Set(host, booted(host, g))
	if blocked := releaseBlocked(host, g, reach); blocked.Status == metav1.ConditionTrue || conditions.Has(host, v1beta1.ReleaseBlockedCondition) {
		conditions.Set(host, blocked)
	}
	conditions.Set(host, ready(host, g, d, reach))
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

func inspected(host *v1beta1.PhysicalHost) metav1.Condition {
	if host.Status.Hardware != nil && host.Status.BMC != nil {
		return condition(v1beta1.InspectedCondition, metav1.ConditionTrue, v1beta1.ReasonInspected, strings.Join(host.Status.BMC.Problems, "; "))
	}
	return condition(v1beta1.InspectedCondition, metav1.ConditionFalse, v1beta1.ReasonInspecting, "the hardware was not read yet")
}

func pausedHost(host *v1beta1.PhysicalHost, g *gathered) metav1.Condition {
	if !g.facts.Paused {
		return condition(v1beta1.PausedCondition, metav1.ConditionFalse, "NotPaused", "")
	}
	return condition(v1beta1.PausedCondition, metav1.ConditionTrue, "Paused", pausedBy(host))
}

func pausedBy(host *v1beta1.PhysicalHost) string {
	switch {
	case host.Spec.Paused:
		return "spec.paused is set, as the machine's cluster was paused"
	case host.Spec.Claim != nil:
		return fmt.Sprintf("the host, its machine %s or its cluster %s is paused", host.Spec.Claim.Machine, host.Spec.Claim.Cluster)
	}
	return "the host has the annotation cluster.x-k8s.io/paused"
}

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
		return no(v1beta1.ReasonHostPaused, pausedBy(host))
	case host.Spec.Quarantine != nil:
		return no(v1beta1.ReasonQuarantined, quarantined(host))
	case reach.Status == metav1.ConditionFalse:
		return no(reach.Reason, reach.Message)
	}
	switch d.State {
	case provision.Available:
		if why := unfit(host); why != "" {
			return no(v1beta1.ReasonUnsupported, why)
		}
		return condition(v1beta1.AvailableCondition, metav1.ConditionTrue, v1beta1.ReasonAvailable, "")
	case provision.Maintenance:
		return no(v1beta1.ReasonMaintenance, "spec.maintenance is set")
	case provision.Duplicate, provision.OtherServer:
		c := identityVerified(host, g)
		return no(c.Reason, c.Message)
	case provision.PoweredOn:
		return no(v1beta1.ReasonPoweredOn, "the server is running and nobody claims it: power it off, or set spec.consentToErase to have it powered off and emptied (and take the consent back afterwards)")
	case provision.NotEmpty:
		return no(v1beta1.ReasonForeignMedia, "virtual media are inserted or a boot override is set, and nobody claims the host: remove them, or set spec.consentToErase to have it emptied (and take the consent back afterwards)")
	case provision.Cleaning:
		return no(v1beta1.ReasonCleaning, "being powered off and emptied with its owner's consent")
	case provision.Inspecting:
		return no(v1beta1.ReasonInspecting, "the hardware is being read")
	default:
		return no(v1beta1.ReasonNotObserved, "power and media were not read yet")
	}
}

func quarantined(host *v1beta1.PhysicalHost) string {
	if c := host.Spec.Claim; c != nil && c.Release == nil && host.Spec.Quarantine.Reason == v1beta1.ReasonOrphaned {
		return fmt.Sprintf("%s: %s. Restore the machine and remove spec.quarantine; or power the server off and end its claim: kubectl -n %s annotate ph %s %s=%s --overwrite",
			host.Spec.Quarantine.Reason, host.Spec.Quarantine.Message, host.Namespace, host.Name, v1beta1.ReleaseUnverifiedAnnotation, c.ID)
	}
	return fmt.Sprintf("%s: %s. When the server is in order: kubectl -n %s patch ph %s --type json -p '[{\"op\":\"remove\",\"path\":\"/spec/quarantine\"}]'",
		host.Spec.Quarantine.Reason, host.Spec.Quarantine.Message, host.Namespace, host.Name)
}

func booted(host *v1beta1.PhysicalHost, g *gathered) metav1.Condition {
	claim := host.Spec.Claim
	no := func(reason, message string) metav1.Condition {
		return condition(v1beta1.BootedCondition, metav1.ConditionFalse, reason, message)
	}
	switch b := host.Status.Booted; {
	case claim == nil:
		return no(v1beta1.ReasonNotClaimed, "")
	case claim.Bound || (b != nil && b.ClaimID == claim.ID):
		return condition(v1beta1.BootedCondition, metav1.ConditionTrue, v1beta1.ReasonBooted, bootHints(host, g))
	case claim.Release != nil:
		return no(v1beta1.ReasonReleasing, "")
	case g.contentReason != "":
		return no(g.contentReason, g.contentMessage)
	}
	return no(v1beta1.ReasonBooting, "the server is being prepared to boot")
}

// releaseBlocked tells a person how to end a release that cannot finish.
func releaseBlocked(host *v1beta1.PhysicalHost, g *gathered, reach metav1.Condition) metav1.Condition {
	claim := host.Spec.Claim
	if claim == nil || g.facts.Claim != provision.ClaimReleasing || !g.facts.ReleaseOverdue {
		return condition(v1beta1.ReleaseBlockedCondition, metav1.ConditionFalse, v1beta1.ReasonNotReleasing, "")
	}
	why := "the server was not yet observed off, empty and disarmed"
	if c := identityVerified(host, g); c.Reason == v1beta1.ReasonOtherServer || c.Reason == v1beta1.ReasonDuplicate || c.Reason == v1beta1.ReasonIdentityNotTold && g.brief.Recorded(g.observation).Known() {
		why = c.Message
	}
	if reach.Status != metav1.ConditionTrue {
		why = reach.Message
	}
	return condition(v1beta1.ReleaseBlockedCondition, metav1.ConditionTrue, v1beta1.ReasonReleaseOverdue, fmt.Sprintf(
		"the release has taken longer than %s: %s. It is still being tried. If the server is certainly off, end it unverified, into quarantine: kubectl -n %s annotate ph %s %s=%s --overwrite",
		duration(releaseTimeout(host)), why, host.Namespace, host.Name, v1beta1.ReleaseUnverifiedAnnotation, claim.ID))
}

func duration(d time.Duration) string { return metav1.Duration{Duration: d}.Duration.String() }

// ready sums up: True while the host is as it should be and nothing is to be done.
func ready(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision, reach metav1.Condition) metav1.Condition {
	set := func(ok bool, reason, message string) metav1.Condition {
		status := metav1.ConditionFalse
		if ok {
			status = metav1.ConditionTrue
		}
		return condition(v1beta1.ReadyCondition, status, reason, message)
	}
	failing := reach.Status == metav1.ConditionFalse
	switch d.State {
	case provision.OtherServer, provision.Duplicate:
		c := identityVerified(host, g)
		return set(false, c.Reason, c.Message)
	case provision.Paused:
		return set(false, v1beta1.ReasonHostPaused, pausedBy(host))
	case provision.Quarantined:
		return set(false, v1beta1.ReasonQuarantined, quarantinedOrEnding(host))
	case provision.ReleaseBlocked:
		return set(false, v1beta1.ReasonReleaseOverdue, releaseBlocked(host, g, reach).Message)
	case provision.Orphaned:
		return set(false, v1beta1.ReasonOrphaned, g.holding.Words(g.standing))
	case provision.Provisioned, provision.Booting, provision.Provisioning, provision.Claimed, provision.Releasing:
		if failing {
			return set(false, reach.Reason, reach.Message)
		}
		return readyClaimed(host, g, d, set)
	case provision.Available, provision.PoweredOn, provision.NotEmpty, provision.Cleaning, provision.Maintenance,
		provision.Enrolling, provision.Inspecting, provision.Deleting:
	}
	a := available(host, g, d, reach)
	return set(a.Status == metav1.ConditionTrue, a.Reason, a.Message)
}

func quarantinedOrEnding(host *v1beta1.PhysicalHost) string {
	if host.Spec.Quarantine == nil {
		return "the claim is being ended unverified"
	}
	return quarantined(host)
}

func readyClaimed(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision, set func(bool, string, string) metav1.Condition) metav1.Condition {
	switch d.State {
	case provision.Provisioned:
		if g.facts.Observed && g.facts.Power == provision.PowerStateOff {
			return set(false, v1beta1.ReasonBooting, "the server lost power and is started again, unless spec.powerPolicy says otherwise")
		}
		return set(true, v1beta1.ReasonBooted, "")
	case provision.Booting:
		if g.facts.Report == provision.ReportFailed {
			return set(false, v1beta1.ReasonBootstrapFailed, "the booted system reported that its bootstrap failed: look at its console, or at spec.claim.phoneHome.detail, which is its own word")
		}
		if g.facts.BootOverdue {
			return set(false, v1beta1.ReasonBootOverdue, fmt.Sprintf("no Node and no phone-home within %s of the boot: the server is booted again; look at its console%s", duration(bootTimeout(host)), hinted(bootHints(host, g))))
		}
		if g.bootUncertain {
			return set(false, v1beta1.ReasonBootOverdue, fmt.Sprintf("no Node and no phone-home within %s of the boot, but cluster %s cannot be asked: the server is left as it is until the cluster answers; mend the cluster's API server, or delete the Machine", duration(bootTimeout(host)), host.Spec.Claim.Cluster))
		}
		return set(false, v1beta1.ReasonBooting, "running from our medium; waiting for its Node or phone-home"+hinted(bootHints(host, g)))
	case provision.Claimed:
		return set(false, v1beta1.ReasonWaitingForConfirm, g.holding.Words(g.standing))
	case provision.Releasing:
		if c := misidentified(host, g); c != nil {
			return set(false, c.Reason, c.Message)
		}
		if failing := failingOperation(host); failing != "" {
			return set(false, v1beta1.ReasonOperationFailing, "being released. "+failing)
		}
		return set(false, v1beta1.ReasonReleasing, "being proven off, empty and disarmed")
	default:
		if g.contentReason != "" {
			return set(false, g.contentReason, g.contentMessage)
		}
		if g.streamFault != "" {
			return set(false, v1beta1.ReasonImageUnusable, "the last boot could not read its image: "+g.streamFault)
		}
		if failing := failingOperation(host); failing != "" {
			return set(false, v1beta1.ReasonOperationFailing, failing)
		}
		return set(false, v1beta1.ReasonBooting, "the server is being prepared to boot")
	}
}

// failingOperation says what went wrong with the operation at the gate, or "". When it is tried again is in status.
func failingOperation(host *v1beta1.PhysicalHost) string {
	if op := host.Status.Operation; op != nil && op.LastError != "" {
		return fmt.Sprintf("%s: %s; it is tried again", op.Kind, op.LastError)
	}
	return ""
}
