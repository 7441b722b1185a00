package controllers

import (
	"strings"
	"testing"

	"sigs.k8s.io/cluster-api/util/conditions"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/provision"
)

// A boot that is not as it was ordered says what the BMC shows of it.
func TestBootHints(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1beta1.PhysicalHost, *gathered)
		want   string
	}{
		"as ordered":       {func(*v1beta1.PhysicalHost, *gathered) {}, ""},
		"override ignored": {func(_ *v1beta1.PhysicalHost, g *gathered) { g.facts.ArmedOurs = true }, "boot override was not used"},
		"downgraded": {func(_ *v1beta1.PhysicalHost, g *gathered) {
			g.observation.State.Boot.Mode = "Legacy"
		}, "set the boot mode to UEFI"},
		"medium lost":    {func(_ *v1beta1.PhysicalHost, g *gathered) { g.facts.Media = provision.MediaNone }, "not in the BMC's slot any more"},
		"URL expired":    {func(_ *v1beta1.PhysicalHost, g *gathered) { g.mediaExpired, g.facts.Media = true, provision.MediaOther }, "URL has expired"},
		"slots not read": {func(_ *v1beta1.PhysicalHost, g *gathered) { g.facts.Media = provision.MediaUnknown }, ""},
		"off": {func(_ *v1beta1.PhysicalHost, g *gathered) {
			g.facts.Power, g.facts.Media = provision.PowerStateOff, provision.MediaNone
		}, ""},
		"booted before":     {func(h *v1beta1.PhysicalHost, _ *gathered) { h.Status.Booted.Count = 3 }, "his is boot 3"},
		"installer is done": {func(_ *v1beta1.PhysicalHost, g *gathered) { g.facts.Install, g.facts.Media = true, provision.MediaNone }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, overdue := range []bool{false, true} {
				h := claimedHost()
				h.Status.Booted = &v1beta1.BootRecord{ClaimID: claimID, Count: 1}
				g := &gathered{facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld, Power: provision.PowerStateOn, Media: provision.MediaOurs, BootOverdue: overdue}}
				c.change(h, g)
				hostConditions(h, g, provision.Decision{State: provision.Booting})
				ready, booted := conditions.GetMessage(h, v1beta1.ReadyCondition), conditions.GetMessage(h, v1beta1.BootedCondition)
				if !strings.Contains(ready, c.want) || !strings.Contains(booted, c.want) || c.want == "" && booted != "" {
					t.Errorf("overdue %v: Ready says %q, Booted %q", overdue, ready, booted)
				}
			}
		})
	}
	// A bound system that lost its medium says so, and stays ready.
	h := claimedHost()
	h.Spec.Claim.Bound = true
	g := &gathered{facts: provision.Facts{Observed: true, Claim: provision.ClaimHeld, Bound: true, Power: provision.PowerStateOn, Media: provision.MediaNone}}
	hostConditions(h, g, provision.Decision{State: provision.Provisioned})
	if m := conditions.GetMessage(h, v1beta1.BootedCondition); !strings.Contains(m, "inserted again at the next boot") || !conditions.IsTrue(h, v1beta1.ReadyCondition) {
		t.Errorf("Booted says %q", m)
	}
}
