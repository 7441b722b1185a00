package hostselection

import (
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// filter is one named test of the chain, by what a machine asks for. refuse returns the reason, or "" if the host passes.
type filter struct {
	name   string
	refuse func(*sieve, *card) Reason
}

// sieve is a request, made ready to be put to many hosts: phrases that hold numbers are made here, once, so that refusing a
// host allocates nothing.
type sieve struct {
	req    *Request
	avoid  nameSet
	survey *survey
	// memory and disk that are required, in bytes.
	memory, disk int64
	// words are the reasons that depend on the request.
	words struct{ domain, cores, memory, disk, nics, model, arch Reason }
	// kind are the filters by what the host is, which changes seldom; wanted are those and all others after ownership and claim;
	// special are those of them that enough does not cover.
	kind, wanted, special []filter
	// asks: hardware is asked for at all.
	asks bool
}

// newSieve makes the chain of a request. Without a survey, what depends on other hosts is not asked.
func newSieve(req *Request, seen *survey) *sieve {
	s := &sieve{req: req, avoid: newNameSet(req.Avoid), survey: seen}
	filters := make([]filter, 0, 12)
	if req.Selector != nil && !req.Selector.Empty() {
		filters = append(filters, filter{"selector", refuseSelector})
	}
	if req.FailureDomain != "" {
		s.words.domain = Reason("not in failure domain " + strconv.Quote(req.FailureDomain))
		filters = append(filters, filter{"failure domain", refuseDomain})
	}
	s.kind = s.addHardware(filters)
	filters = s.kind
	if seen != nil && req.spreads() && req.Spread == v1beta1.SpreadHard {
		filters = append(filters, filter{"spread", refuseCrowded})
	}
	if seen != nil && seen.returned > 0 && req.reuses() && req.Reuse == v1beta1.ReuseRequire {
		filters = append(filters, filter{"reuse", refuseOther})
	}
	s.wanted = append(filters, filter{"cool-off", refuseCooling})
	for _, f := range s.wanted {
		if !covered[f.name] {
			s.special = append(s.special, f)
		}
	}
	return s
}

// covered are the filters that enough stands for.
var covered = map[string]bool{"inventory": true, "cores": true, "memory": true, "disk": true, "NICs": true, "cool-off": true}

// enough says in one look that the covered filters let the host pass. It is there for speed: it is true of most.
func (s *sieve) enough(c *card) bool {
	r := &s.req.Requirements
	return c.cooled == 0 && (c.known || !s.asks) && c.cores >= r.MinCores && c.memory >= s.memory && c.disk >= s.disk && c.nics >= r.MinNICs
}

// addHardware appends the filters of the requirements that are set. The first of them refuses hosts without an inventory for all.
func (s *sieve) addHardware(filters []filter) []filter {
	r := &s.req.Requirements
	s.memory, s.disk = amount(&r.MinMemory), amount(&r.MinDisk)
	first := len(filters)
	add := func(name string, word *Reason, reason string, refuse func(*sieve, *card) Reason) {
		*word = Reason(reason)
		filters = append(filters, filter{name, refuse})
	}
	if r.MinCores > 0 {
		add("cores", &s.words.cores, "with too few cores (need "+strconv.Itoa(int(r.MinCores))+")", refuseCores)
	}
	if s.memory > 0 {
		add("memory", &s.words.memory, "with too little memory (need "+size(&r.MinMemory)+")", refuseMemory)
	}
	if s.disk > 0 {
		add("disk", &s.words.disk, "with too small disks (need "+size(&r.MinDisk)+")", refuseDisk)
	}
	if r.MinNICs > 0 {
		add("NICs", &s.words.nics, "with too few NICs (need "+strconv.Itoa(int(r.MinNICs))+")", refuseNICs)
	}
	if len(r.Models) > 0 {
		add("model", &s.words.model, "of another model (need "+strings.Join(r.Models, " or ")+")", refuseModel)
	}
	if r.Architecture != "" {
		add("architecture", &s.words.arch, "of another architecture (need "+r.Architecture+")", refuseArchitecture)
	}
	if s.asks = len(filters) > first; s.asks {
		filters = slices.Insert(filters, first, filter{"inventory", refuseUnknown})
	}
	return filters
}

// refuse is the whole chain.
func (s *sieve) refuse(c *card) Reason {
	if c.standing != "" {
		return c.standing
	}
	if s.avoid.has(c) {
		return Claimed
	}
	if s.enough(c) {
		return s.first(s.special, c)
	}
	return s.first(s.wanted, c)
}

func (s *sieve) first(filters []filter, c *card) Reason {
	for i := range filters {
		if reason := filters[i].refuse(s, c); reason != "" {
			return reason
		}
	}
	return ""
}

func refuseSelector(s *sieve, c *card) Reason {
	return when(!s.req.Selector.Matches(labels.Set(c.host.Labels)), SelectorMismatch)
}

func refuseDomain(s *sieve, c *card) Reason {
	return when(c.host.Spec.FailureDomain != s.req.FailureDomain, s.words.domain)
}

func refuseUnknown(_ *sieve, c *card) Reason { return when(!c.known, UnknownHardware) }

// short is the refusal of a host that has too little of something, or of which that is not known: a BMC that publishes no drives, as
// some do of a server that is off, does not say that there are none. An unknown inventory was refused as such: it lacks nothing in
// particular.
func short(c *card, unknown, tooLittle bool, words Reason) Reason {
	switch {
	case !c.known:
		return ""
	case unknown:
		return UnknownHardware
	}
	return when(tooLittle, words)
}

func refuseCores(s *sieve, c *card) Reason {
	return short(c, c.cores == 0, c.cores < s.req.Requirements.MinCores, s.words.cores)
}

func refuseMemory(s *sieve, c *card) Reason {
	return short(c, c.memory == 0, c.memory < s.memory, s.words.memory)
}

func refuseDisk(s *sieve, c *card) Reason {
	return short(c, c.disk == 0, c.disk < s.disk, s.words.disk)
}

func refuseNICs(s *sieve, c *card) Reason {
	return short(c, c.nics == 0, c.nics < s.req.Requirements.MinNICs, s.words.nics)
}

func refuseModel(s *sieve, c *card) Reason {
	if !c.known {
		return ""
	}
	model := c.host.Status.Hardware.Model
	return short(c, model == "", !slices.Contains(s.req.Requirements.Models, model), s.words.model)
}

func refuseArchitecture(s *sieve, c *card) Reason {
	return short(c, c.arch == "", c.arch != s.req.Requirements.Architecture, s.words.arch)
}

func refuseCrowded(s *sieve, c *card) Reason {
	if c.domain == 0 {
		return NoDomain
	}
	return when(s.survey.domains[c.domain].peers > s.survey.least, CrowdedDomain)
}

func refuseOther(s *sieve, c *card) Reason {
	return when(c.former != s.survey.set, NotTheReplacedHost)
}

func refuseCooling(s *sieve, c *card) Reason {
	return when(c.cooled != 0 && s.req.Now.Before(cooledAt(c.host)), Cooling)
}

// size as the user wrote it, with the unit spelled out: 64Gi is "64 GiB", 500G is "500 GB".
func size(q *resource.Quantity) string {
	text := q.String()
	digits := strings.TrimRight(text, "KMGTPEki")
	switch unit := text[len(digits):]; {
	case unit != "":
		return digits + " " + unit + "B"
	case strings.Trim(digits, "0123456789") == "":
		return digits + " bytes"
	}
	return text
}

// nameSet is a set of names with a quick no: a map that is asked for each of ten thousand hosts is what takes the time.
type nameSet struct {
	names map[string]bool
	marks uint64
}

func newNameSet(names map[string]bool) nameSet {
	set := nameSet{names: names}
	for name := range names {
		set.marks |= 1 << (hash(hashOffset, name) % 64)
	}
	return set
}

func (s *nameSet) has(c *card) bool { return s.marks>>(c.hash%64)&1 != 0 && s.names[c.name] }
