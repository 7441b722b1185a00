package hostselection

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// card is what choosing has to know of one host, made once when the host changes, and small: going through ten thousand hosts
// takes as long as it takes to bring them into the processor's cache, and a PhysicalHost with all that hangs on it is large.
type card struct {
	host *v1beta1.PhysicalHost
	name string
	// hash of the name.
	hash uint64
	// standing is why no machine may have the host, whatever it asks for; empty if any may.
	standing Reason
	arch     string
	// memory and disk, the largest one, in bytes.
	memory, disk int64
	// cooled is the end of the cool-off in nanoseconds since 1970; 0: none.
	cooled int64
	// used is LastUse in microseconds since 1970; 0: never.
	used        int64
	cores, nics int32
	priority    int32
	health      int32
	// domain is the failure domain; holder is the set of machines whose claim is on the host, former that which gave back a host that
	// nobody had since; numbers of the pool, 0 for none.
	domain, holder, former int32
	// known: it has an inventory. lasting: it is neither being deleted nor in maintenance or quarantine. releasing: its claim ends.
	known, lasting, releasing bool
}

// fill makes the card of a host.
func (c *card) fill(h *v1beta1.PhysicalHost, domains, sets *numbers) {
	*c = card{
		host: h, name: h.Name, hash: hash(hashOffset, h.Name), standing: standing(h),
		used: micros(LastUse(h)), priority: h.Spec.Priority, health: health(h), domain: domains.of(h.Spec.FailureDomain),
		lasting: h.DeletionTimestamp.IsZero() && !h.Spec.Maintenance && h.Spec.Quarantine == nil,
	}
	if end := cooledAt(h); !end.IsZero() {
		c.cooled = end.UnixNano()
	}
	if claim := h.Spec.Claim; claim != nil {
		c.holder = sets.of(setName(claim.Cluster, claim.Owner))
		c.releasing = claim.Release != nil
	} else if last := h.Spec.LastTenant; last != nil {
		c.former = sets.of(setName(last.Cluster, last.Owner))
	}
	if hw := h.Status.Hardware; hw != nil {
		c.known = true
		c.arch, c.cores, c.nics, c.memory = hw.CPU.Architecture, hw.CPU.Cores, int32(len(hw.NICs)), amount(&hw.Memory) //nolint:gosec // a server has few
		for i := range hw.Disks {
			c.disk = max(c.disk, amount(&hw.Disks[i].Size))
		}
	}
}

// ownership are the filters that come before all others: what its owner or a controller decided about a host is told before
// what this machine happens to need. They ask the host alone.
var ownership = []struct {
	name   string
	refuse func(*v1beta1.PhysicalHost) Reason
}{
	{"deletion", func(h *v1beta1.PhysicalHost) Reason { return when(!h.DeletionTimestamp.IsZero(), Deleting) }},
	{"pause", refusePaused},
	{"maintenance", func(h *v1beta1.PhysicalHost) Reason { return when(h.Spec.Maintenance, Maintenance) }},
	{"quarantine", func(h *v1beta1.PhysicalHost) Reason { return when(h.Spec.Quarantine != nil, Quarantined) }},
	{"claim", func(h *v1beta1.PhysicalHost) Reason { return when(h.Spec.Claim != nil, Claimed) }},
	{"state", refuseState},
}

// standing is the first refusal of ownership.
func standing(h *v1beta1.PhysicalHost) Reason {
	for i := range ownership {
		if reason := ownership[i].refuse(h); reason != "" {
			return reason
		}
	}
	return ""
}

func when(refused bool, reason Reason) Reason {
	if refused {
		return reason
	}
	return ""
}

// refusePaused also believes the Paused condition: the annotation that causes it belongs to Cluster API, not to this package.
func refusePaused(h *v1beta1.PhysicalHost) Reason {
	return when(h.Spec.Paused || meta.IsStatusConditionTrue(h.Status.Conditions, v1beta1.PausedCondition), Paused)
}

