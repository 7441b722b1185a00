package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/coordinator"
	"github.com/beskar7/beskar7/pkg/redfish"
	"github.com/beskar7/beskar7/pkg/serverid"
)

// recordedServer is which server the host is: as its claim says, which outlives status and a move, else as its inventory says.
func recordedServer(h *v1beta1.PhysicalHost) serverid.Identity {
	var inventory serverid.Identity
	if hw := h.Status.Hardware; hw != nil {
		inventory = serverid.Identity{UUID: hw.SystemUUID, Serial: hw.SerialNumber, Manufacturer: hw.Manufacturer, Model: hw.Model}
	}
	if c := h.Spec.Claim; c != nil && c.Server != nil {
		claimed := serverid.Identity{UUID: c.Server.SystemUUID, Serial: c.Server.SerialNumber}
		if claimed.Compare(inventory) == serverid.Same {
			claimed.Manufacturer, claimed.Model = inventory.Manufacturer, inventory.Model
		}
		if claimed.Known() {
			return claimed
		}
	}
	return inventory
}

// unrecorded: the claim is of a version that did not record its server, so that only status.hardware says which one it is, which a
// lost status or a move takes along.
func unrecorded(h *v1beta1.PhysicalHost) bool {
	return h.Spec.Claim != nil && h.Spec.Claim.Server == nil
}

// recordServer completes the claim of an older version by the server of status.hardware, once that one is seen to answer. Nothing
// but this reading would tell them apart later. recorded is true if it was written: the write wakes us.
func (r *PhysicalHostReconciler) recordServer(ctx context.Context, host *v1beta1.PhysicalHost, g *gathered) (recorded bool, err error) {
	server := coordinator.ServerOf(host)
	if !unrecorded(host) || server == nil || g.facts.Paused || g.facts.Duplicate || !g.facts.Observed {
		return false, nil
	}
	now := serverid.Identity{UUID: g.observation.State.SystemUUID, Serial: g.observation.State.Serial}
	if recordedServer(host).Compare(now) != serverid.Same {
		return false, nil
	}
	return true, r.write(ctx, host, func(h *v1beta1.PhysicalHost) { h.Spec.Claim.Server = server })
}

// acceptedServer names the server that a person takes for the host's, or is "". A claimed host stays what it was claimed as.
func acceptedServer(h *v1beta1.PhysicalHost) string {
	if h.Spec.Claim != nil {
		return ""
	}
	return h.Annotations[v1beta1.AcceptServerAnnotation]
}

// inspectedAs is who was inspected, completed by what is recorded where the BMC leaves it out now. It is false if that is
// another server, which nobody accepted: what it has is not the host's.
func inspectedAs(host *v1beta1.PhysicalHost, o actuator.Observation) (serverid.Identity, bool) {
	recorded, found := recordedServer(host), o.Inspected()
	if recorded.Compare(found) != serverid.Other {
		return found.Or(recorded), true
	}
	return found, found.IsNamed(acceptedServer(host))
}

// identityVerified says whether the server that answers is the host's, and no other host's.
func identityVerified(host *v1beta1.PhysicalHost, g *gathered) metav1.Condition {
	set := func(status metav1.ConditionStatus, reason, message string) metav1.Condition {
		return condition(v1beta1.IdentityVerifiedCondition, status, reason, message)
	}
	recorded, now := g.brief.Recorded(g.observation), serverid.Identity{UUID: g.observation.State.SystemUUID, Serial: g.observation.State.Serial}
	switch {
	case g.facts.OtherServer:
		return set(metav1.ConditionFalse, v1beta1.ReasonOtherServer, otherServer(host, g))
	case g.duplicateOf != "":
		return set(metav1.ConditionFalse, v1beta1.ReasonDuplicate, duplicate(host, g))
	case g.alsoClaimed != "":
		return set(metav1.ConditionFalse, v1beta1.ReasonDuplicate, fmt.Sprintf(
			"PhysicalHost %s is the same server (%s) and is claimed, too. Nothing is changed at the BMC through it: delete its Machine, then that PhysicalHost", g.alsoClaimed, recorded))
	case !g.facts.Observed:
		return set(metav1.ConditionUnknown, v1beta1.ReasonNotObserved, "the BMC was not read yet")
	case unrecorded(host) && host.Status.Hardware == nil && now.Known():
		return set(metav1.ConditionUnknown, v1beta1.ReasonIdentityNotTold, forgottenServer(host, now))
	case !recorded.Known():
		return set(metav1.ConditionUnknown, v1beta1.ReasonIdentityNotTold, "the BMC tells neither a system UUID nor a serial number that is more than a place holder: the host is known by its address and system alone")
	case recorded.Compare(now) == serverid.Unknown:
		return set(metav1.ConditionUnknown, v1beta1.ReasonIdentityNotTold, fmt.Sprintf(
			"the BMC does not say which server it is, as it did before (%s): nothing is changed until it does. If that lasts, reset the BMC", recorded))
	}
	if unrecorded(host) {
		return set(metav1.ConditionTrue, v1beta1.ReasonIdentityVerified, "compared with status.hardware, as the claim records no server: it is of an older version, and completed once the host is not paused")
	}
	return set(metav1.ConditionTrue, v1beta1.ReasonIdentityVerified, "")
}

