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
	setAdvertised(host, g)
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
	if c := identityDoubt(host, g); c != nil {
		why = c.Message
	}
	if reach.Status != metav1.ConditionTrue {
		why = reach.Message
	}
	return condition(v1beta1.ReleaseBlockedCondition, metav1.ConditionTrue, v1beta1.ReasonReleaseOverdue, fmt.Sprintf(
		"the release has taken longer than %s: %s. It is still being tried. If the server is certainly off, end it unverified, into quarantine: %s",
		duration(releaseTimeout(host)), why, releaseUnverified(host)))
}

func duration(d time.Duration) string { return metav1.Duration{Duration: d}.Duration.String() }
