package controllers

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
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

// wait is how long a host may be in a state that ends by itself as a rule, and what a person does about one that does not.
type wait struct {
	limit func(*v1beta1.PhysicalHost) time.Duration
	end   func(*v1beta1.PhysicalHost, *gathered) string
}

// patience is how long most waits may take.
const patience = 10 * time.Minute

func patient(*v1beta1.PhysicalHost) time.Duration { return patience }

// waits are the states that end by themselves. Those that only a person ends, and a release or a boot that is overdue, give their
// command in the message itself. Together they are all states in which something is waited for (D8).
var waits = map[provision.State]wait{
	provision.Enrolling:  {patient, tryNow},
	provision.Inspecting: {patient, tryNow},
	provision.Cleaning: {patient, func(h *v1beta1.PhysicalHost, g *gathered) string {
		return tryNow(h, g) + "; to have it left as it is: " + patchHost(h, `{"spec":{"consentToErase":false}}`)
	}},
	provision.Claimed: {patient, giveUp},
	// A large image may take long, and its download is no fault of the host.
	provision.Provisioning: {bootTimeout, giveUp},
	provision.Booting:      {bootTimeout, giveUp},
	provision.Provisioned:  {patient, giveUp},
}

func tryNow(h *v1beta1.PhysicalHost, _ *gathered) string {
	return "To have it tried now: " + retryNow(h)
}

func giveUp(h *v1beta1.PhysicalHost, g *gathered) string {
	return "To give it up, and have the machine made anew elsewhere if it belongs to a set: " + deleteMachine(h, g.machine)
}

// overdue is what is said of a host that has been in its state for longer than that takes, or "". When that will be is noted.
func overdue(host *v1beta1.PhysicalHost, g *gathered, state provision.State) string {
	w, limited := waits[state]
	since := host.Status.StateSince
	if !limited || since.IsZero() || host.Status.State != v1beta1.HostState(state) {
		return ""
	}
	limit := w.limit(host)
	due := since.Add(limit)
	if g.now.Before(due) {
		g.deadlines = append(g.deadlines, due)
		return ""
	}
	return fmt.Sprintf(". It has been %s for longer than %s. %s", state, duration(limit), w.end(host, g))
}

// deleting adds to what a claimed host says of itself that it is being deleted, and what that waits for.
func (is readiness) deleting(host *v1beta1.PhysicalHost, g *gathered) readiness {
	claim := host.Spec.Claim
	switch {
	case !g.facts.Deleting || claim == nil:
		return is
	case claim.Release != nil:
		is.message = "the host is being deleted, and goes when the claim has ended. " + is.message
		return is
	case is.ok || is.reason == v1beta1.ReasonBooting:
		return notReady(v1beta1.ReasonDeleting, fmt.Sprintf("the host is being deleted, and waits until machine %s gives it back: %s", claim.Machine, deleteMachine(host, g.machine)))
	}
	is.message = fmt.Sprintf("the host is being deleted, and waits until the claim of machine %s has ended. %s", claim.Machine, is.message)
	return is
}

// failuresUntilAway is how many tries in a row have to fail before a BMC that was reached counts as out of reach: one answer of
// "busy", or one that was lost, tells nothing. The gate makes them ever further apart, so it takes a minute or so.
const failuresUntilAway = 3

