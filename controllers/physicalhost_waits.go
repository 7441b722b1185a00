package controllers

import (
	"fmt"
	"time"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/provision"
)

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
