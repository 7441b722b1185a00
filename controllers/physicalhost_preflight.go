package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/redfish"
)

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

func takesDisc(s v1beta1.MediaSlot) bool {
	return s.CanInsert && (len(s.Types) == 0 || slices.ContainsFunc(s.Types, func(t string) bool { return strings.EqualFold(t, "CD") || strings.EqualFold(t, "DVD") }))
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