// reachability turns the last failure into words. In between, when a BMC that was reached has failed a few times, nobody knows:
// the condition is Unknown, and what does not need the BMC at the moment stays as it is.
func reachability(host *v1beta1.PhysicalHost, g *gathered) metav1.Condition {
	is := func(status metav1.ConditionStatus, reason, message string) metav1.Condition {
		return condition(v1beta1.BMCReachableCondition, status, reason, message)
	}
	failure := g.observation.Failure
	switch {
	case g.fault != nil:
		return is(metav1.ConditionFalse, g.fault.reason, g.fault.message)
	case g.queue.HeldBy != "" && (g.queue.State == bmcqueue.StateParked || failure != nil || !g.facts.Observed):
		if g.queue.State != bmcqueue.StateParked {
			return is(metav1.ConditionUnknown, v1beta1.ReasonCredentialUnproven, unprovenMessage(host, g.queue))
		}
		return is(metav1.ConditionFalse, v1beta1.ReasonCredentialUnproven, unprovenMessage(host, g.queue))
	case failure != nil && failure.Outdated:
		status := metav1.ConditionFalse
		if g.facts.Observed && passing(failure) {
			status = metav1.ConditionUnknown
		}
		return is(status, v1beta1.ReasonNotYetContacted, "the connection was changed after the BMC was last out of reach, and is being tried")
	case failure == nil && g.facts.Observed:
		return is(metav1.ConditionTrue, v1beta1.ReasonReachable, "")
	case failure == nil && host.Status.ParkedCredential != nil, failure != nil && failure.LoginFailed:
		return is(metav1.ConditionFalse, v1beta1.ReasonLoginRefused, parkedMessage(host, g.connected))
	case failure == nil:
		return is(metav1.ConditionUnknown, v1beta1.ReasonNotYetContacted, "the BMC was not contacted yet")
	case g.facts.Observed && passing(failure):
		return is(metav1.ConditionUnknown, failureReason(failure.Kind), failure.Message)
	}
	return is(metav1.ConditionFalse, failureReason(failure.Kind), failure.Message)
}

// passing says whether the failure may be one of those that are over at the next try. A certificate that is not trusted is none.
func passing(f *actuator.Failure) bool {
	return f.Count < failuresUntilAway && f.Kind != redfish.KindCertificate && !f.LoginFailed
}

// troubled says whether the last try failed: for what needs the BMC now, that is told at once.
func troubled(g *gathered, reach metav1.Condition) bool {
	f := g.observation.Failure
	return reach.Status == metav1.ConditionFalse || reach.Status == metav1.ConditionUnknown && f != nil && !f.Outdated
}

func parkedMessage(host *v1beta1.PhysicalHost, c *connection) string {
	hint := ""
	if c != nil && spaced(string(c.target.Password)) {
		hint = " (its password begins or ends with a space: is that meant?)"
	}
	return fmt.Sprintf("the BMC refused user name or password: mend Secret %q%s; it is not tried again until the Secret changes (one probe an hour), as BMCs lock accounts. To try now: kubectl -n %s annotate ph %s %s=\"$(date +%%s)\" --overwrite",
		host.Spec.RedfishConnection.CredentialsSecretRef.Name, hint, host.Namespace, host.Name, v1beta1.RetryNowAnnotation)
}

// unprovenMessage says who tries the credentials of a host first, and what to do.
func unprovenMessage(host *v1beta1.PhysicalHost, q bmcqueue.Status) string {
	secret := host.Spec.RedfishConnection.CredentialsSecretRef.Name
	if q.State != bmcqueue.StateParked {
		return fmt.Sprintf("the BMC at %s is tried first with the credentials of Secret %q, which this host shares: a wrong password is to lock one account, not all of them", q.HeldBy, secret)
	}
	return fmt.Sprintf("not tried: the BMC at %s refused the user name or password of Secret %q, which this host shares; as BMCs lock accounts, one of them tries first, once an hour, and its success opens all. Mend the Secret, or give the host whose credentials differ a Secret of its own. To try this host now: %s",
		q.HeldBy, secret, retryNow(host))
}

func failureReason(k redfish.Kind) string {
	switch k {
	case redfish.KindUnreachable:
		return v1beta1.ReasonUnreachable
	case redfish.KindBusy:
		return v1beta1.ReasonBusy
	case redfish.KindUnauthorized:
		return v1beta1.ReasonLoginRefused
	case redfish.KindCertificate:
		return v1beta1.ReasonCertificateRefused
	case redfish.KindNotFound:
		return v1beta1.ReasonSystemNotFound
	case redfish.KindUnsupported:
		return v1beta1.ReasonUnsupported
	default:
		return v1beta1.ReasonProtocolError
	}
}
