package controllers

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/annotations"
	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
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

// phoneHomeBase is the URL under which this host's system reports.
func (r *PhysicalHostReconciler) phoneHomeBase(host *v1beta1.PhysicalHost) string {
	if host.Spec.PhoneHomeURL != "" {
		return host.Spec.PhoneHomeURL
	}
	return r.PhoneHomeURL
}

// uncovered says at which of a host's URLs the media door is not trusted, and why; "" if at all of them it is.
func (r *PhysicalHostReconciler) uncovered(host *v1beta1.PhysicalHost) string {
	if r.Certificate == nil {
		return ""
	}
	if err := r.Certificate.Covers(r.phoneHomeBase(host)); err != nil {
		return fmt.Sprintf("the certificate of the media server does not do for the phone-home URL %s: %v. The booted system cannot report how its bootstrap ended, "+
			"unless something in front of the media server shows another certificate", r.phoneHomeBase(host), err)
	}
	if err := r.Certificate.Covers(r.mediaBase(host)); err != nil {
		return fmt.Sprintf("the certificate of the media server does not do for the media URL %s: %v. A BMC that verifies certificates cannot read its media, "+
			"unless something in front of the media server shows another certificate", r.mediaBase(host), err)
	}
	return ""
}

// setAdvertised tells of a certificate that does not do for the URLs that this host is given. Hosts that never had a reason to
// complain do not have the condition.
func setAdvertised(host *v1beta1.PhysicalHost, g *gathered) {
	switch {
	case g.uncovered != "":
		conditions.Set(host, condition(v1beta1.AdvertisedURLsTrustedCondition, metav1.ConditionFalse, v1beta1.ReasonCertificateMismatch, g.uncovered))
	case conditions.Has(host, v1beta1.AdvertisedURLsTrustedCondition):
		conditions.Set(host, condition(v1beta1.AdvertisedURLsTrustedCondition, metav1.ConditionTrue, v1beta1.ReasonCertificateCovers, ""))
	}
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

// notEmpty says what of others is on an unclaimed host: the medium, by its slot and the host that it comes from, or the override.
func notEmpty(g *gathered) (reason, what string) {
	var found []string
	for _, s := range g.observation.Slots {
		if !s.Empty() {
			found = append(found, mediumIn(s))
		}
	}
	if len(found) > 0 {
		reason = v1beta1.ReasonForeignMedia
	}
	if b := g.observation.State.Boot; b.Armed() {
		if reason == "" {
			reason = v1beta1.ReasonBootOverrideSet
		}
		found = append(found, "a boot override is set: "+overrideWords(b))
	}
	if len(found) == 0 { // what was read last says something else by now
		return v1beta1.ReasonForeignMedia, "virtual media are inserted or a boot override is set"
	}
	return reason, strings.Join(found, "; ")
}

// mediumIn says where a medium is and which host it comes from. Its URL is a secret as a whole: it may hold a password, or be the
// capability itself.
func mediumIn(s redfish.Slot) string {
	from := ""
	if u, err := url.Parse(strings.ReplaceAll(s.Image, `\`, "/")); err == nil && u.Hostname() != "" {
		from = " from host " + clip(u.Hostname(), 253)
	}
	return fmt.Sprintf("virtual media slot %s holds an image%s", s.ID, from)
}

func overrideWords(b redfish.BootOverride) string {
	if b.Enabled == redfish.OverrideContinuous {
		return b.Target + ", for every boot"
	}
	return b.Target + ", for the next boot"
}

func pausedHost(host *v1beta1.PhysicalHost, g *gathered) metav1.Condition {
	if !g.facts.Paused {
		return condition(v1beta1.PausedCondition, metav1.ConditionFalse, clusterv1.NotPausedReason, "")
	}
	return condition(v1beta1.PausedCondition, metav1.ConditionTrue, clusterv1.PausedReason, pausedBy(host, g))
}

// pausedBy names who paused the host, what waits for the end of it, and the command that ends it: a pause has no end of its own.
func pausedBy(host *v1beta1.PhysicalHost, g *gathered) string {
	why, command := pauseOf(host, g)
	switch claim := host.Spec.Claim; {
	case claim != nil && claim.Release != nil:
		why += fmt.Sprintf(", so the release that machine %s asked for waits", claim.Machine)
	case g.facts.Deleting:
		why += ", so its deletion waits"
	}
	if command == "" {
		return why
	}
	return why + ". To end the pause: " + command
}

func pauseOf(host *v1beta1.PhysicalHost, g *gathered) (why, command string) {
	in := "kubectl -n " + host.Namespace
	claim := host.Spec.Claim
	switch _, moving := host.Annotations[clusterctlDeleteForMove]; {
	case moving:
		return "clusterctl move is taking the host to another cluster", ""
	case annotations.HasPaused(host):
		return "the host has the annotation " + clusterv1.PausedAnnotation, fmt.Sprintf("%s annotate ph %s %s-", in, host.Name, clusterv1.PausedAnnotation)
	case g.cluster != nil && ptr.Deref(g.cluster.Spec.Paused, false):
		return fmt.Sprintf("cluster %s is paused", g.cluster.Name), fmt.Sprintf(`%s patch cluster %s --type merge -p '{"spec":{"paused":false}}'`, in, g.cluster.Name)
	case g.machine != nil && annotations.HasPaused(g.machine):
		return fmt.Sprintf("machine %s has the annotation %s", g.machine.Name, clusterv1.PausedAnnotation),
			fmt.Sprintf("%s annotate beskar7machine %s %s-", in, g.machine.Name, clusterv1.PausedAnnotation)
	case host.Spec.Paused && claim != nil && g.machine != nil:
		return fmt.Sprintf("spec.paused is set, as machine %s or its cluster was paused; it goes with their pause", claim.Machine), ""
	case host.Spec.Paused:
		return "spec.paused is set, and there is no machine that would take it back", fmt.Sprintf(`%s patch ph %s --type merge -p '{"spec":{"paused":false}}'`, in, host.Name)
	}
	return "the host, its machine or its cluster is paused", ""
}

// unfitAgain is how often a BMC that lacks what a boot needs is asked again: a licence or a setting may have come.
const unfitAgain = time.Hour

// unfit says why no machine could ever be booted on the host, as its BMC lacks what that needs, and what to do; "" if it can.
func unfit(host *v1beta1.PhysicalHost) string {
	bmc := host.Status.BMC
	if bmc == nil || bootable(bmc) {
		return ""
	}
	problems := strings.Join(bmc.Problems, "; ")
	if problems == "" {
		problems = "it has no virtual CD that takes an image, or no boot override to it, or cannot switch power on and off"
	}
	return fmt.Sprintf("the BMC lacks what a boot needs: %s. It is looked at again every hour; once mended: kubectl -n %s annotate ph %s %s=\"$(date +%%s)\" --overwrite",
		problems, host.Namespace, host.Name, v1beta1.RetryNowAnnotation)
}

// bootable says whether a BMC offers all that a boot from our medium needs. What it does not say is taken for there.
func bootable(bmc *v1beta1.BMCReport) bool {
	return slices.ContainsFunc(bmc.MediaSlots, takesDisc) && slices.Contains(bmc.Capabilities, redfish.CapabilityBootOnceCD) &&
		resets(bmc, "On", "ForceOn") && resets(bmc, "ForceOff")
}

// takesDisc says whether an ISO can be put into a slot and booted from it.
func takesDisc(s v1beta1.MediaSlot) bool {
	return s.CanInsert && redfish.Slot{Types: s.Types}.Bootable()
}

func resets(bmc *v1beta1.BMCReport, words ...string) bool {
	return len(bmc.ResetTypes) == 0 || slices.ContainsFunc(bmc.ResetTypes, func(t string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(t, w) })
	})
}

// inspectUnfit asks for another look at a BMC that lacks something, when it is time, and otherwise says when that is.
func (r *PhysicalHostReconciler) inspectUnfit(host *v1beta1.PhysicalHost) (next time.Time) {
	seen, ok := r.Actuator.Observed(key(host))
	if !ok || seen.At.IsZero() || seen.Stale || host.Spec.Claim != nil || unfit(host) == "" {
		return time.Time{}
	}
	if next = unfitUntil(seen); !r.Clock.Now().Before(next) {
		r.Actuator.InspectAgain(key(host))
	}
	return next
}

// unfitUntil is when an unfit BMC is asked again: at once if this process has not asked yet.
func unfitUntil(seen actuator.Observation) time.Time { return seen.InspectedAt.Add(unfitAgain) }
