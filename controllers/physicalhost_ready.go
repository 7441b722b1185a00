package controllers

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/provision"
)

// readiness is what condition Ready says. ok: the host is as it should be, and nothing is to be done.
type readiness struct {
	ok              bool
	reason, message string
}

func notReady(reason, message string) readiness { return readiness{reason: reason, message: message} }

// ready sums up. Each state says it in a function of its own; what is true of the booted system goes before all else, since the
// machine, and whoever replaces machines, reads it here.
func ready(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision, reach metav1.Condition) metav1.Condition {
	is := readinessOf(host, g, d, reach)
	if !is.ok {
		is.message += overdue(host, g, d.State)
	}
	is = is.deleting(host, g)
	status := metav1.ConditionFalse
	if is.ok {
		status = metav1.ConditionTrue
	}
	return condition(v1beta1.ReadyCondition, status, is.reason, is.message)
}

func readinessOf(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision, reach metav1.Condition) readiness {
	switch d.State {
	case provision.OtherServer, provision.Duplicate:
		c := identityVerified(host, g)
		return notReady(c.Reason, c.Message)
	case provision.Paused:
		return notReady(v1beta1.ReasonHostPaused, pausedBy(host, g))
	case provision.Quarantined:
		return notReady(v1beta1.ReasonQuarantined, quarantinedOrEnding(host))
	case provision.ReleaseBlocked:
		return notReady(v1beta1.ReasonReleaseOverdue, releaseBlocked(host, g, reach).Message)
	case provision.Orphaned:
		return notReady(v1beta1.ReasonOrphaned, g.holding.Words(g.standing))
	case provision.Claimed:
		return notReady(v1beta1.ReasonWaitingForConfirm, g.holding.Words(g.standing))
	case provision.Releasing:
		return readyReleasing(host, g, reach)
	case provision.Provisioned, provision.Booting, provision.Provisioning, provision.BootFailed, provision.Lost:
		return readyHeld(host, g, d, reach)
	case provision.Available, provision.PoweredOn, provision.NotEmpty, provision.Cleaning, provision.Maintenance,
		provision.Enrolling, provision.Inspecting, provision.Deleting:
	}
	a := available(host, g, d, reach)
	return readiness{a.Status == metav1.ConditionTrue, a.Reason, a.Message}
}

// readyHeld is for a host that its machine holds.
func readyHeld(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision, reach metav1.Condition) readiness {
	if fault, broken := systemFault(host, g, d); broken {
		return fault
	}
	switch {
	case d.State == provision.Provisioned:
		return readyBound(host, reach)
	case troubled(g, reach):
		return notReady(reach.Reason, triedAgain(reach.Message))
	case d.State == provision.Booting:
		return notReady(v1beta1.ReasonBooting, "running from our medium; waiting for its Node or phone-home"+hinted(bootHints(host, g)))
	}
	return readyPreparing(host, g)
}

// systemFault is what is wrong with the system that was booted: its machine is not ready while it lasts, see systemFaults. It is
// judged by what was seen and told of the system, whether its BMC answers at the moment or not.
func systemFault(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) (readiness, bool) {
	if fault, broken := lifeFault(host, g, d); broken {
		return fault, true
	}
	switch {
	case g.facts.Bound && provision.Power(host.Status.Power) == provision.PowerStateOff && (g.facts.Steady || !g.facts.Observed):
		return notReady(v1beta1.ReasonPowerLost, "the server is off, and its system with it: it is powered on again"), true
	case g.facts.Bound:
		return readiness{}, false
	case g.facts.Report == provision.ReportFailed:
		return notReady(v1beta1.ReasonBootstrapFailed, "the booted system reported that its bootstrap failed: look at its console, or at spec.claim.phoneHome.detail, which is its own word. To have the machine replaced: "+deleteMachine(host, g.machine)), true
	case d.State == provision.Booting && g.facts.BootOverdue:
		return notReady(v1beta1.ReasonBootOverdue, fmt.Sprintf("no Node and no phone-home within %s of the boot: the server is booted again; look at its console%s. To have the machine replaced instead: %s",
			duration(bootTimeout(host)), hinted(bootHints(host, g)), deleteMachine(host, g.machine))), true
	case d.State == provision.Booting && g.bootUncertain:
		return notReady(v1beta1.ReasonBootOverdue, fmt.Sprintf("no Node and no phone-home within %s of the boot, but cluster %s cannot be asked: the server is left as it is until the cluster answers; mend the cluster's API server, or delete the Machine: %s",
			duration(bootTimeout(host)), host.Spec.Claim.Cluster, deleteMachine(host, g.machine))), true
	}
	return readiness{}, false
}

// readyBound is for a system that runs. That its BMC is away for long is something to see to; the system does not need it.
func readyBound(host *v1beta1.PhysicalHost, reach metav1.Condition) readiness {
	if reach.Status == metav1.ConditionFalse {
		return notReady(reach.Reason, reach.Message)
	}
	return readiness{true, v1beta1.ReasonBooted, ""}
}

// readyPreparing is for a host that is brought to its boot.
func readyPreparing(host *v1beta1.PhysicalHost, g *gathered) readiness {
	switch failing := failingOperation(host); {
	case g.contentReason != "":
		return notReady(g.contentReason, g.contentMessage)
	case g.streamFault != "":
		return notReady(v1beta1.ReasonImageUnusable, "the last boot could not read its image: "+g.streamFault)
	case failing != "":
		return notReady(v1beta1.ReasonOperationFailing, failing)
	}
	return notReady(v1beta1.ReasonBooting, "the server is being prepared to boot")
}

func readyReleasing(host *v1beta1.PhysicalHost, g *gathered, reach metav1.Condition) readiness {
	if troubled(g, reach) {
		return notReady(reach.Reason, "being released. "+triedAgain(reach.Message))
	}
	if c := identityDoubt(host, g); c != nil {
		return notReady(c.Reason, "being released. "+c.Message)
	}
	if failing := failingOperation(host); failing != "" {
		return notReady(v1beta1.ReasonOperationFailing, "being released. "+failing)
	}
	return notReady(v1beta1.ReasonReleasing, "being proven off, empty and disarmed")
}

func quarantinedOrEnding(host *v1beta1.PhysicalHost) string {
	if host.Spec.Quarantine == nil {
		return "the claim is being ended unverified"
	}
	return quarantined(host)
}

// failingOperation says what went wrong with the operation at the gate, or "".
func failingOperation(host *v1beta1.PhysicalHost) string {
	if op := host.Status.Operation; op != nil && op.LastError != "" {
		return triedAgain(op.Kind + ": " + op.LastError)
	}
	return ""
}

// triedAgain points to where the tries are counted: a message with numbers in it would be written, here and at everything that
// mirrors it, with every try.
func triedAgain(what string) string {
	return what + "; it is tried again, see status.attempts and status.nextAttempt"
}