// forgottenServer: nothing says any more which server was claimed. A person may know.
func forgottenServer(host *v1beta1.PhysicalHost, found serverid.Identity) string {
	server, err := json.Marshal(map[string]any{"spec": map[string]any{"claim": map[string]any{"server": v1beta1.Server{SystemUUID: found.UUID, SerialNumber: found.Serial}}}})
	if err != nil {
		server = nil // it is text
	}
	return fmt.Sprintf("the claim is of an older version, which recorded no server, and status.hardware was lost: the host is known by its address and system alone. There answers %s; if that is the server that was claimed, have it recorded: kubectl -n %s patch ph %s --type merge -p %s",
		found, host.Namespace, host.Name, shellWord(string(server)))
}

// otherServer tells what was expected, what was found, and what a person does.
func otherServer(host *v1beta1.PhysicalHost, g *gathered) string {
	found := g.observation.Answering
	what := fmt.Sprintf("another server answers at %s: expected %s, found %s. Nothing is changed there. ", host.Spec.RedfishConnection.Address, g.brief.Recorded(g.observation), found)
	if unrecorded(host) {
		what += "Expected is what status.hardware says, as the claim records no server. "
	}
	if host.Spec.Claim != nil {
		return what + fmt.Sprintf("Bring the BMC of the claimed server back to this address. If it is gone, delete its Machine (%s) and end the release unverified when it is overdue; then mend the address, or accept the server that is there", deleteMachine(host, g.machine))
	}
	return what + fmt.Sprintf("Mend spec.redfishConnection.address. If this is the host's server now, such as with a new mainboard: kubectl -n %s annotate ph %s %s=%s --overwrite",
		host.Namespace, host.Name, v1beta1.AcceptServerAnnotation, shellWord(found.Name()))
}

// duplicate tells who has the better right to the server, and what a person does.
func duplicate(host *v1beta1.PhysicalHost, g *gathered) string {
	if host.Spec.Claim == nil {
		return fmt.Sprintf("PhysicalHost %s is the same server: delete one of them, such as this one: kubectl -n %s delete ph %s", g.duplicateOf, host.Namespace, host.Name)
	}
	return fmt.Sprintf("PhysicalHost %s is the same server (%s) and is claimed, too. Nothing is changed at the BMC through this one: delete its Machine (%s), end the release unverified when it is overdue, then delete this PhysicalHost",
		g.duplicateOf, g.brief.Recorded(g.observation), deleteMachine(host, g.machine))
}

// identityDoubt is the condition that says why nothing is done at the BMC for its identity, or nil.
func identityDoubt(host *v1beta1.PhysicalHost, g *gathered) *metav1.Condition {
	c := identityVerified(host, g)
	if g.facts.OtherServer || g.facts.Duplicate || c.Reason == v1beta1.ReasonIdentityNotTold && g.brief.Recorded(g.observation).Known() {
		return &c
	}
	return nil
}

// shellWord makes one word for a shell of what a BMC said.
func shellWord(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// placeOf is where a host's BMC is, and which system there; system is "" until it is known.
func placeOf(h *v1beta1.PhysicalHost, o actuator.Observation) (endpoint, system string) {
	endpoint, err := redfish.EndpointKey(h.Spec.RedfishConnection.Address)
	if err != nil {
		return "", ""
	}
	system = h.Spec.RedfishConnection.SystemID
	if system == "" && h.Status.BMC != nil {
		system = h.Status.BMC.SystemID
	}
	if system == "" && o.Identity != nil {
		system = o.Identity.SystemID
	}
	return endpoint, system
}

// serverIdentities are the names under which other registrations of a host's server can be found: endpoint and system, and what
// the server says of itself.
func serverIdentities(h *v1beta1.PhysicalHost) []string {
	return newTwin(h, actuator.Observation{}).keys
}
