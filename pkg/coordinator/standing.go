package coordinator

import (
	"fmt"
	"time"

	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/cluster-api/util/annotations"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// Holding is one host and everything that its claim may depend on.
type Holding struct {
	Host *v1beta1.PhysicalHost
	// Machine of the name in the claim; nil means that there is none.
	Machine *v1beta1.Beskar7Machine
	// Cluster of the name in the claim; nil means that there is none.
	Cluster *clusterv1.Cluster
	Now     time.Time
	// ClaimedSince is when the caller first saw this claim in its present, unsettled position. Grace counts from it.
	ClaimedSince time.Time
	// Grace is how long an unconfirmed or orphaned claim may stay as it is; 0 means DefaultGrace.
	Grace time.Duration
}

// DefaultGrace is long enough for a claim between its two writes, a manager's restart, and `clusterctl move` between the
// creation of hosts and machines.
const DefaultGrace = 5 * time.Minute

// Standing says what a host's claim is worth, and with that what may be done to the host.
type Standing string

const (
	// StandingNone: no claim.
	StandingNone Standing = "None"
	// StandingPaused: host, machine or cluster is paused: no hardware action, no change of the claim.
	StandingPaused Standing = "Paused"
	// StandingConfirmed: claim and hostRef name each other. The only standing in which a machine gets hardware work.
	StandingConfirmed Standing = "Confirmed"
	// StandingUnconfirmed: the machine does not name the claim (yet). No hardware action; wait.
	StandingUnconfirmed Standing = "Unconfirmed"
	// StandingUnconfirmedExpired: still so after the grace time, and the hardware was never touched: clear claim and boot.
	StandingUnconfirmedExpired Standing = "UnconfirmedExpired"
	// StandingReleasing: the release was marked: prove the host off, empty and disarmed, then clear the claim.
	StandingReleasing Standing = "Releasing"
	// StandingOrphaned: the machine is missing without a mark. No hardware action; wait.
	StandingOrphaned Standing = "Orphaned"
	// StandingOrphanExpired: still so after the grace time, unbound, and its Cluster is there and unpaused: release the host.
	StandingOrphanExpired Standing = "OrphanExpired"
	// StandingOrphanBound: still so after the grace time, and bound: quarantine it, running, for a person to decide.
	StandingOrphanBound Standing = "OrphanBound"
)

// Judge says what the host's claim is worth. It is pure. A machine that is being deleted without a mark still confirms its
// claim: the machine controller marks. Before acting on an expired standing, read host, machine and Cluster live and judge
// again: a stale cache must not cost a machine its host.
func Judge(h Holding) Standing {
	claim := h.Host.Spec.Claim
	switch {
	case h.paused():
		return StandingPaused
	case claim == nil:
		return StandingNone
	case claim.Release != nil:
		return StandingReleasing
	case h.Machine != nil && h.Host.ClaimedBy(h.Machine):
		return StandingConfirmed
	case h.Machine != nil && !h.Touched():
		if h.expired() {
			return StandingUnconfirmedExpired
		}
		return StandingUnconfirmed
	case !h.expired():
		if h.Machine != nil {
			return StandingUnconfirmed
		}
		return StandingOrphaned
	case claim.Bound:
		return StandingOrphanBound
	case h.Cluster == nil:
		return StandingOrphaned
	}
	return StandingOrphanExpired
}

// Touched says whether hardware work may have begun for the claim. Then the machine, now of the same name only, does not own
// the claim any more, and clearing it would leave a running server behind: it is treated like an orphan.
func (h Holding) Touched() bool {
	claim := h.Host.Spec.Claim
	booted := h.Host.Status.Booted
	return claim.Bound || claim.Media != nil || claim.PhoneHome != nil || (booted != nil && booted.ClaimID == claim.ID)
}

func (h Holding) expired() bool { return h.Now.Sub(h.ClaimedSince) >= h.grace() }

func (h Holding) grace() time.Duration {
	if h.Grace <= 0 {
		return DefaultGrace
	}
	return h.Grace
}

// paused says whether anyone asked to leave the host alone. Cluster and machine count only for a host with a claim.
func (h Holding) paused() bool {
	if h.Host.Spec.Paused || annotations.HasPaused(h.Host) {
		return true
	}
	if h.Host.Spec.Claim == nil {
		return false
	}
	return h.Machine != nil && annotations.HasPaused(h.Machine) ||
		h.Cluster != nil && ptr.Deref(h.Cluster.Spec.Paused, false)
}

// Words say what the standing means for the host and what to do, in one sentence for a person.
func (h Holding) Words(standing Standing) string {
	if h.Host.Spec.Claim == nil {
		if standing == StandingPaused {
			return "paused: nothing is done to the host until it is unpaused"
		}
		return "not claimed"
	}
	claim := h.Host.Spec.Claim
	grace := h.ClaimedSince.Add(h.grace()).UTC().Format(time.RFC3339)
	switch standing {
	case StandingPaused:
		return fmt.Sprintf("paused: nothing is done to the host or its claim until host, machine %s and cluster %s are unpaused", claim.Machine, claim.Cluster)
	case StandingConfirmed:
		return "claimed by machine " + claim.Machine
	case StandingUnconfirmed:
		return fmt.Sprintf("machine %s does not name claim %s; nothing is done to the host; the claim expires at %s", claim.Machine, claim.ID, grace)
	case StandingUnconfirmedExpired:
		return fmt.Sprintf("machine %s did not confirm claim %s in time; the claim is cleared", claim.Machine, claim.ID)
	case StandingReleasing:
		return fmt.Sprintf("machine %s gave the host back (%s); it is being proven off, empty and disarmed", claim.Machine, claim.Release.Reason)
	case StandingOrphaned:
		return h.orphanWords(grace)
	case StandingOrphanExpired:
		return fmt.Sprintf("machine %s is gone, or names another claim, and its system was never seen running; the host is released", claim.Machine)
	case StandingOrphanBound:
		return fmt.Sprintf("machine %s is gone, or names another claim, and its system may still run: restore the machine; or have the server powered off, emptied and given back: %s", claim.Machine, h.release())
	case StandingNone:
	}
	return "not claimed"
}

// release is the command by which a person asks for what the machine did not.
func (h Holding) release() string {
	return fmt.Sprintf(`kubectl -n %s patch ph %s --type merge -p "{\"spec\":{\"claim\":{\"release\":{\"reason\":\"%s\",\"requestedAt\":\"$(date -u +%%FT%%TZ)\"}}}}"`,
		h.Host.Namespace, h.Host.Name, v1beta1.ReasonOrphaned)
}

func (h Holding) orphanWords(grace string) string {
	claim := h.Host.Spec.Claim
	if h.expired() && h.Cluster == nil {
		return fmt.Sprintf("machine %s and cluster %s are gone without a release; nothing is done to the host: restore them; or have the server powered off, emptied and given back: %s",
			claim.Machine, claim.Cluster, h.release())
	}
	then := "it is released then"
	switch {
	case claim.Bound:
		then = "it is quarantined then, running"
	case h.Cluster == nil:
		then = fmt.Sprintf("nor after it while cluster %s is gone, too", claim.Cluster)
	}
	return fmt.Sprintf("machine %s is gone without a release; nothing is done to the host before %s; %s", claim.Machine, grace, then)
}
