package hostselection

import (
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// Algorithm orders the hosts that fit. Its values are those of the setting hostSelection.algorithm.
type Algorithm string

const (
	// Deterministic orders by rendezvous hashing of the machine's identity. It is used for any unknown value.
	Deterministic Algorithm = "deterministic"
	// RoundRobin takes the least recently used host first; never used ones before all.
	RoundRobin Algorithm = "round-robin"
	// Priority takes the highest spec.priority, then the least waste, then the best health score.
	Priority Algorithm = "priority"
)

// Request is what one machine needs.
type Request struct {
	// Namespace and Machine are the identity that the order depends on. Hosts of other namespaces are ignored.
	Namespace, Machine string
	// Selector of the machine; nil matches every host.
	Selector labels.Selector
	// Requirements that the recorded inventory must meet.
	Requirements v1beta1.HardwareRequirements
	// FailureDomain that the host must be in; empty means any.
	FailureDomain string
	// Preferred is the host of the machine that this one replaces: first in the order if it fits.
	Preferred string
	// Require refuses every host but Preferred.
	Require bool
	// Avoid holds names of hosts that were lost or are being claimed by someone else right now. They count as claimed.
	Avoid map[string]bool
	// Now is the time against which the cool-off after failures is measured.
	Now time.Time
	// Limit is how many candidates the caller will try at most; 0 means all. A small limit makes ranking cheap.
	Limit int
}

// Ranking is the answer for one Request.
type Ranking struct {
	// Candidates fit; best first; at most Request.Limit. They are the pointers that were passed in.
	Candidates []*v1beta1.PhysicalHost
	// Diagnosis counts all hosts, also those cut off by Limit.
	Diagnosis Diagnosis
	// Retry is when time alone makes a refused host eligible (its cool-off ends); zero if time alone changes nothing.
	Retry time.Time
}

// Reason says why a host will not do, as a phrase that follows a number: "4 claimed". It may hold a number of the request
// ("with too little memory (need 64Gi)"), never one of a host. Empty means that the host fits.
type Reason string

// Reasons that do not depend on the request. Those of requirements are made by the filters.
const (
	Deleting           Reason = "being deleted"
	Paused             Reason = "paused"
	Maintenance        Reason = "in maintenance"
	Quarantined        Reason = "quarantined"
	Claimed            Reason = "claimed"
	NotReady           Reason = "not ready"
	PoweredOn          Reason = "powered on without consent to erase"
	NotEmpty           Reason = "with foreign media or boot override"
	Duplicate          Reason = "registered twice"
	Cooling            Reason = "cooling off after failures"
	SelectorMismatch   Reason = "do not match the selector"
	UnknownHardware    Reason = "with unknown hardware"
	NotTheReplacedHost Reason = "not the host of the replaced machine"
)

// Diagnosis sums up why hosts fit or not.
type Diagnosis struct {
	// Namespace that was searched.
	Namespace string
	// Total is the number of hosts in it; Available of them fit.
	Total, Available int
	// Refusals counts hosts by the first filter that refused them.
	Refusals map[Reason]int
}
