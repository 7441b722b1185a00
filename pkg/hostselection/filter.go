package hostselection

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// Cool-off: a host whose health score is below HealthyScore is left alone for CoolOff after its last failure, so that one bad
// server does not eat every machine in turn. It ends by itself: a pool of one must get its second chance.
const (
	HealthyScore = 50
	CoolOff      = 10 * time.Minute
)

// filter is one named test of the chain. refuse returns the reason, or "" if the host passes.
type filter struct {
	name   string
	refuse func(*v1beta1.PhysicalHost) Reason
}

// chain builds the filters of a request. Their order decides which reason is counted for a host that fails several: what its
// owner or a controller decided about it comes before what this machine happens to need. Phrases that hold numbers are made
// here, once, so that refusing a host allocates nothing.
func chain(req *Request) []filter {
	filters := []filter{
		{"deletion", refuseDeleting},
		{"pause", refusePaused},
		{"maintenance", refuseMaintenance},
		{"quarantine", refuseQuarantined},
		{"claim", refuseClaimed(req.Avoid)},
		{"state", refuseState},
	}
	if req.Selector != nil && !req.Selector.Empty() {
		filters = append(filters, filter{"selector", refuseSelector(req.Selector)})
	}
	if req.FailureDomain != "" {
		filters = append(filters, filter{"failure domain", refuseDomain(req.FailureDomain)})
	}
	filters = append(filters, hardwareFilters(&req.Requirements)...)
	if req.Require {
		filters = append(filters, filter{"replacement", refuseOther(req.Preferred)})
	}
	return append(filters, filter{"cool-off", refuseCooling(req.Now)})
}

// Refusal says why the host will not do for the request, or "" if it fits. It is the same chain that Rank applies; claims
// are checked with it again on the host as read live.
func Refusal(req Request, host *v1beta1.PhysicalHost) Reason {
	if host.Namespace != req.Namespace {
		return NotReady
	}
	return apply(chain(&req), host)
}

// Verdict is what one filter says of one host; Reason is empty if the host passes.
type Verdict struct {
	Filter string
	Reason Reason
}

// Explain applies every filter of the request to the host, also those after the first refusal.
func Explain(req Request, host *v1beta1.PhysicalHost) []Verdict {
	filters := chain(&req)
	verdicts := make([]Verdict, len(filters))
	for i, f := range filters {
		verdicts[i] = Verdict{Filter: f.name, Reason: f.refuse(host)}
	}
	return verdicts
}

func apply(filters []filter, host *v1beta1.PhysicalHost) Reason {
	for i := range filters {
		if reason := filters[i].refuse(host); reason != "" {
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

func refuseDeleting(h *v1beta1.PhysicalHost) Reason {
	return when(!h.DeletionTimestamp.IsZero(), Deleting)
}

// refusePaused also believes the Paused condition: the annotation that causes it belongs to Cluster API, not to this package.
func refusePaused(h *v1beta1.PhysicalHost) Reason {
	return when(h.Spec.Paused || meta.IsStatusConditionTrue(h.Status.Conditions, v1beta1.PausedCondition), Paused)
}

func refuseMaintenance(h *v1beta1.PhysicalHost) Reason { return when(h.Spec.Maintenance, Maintenance) }

func refuseQuarantined(h *v1beta1.PhysicalHost) Reason {
	return when(h.Spec.Quarantine != nil, Quarantined)
}

func refuseClaimed(avoid map[string]bool) func(*v1beta1.PhysicalHost) Reason {
	return func(h *v1beta1.PhysicalHost) Reason {
		return when(h.Spec.Claim != nil || avoid[h.Name], Claimed)
	}
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

func refuseSelector(selector labels.Selector) func(*v1beta1.PhysicalHost) Reason {
	return func(h *v1beta1.PhysicalHost) Reason {
		return when(!selector.Matches(labels.Set(h.Labels)), SelectorMismatch)
	}
}

func refuseDomain(domain string) func(*v1beta1.PhysicalHost) Reason {
	reason := Reason("not in failure domain " + strconv.Quote(domain))
	return func(h *v1beta1.PhysicalHost) Reason { return when(h.Spec.FailureDomain != domain, reason) }
}

func refuseOther(preferred string) func(*v1beta1.PhysicalHost) Reason {
	return func(h *v1beta1.PhysicalHost) Reason { return when(h.Name != preferred, NotTheReplacedHost) }
}

func refuseCooling(now time.Time) func(*v1beta1.PhysicalHost) Reason {
	return func(h *v1beta1.PhysicalHost) Reason { return when(now.Before(cooledAt(h)), Cooling) }
}

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

// hardwareFilters are the requirements that are set. The first refuses hosts without an inventory for all of them.
func hardwareFilters(r *v1beta1.HardwareRequirements) []filter {
	var filters []filter
	add := func(name string, reason string, lacks func(*v1beta1.Hardware) bool) {
		phrase := Reason(reason)
		filters = append(filters, filter{name, func(h *v1beta1.PhysicalHost) Reason {
			if h.Status.Hardware == nil {
				return UnknownHardware
			}
			return when(lacks(h.Status.Hardware), phrase)
		}})
	}
	if r.MinCores > 0 {
		add("cores", "with too few cores (need "+strconv.Itoa(int(r.MinCores))+")",
			func(hw *v1beta1.Hardware) bool { return hw.CPU.Cores < r.MinCores })
	}
	if !r.MinMemory.IsZero() {
		add("memory", "with too little memory (need "+r.MinMemory.String()+")",
			func(hw *v1beta1.Hardware) bool { return hw.Memory.Cmp(r.MinMemory) < 0 })
	}
	if !r.MinDisk.IsZero() {
		add("disk", "with too small disks (need "+r.MinDisk.String()+")", func(hw *v1beta1.Hardware) bool {
			return !slices.ContainsFunc(hw.Disks, func(d v1beta1.Disk) bool { return d.Size.Cmp(r.MinDisk) >= 0 })
		})
	}
	if r.MinNICs > 0 {
		add("NICs", "with too few NICs (need "+strconv.Itoa(int(r.MinNICs))+")",
			func(hw *v1beta1.Hardware) bool { return len(hw.NICs) < int(r.MinNICs) })
	}
	if len(r.Models) > 0 {
		add("model", "of another model (need "+strings.Join(r.Models, " or ")+")",
			func(hw *v1beta1.Hardware) bool { return !slices.Contains(r.Models, hw.Model) })
	}
	if r.Architecture != "" {
		add("architecture", "of another architecture (need "+r.Architecture+")",
			func(hw *v1beta1.Hardware) bool { return hw.CPU.Architecture != r.Architecture })
	}
	return filters
}
