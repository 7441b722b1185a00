package hostselection

import (
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// Algorithm orders the hosts that fit. Its values are those of the setting hostSelection.algorithm. It may differ from call to
// call: no algorithm remembers anything, so a switch counts from the next choice on.
type Algorithm string

const (
	// Deterministic orders by rendezvous hashing of the machine's identity. It is used for any unknown value.
	Deterministic Algorithm = "deterministic"
	// RoundRobin takes the least recently used failure domain, and in it the least recently used host; never used ones before
	// all. What was used when is recorded on the hosts; see LastUse.
	RoundRobin Algorithm = "round-robin"
	// Priority takes the host with the highest weighted sum of Factors.
	Priority Algorithm = "priority"
)

// Request is what one machine needs.
type Request struct {
	// Namespace and Machine are the identity that the order depends on. Hosts of other namespaces are ignored.
	Namespace, Machine string
	// Cluster and Owner, as in claims, name the set of machines that the machine belongs to. The machines of the set are its
	// peers; without an Owner it has none.
	Cluster, Owner string
	// Selector of the machine; nil matches every host.
	Selector labels.Selector
	// Requirements that the recorded inventory must meet.
	Requirements v1beta1.HardwareRequirements
	// FailureDomain that the host must be in, always; empty means any, and then Spread counts.
	FailureDomain string
	// Spread over the failure domains, by the number of hosts that peers hold there. Soft takes hosts in the least used domains
	// first; Hard refuses all others, and hosts without a domain. A domain counts as long as it has a host that matches the
	// selector and the requirements and is not being deleted, in maintenance or quarantined; a claimed one will do.
	Spread v1beta1.SpreadMode
	// Reuse of hosts that a peer gave back, and that nobody had since. Prefer takes them first. Require refuses all others as
	// long as there is such a host, or one that a peer is just giving back; without any there is nothing to wait for.
	Reuse v1beta1.ReuseMode
	// Avoid holds names of hosts that were lost or are being claimed by someone else right now. They count as claimed.
	Avoid map[string]bool
	// Peers holds names of hosts that are being claimed for peers right now, although the hosts do not say so yet.
	Peers map[string]bool
	// Now is the time against which the cool-off after failures is measured.
	Now time.Time
	// Limit is how many candidates the caller will try at most; 0 means all. A small limit makes ranking cheap.
	Limit int
}

// surveys says whether the choice depends on who holds what.
func (r *Request) surveys(algorithm Algorithm) bool {
	return algorithm == RoundRobin || r.Owner != "" && (algorithm == Priority || r.spreads() || r.reuses())
}

// DependsOnOthers says whether a host may come to fit, or cease to, because of another host: it is not only the order that
// depends on others.
func (r *Request) DependsOnOthers() bool {
	return r.spreads() && r.Spread == v1beta1.SpreadHard || r.reuses() && r.Reuse == v1beta1.ReuseRequire
}

// spreads says whether spreading has any effect: what the Machine's own failure domain says is never overruled.
func (r *Request) spreads() bool {
	return r.Owner != "" && r.FailureDomain == "" && (r.Spread == v1beta1.SpreadSoft || r.Spread == v1beta1.SpreadHard)
}

func (r *Request) reuses() bool {
	return r.Owner != "" && (r.Reuse == v1beta1.ReusePrefer || r.Reuse == v1beta1.ReuseRequire)
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
// ("with too little memory (need 64 GiB)"), never one of a host. Empty means that the host fits.
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
	NoDomain           Reason = "without a failure domain to spread over"
	CrowdedDomain      Reason = "in failure domains with more machines than others"
	NotTheReplacedHost Reason = "not given back by the replaced machine"
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