// refuseState wants Available to be True. What lasts until a person acts is named; what passes by itself is "not ready", so
// that a host on its way through inspection or a BMC that comes and goes does not rewrite the sentence.
func refuseState(h *v1beta1.PhysicalHost) Reason {
	available := meta.FindStatusCondition(h.Status.Conditions, v1beta1.AvailableCondition)
	if available == nil {
		return NotReady
	}
	if available.Status == "True" {
		return ""
	}
	switch available.Reason {
	case v1beta1.ReasonPoweredOn:
		return PoweredOn
	case v1beta1.ReasonForeignMedia, v1beta1.ReasonBootOverrideSet:
		return NotEmpty
	case v1beta1.ReasonDuplicate:
		return Duplicate
	default:
		return NotReady
	}
}

// Offered says whether the host is, or will be without a person's help, one that some machine may claim: a BMC that is away for
// a while or a release that is under way do not count against it.
func Offered(h *v1beta1.PhysicalHost) bool {
	released := *h
	if claim := h.Spec.Claim; claim != nil && claim.Release != nil {
		released.Spec.Claim = nil
		released.Status.Conditions = nil
	}
	reason := standing(&released)
	return reason == "" || reason == NotReady || reason == Paused
}

// Cool-off: a host whose health score is below HealthyScore is left alone for CoolOff after its last failure, so that one bad
// server does not eat every machine in turn. It ends by itself: a pool of one must get its second chance.
const (
	HealthyScore = 50
	CoolOff      = 10 * time.Minute
)

// cooledAt is the end of the host's cool-off; the zero time if it needs none.
func cooledAt(h *v1beta1.PhysicalHost) time.Time {
	if h.Status.LastFailure == nil || health(h) >= HealthyScore {
		return time.Time{}
	}
	return h.Status.LastFailure.Add(CoolOff)
}

// health of a host without a score is full: nothing is known against it.
func health(h *v1beta1.PhysicalHost) int32 {
	if h.Status.HealthScore == nil {
		return 100
	}
	return *h.Status.HealthScore
}

// LastUse is when the host was last claimed, booted or given back, whichever is known and latest; zero if it never was. The
// claim and its end are recorded in spec, so they survive restarts, changes of the leader and clusterctl move.
func LastUse(h *v1beta1.PhysicalHost) time.Time {
	var last time.Time
	note := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	if h.Status.LastUsed != nil {
		note(h.Status.LastUsed.Time)
	}
	if h.Spec.Claim != nil && h.Spec.Claim.ClaimedAt != nil {
		note(h.Spec.Claim.ClaimedAt.Time)
	}
	if h.Spec.LastTenant != nil {
		note(h.Spec.LastTenant.ReleasedAt.Time)
	}
	return last
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// amount is a quantity in whole units, rounded up.
func amount(q *resource.Quantity) int64 {
	if n, exact := q.AsInt64(); exact {
		return n
	}
	return q.Value()
}

// setName is empty for a machine of its own; a NUL, which no name may hold, keeps the parts apart.
func setName(cluster, owner string) string {
	if owner == "" {
		return ""
	}
	return cluster + "\x00" + owner
}

// numbers stand for names, from 1; 0 is the empty name. They are given once and kept: there are few racks and owners.
type numbers struct {
	known map[string]int32
	names []string
}

func (n *numbers) of(name string) int32 {
	if name == "" {
		return 0
	}
	if number, known := n.known[name]; known {
		return number
	}
	if n.known == nil {
		n.known, n.names = map[string]int32{}, []string{""}
	}
	number := int32(len(n.names)) //nolint:gosec // as many as racks or owners
	n.known[name], n.names = number, append(n.names, name)
	return number
}

// find is the number of a name, -1 if it has none.
func (n *numbers) find(name string) int32 {
	if name == "" {
		return 0
	}
	if number, known := n.known[name]; known {
		return number
	}
	return -1
}
