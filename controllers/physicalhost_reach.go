package controllers

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/coordinator/bmcqueue"
	"github.com/beskar7/beskar7/pkg/redfish"
)

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
