package controllers

import (
	"fmt"
	"strings"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
)

// bootHints says what the BMC shows of a boot that is not as it was ordered: why a sign of life may fail to come, and what to
// do; "" if all is as it should be. Whatever it says, the boot is tried again when its time is over: off, medium in, armed, on.
func bootHints(host *v1beta1.PhysicalHost, g *gathered) string {
	if g.facts.Power != provision.PowerStateOn || g.facts.Bound && g.facts.Install {
		return ""
	}
	var hints []string
	if b := host.Status.Booted; b != nil && b.Count > 1 && !g.facts.Bound {
		hints = append(hints, fmt.Sprintf("this is boot %d for the claim, and no sign of life came of those before", b.Count))
	}
	if g.facts.ArmedOurs && !g.facts.Lasting && !g.facts.Bound {
		hints = append(hints, "the boot override was not used yet: the firmware is still in its self-test, or ignores it")
	}
	if strings.EqualFold(g.observation.State.Boot.Mode, "Legacy") && !g.facts.Bound {
		hints = append(hints, "the BMC boots in Legacy mode, in which an image for UEFI does not start: set the boot mode to UEFI in the firmware's setup")
	}
	if g.content != nil && !g.facts.Bound {
		if why := bootmedia.Unreported(*g.content); why != "" {
			hints = append(hints, why)
		}
	}
	if g.streamFault != "" {
		hints = append(hints, "the image could not be served to the BMC: "+g.streamFault)
	}
	switch {
	case g.mediaExpired && !g.facts.Bound:
		hints = append(hints, "the medium's URL has expired: the next boot gets a new one")
	case mediumLost(host, g):
		hints = append(hints, "the medium that the system lives on is not in the BMC's slot any more: a console session or a restart of the BMC may have taken it; it is inserted again at the next boot"+otherMedia(g))
	}
	return strings.Join(hints, "; ")
}

// mediumLost says whether the medium that a running Live system lives on was taken by somebody: not while we ourselves take it out,
// for a release or since it came to nothing.
func mediumLost(host *v1beta1.PhysicalHost, g *gathered) bool {
	if g.facts.Install || g.facts.Media == provision.MediaOurs || g.facts.Media == provision.MediaUnknown {
		return false
	}
	if claim := host.Spec.Claim; claim != nil && claim.Release != nil || len(g.observation.Spent) > 0 {
		return false
	}
	op := host.Status.Operation
	return op == nil || !provision.Action(op.Kind).Changes()
}

// otherMedia says what is in the slots instead, if anything is.
func otherMedia(g *gathered) string {
	for _, s := range g.observation.Slots {
		if _, _, ours := bootmedia.HashFromURL(s.Image); !s.Empty() && !ours {
			return " (" + mediumIn(s) + ")"
		}
	}
	return ""
}

func hinted(hints string) string {
	if hints == "" {
		return ""
	}
	return ". " + strings.ToUpper(hints[:1]) + hints[1:]
}
