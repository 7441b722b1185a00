package coordinator

import (
	"time"

	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"

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
