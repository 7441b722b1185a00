package controllers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/actuator"
	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
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

// Pauses between the boots of a row, counted from one boot to the next: a server that switches itself off is not booted again at
// once, and ever less often.
const (
	firstPause   = 30 * time.Second
	longestPause = 10 * time.Minute
)

func pauseAfter(boots int32) time.Duration {
	if boots < 1 {
		return 0
	}
	return min(firstPause<<min(boots-1, 10), longestPause)
}

// defaultMaxBoots is for a reconciler that is not told.
const defaultMaxBoots = 5

func (r *PhysicalHostReconciler) maxBoots() int32 {
	if r.MaxBoots == nil {
		return defaultMaxBoots
	}
	return int32(r.MaxBoots()) //nolint:gosec // the setting has a small range
}

// gatherBoots says whether the next boot of a claim has to wait, or may not be. Without a record, as after a lost status, the
// count begins again: some boots too many do no harm, as each of them is judged by itself.
func (r *PhysicalHostReconciler) gatherBoots(host *v1beta1.PhysicalHost, g *gathered) {
	f, b := &g.brief.Facts, host.Status.Booted
	at := bootedAt(host, g.observation)
	if b == nil || b.ClaimID != host.Spec.Claim.ID || at.IsZero() || rowEnded(host) {
		return
	}
	g.boots = b.Count
	if at.Truncate(time.Second).After(b.At.Time) {
		g.boots++ // seen, and not written yet
	}
	g.rowOverdue = !b.First.IsZero() && !r.Clock.Now().Before(b.First.Add(bootTimeout(host)))
	if f.BootsSpent = g.boots >= r.maxBoots(); f.BootsSpent {
		return
	}
	g.nextBoot = at.Add(pauseAfter(g.boots))
	f.BootResting = r.Clock.Now().Before(g.nextBoot)
	g.deadlines = append(g.deadlines, g.nextBoot)
}

// rowEnded says whether the next boot is the first of a new row: its owner changed something or asks for a retry, or the system
// of a bound host stayed up as long as a boot may take.
func rowEnded(host *v1beta1.PhysicalHost) bool {
	b := host.Status.Booted
	stayed := host.Spec.Claim.Bound && b.OffAt != nil && b.OffAt.Sub(b.At.Time) >= bootTimeout(host)
	return stayed || retryAsked(host) || b.Wish != "" && b.Wish != wishOf(host)
}

func retryAsked(host *v1beta1.PhysicalHost) bool {
	v := host.Annotations[v1beta1.RetryNowAnnotation]
	return v != "" && v != host.Status.RetryNow
}

// wishOf is a digest of what the owner of a host writes in its spec.
func wishOf(host *v1beta1.PhysicalHost) string {
	spec := host.Spec
	spec.Claim, spec.Boot, spec.LastTenant, spec.Quarantine, spec.Paused = nil, nil, nil, nil, false
	text, err := json.Marshal(spec)
	if err != nil {
		return "" // it came from JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// reportBoots keeps what was observed of the boots for the present claim.
func reportBoots(host *v1beta1.PhysicalHost, g *gathered, d provision.Decision, retry bool, now metav1.Time) {
	s, claim := &host.Status, host.Spec.Claim
	if claim == nil {
		s.Booted = nil
		return
	}
	if b := s.Booted; b != nil && b.ClaimID == claim.ID {
		restartRow(host, b, retry || d.Action == provision.MarkBound)
	}
	at, seen := g.observation.Boots[claim.ID]
	ours := g.facts.Media == provision.MediaOurs && g.facts.Power == provision.PowerStateOn && (!g.facts.Armed || g.facts.ArmedOurs)
	switch b := s.Booted; {
	case seen && (b == nil || b.ClaimID != claim.ID || at.Truncate(time.Second).After(b.At.Time)):
		countBoot(host, metav1.NewTime(at.Truncate(time.Second)), now)
	case !seen && ours && b == nil, ranAgain(host, g.observation):
		countBoot(host, now, now) // the record was lost; the medium is in, and the override was used. Or the boot was not recorded
	}
	if b := s.Booted; b != nil && b.ClaimID == claim.ID && b.OffAt == nil && fellSilent(g.observation, b) {
		b.OffAt = ptr.To(metav1.NewTime(g.observation.At.Truncate(time.Second)))
	}
}

// restartRow lets the boots be counted anew: on request, for another wish, and once a row has ended.
func restartRow(host *v1beta1.PhysicalHost, b *v1beta1.BootRecord, asked bool) {
	if asked || b.Wish != "" && b.Wish != wishOf(host) {
		b.Count, b.First, b.Wish = 0, metav1.Time{}, wishOf(host)
	}
	if rowEnded(host) {
		b.Count, b.First = 0, metav1.Time{}
	}
}

// ranAgain: an unbound server that was off after its last boot is on, and that boot is not counted: a process that ended before it
// saw it ordered it, or a person did.
func ranAgain(host *v1beta1.PhysicalHost, o actuator.Observation) bool {
	claim, b := host.Spec.Claim, host.Status.Booted
	return !claim.Bound && b != nil && b.ClaimID == claim.ID && b.OffAt != nil && o.State.Power == redfish.PowerOn && o.At.After(b.OffAt.Time) &&
		!o.Boots[claim.ID].Truncate(time.Second).After(b.At.Time)
}

// fellSilent: the server was read off after its boot, and not by one slip of its BMC.
func fellSilent(o actuator.Observation, b *v1beta1.BootRecord) bool {
	return o.Steady && o.State.Power == redfish.PowerOff && o.At.Truncate(time.Second).After(b.At.Time)
}

func countBoot(host *v1beta1.PhysicalHost, at, now metav1.Time) {
	s, id := &host.Status, host.Spec.Claim.ID
	b := &v1beta1.BootRecord{ClaimID: id, At: at, Count: 1, First: at, Wish: wishOf(host)}
	if before := s.Booted; before == nil || before.ClaimID != id {
		s.LastUsed = ptr.To(now)
	} else if before.Count > 0 {
		b.Count = before.Count + 1
		if !before.First.IsZero() {
			b.First = before.First
		}
	}
	s.Booted = b
}

// reportPause shows when a boot that has to wait is due.
func reportPause(s *v1beta1.PhysicalHostStatus, host *v1beta1.PhysicalHost, g *gathered, d provision.Decision) {
	if g.facts.Power != provision.PowerStateOff || d.Action != provision.None || g.facts.Claim != provision.ClaimHeld {
		return
	}
	switch {
	case d.State == provision.BootFailed:
		s.Attempts = g.boots
	case d.Resting():
		s.Attempts, s.NextAttempt = g.boots, ptr.To(metav1.NewTime(g.nextBoot.Truncate(time.Second)))
		s.Operation = &v1beta1.HostOperation{Kind: string(provision.PowerOn), Phase: phaseBackingOff, Since: metav1.NewTime(g.now), LastError: silence(host)}
		if b := s.Booted; b != nil && b.OffAt != nil {
			s.Operation.Since = *b.OffAt
		}
	}
}
