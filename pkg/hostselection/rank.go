package hostselection

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// Rank filters and orders the hosts for one machine. It is pure and keeps nothing of its arguments but the pointers in
// Candidates. The order is total: hosts differ at least by name.
func Rank(algorithm Algorithm, req Request, hosts []*v1beta1.PhysicalHost) Ranking {
	ranking := Ranking{Diagnosis: Diagnosis{Namespace: req.Namespace, Refusals: map[Reason]int{}}}
	filters := chain(&req)
	best := &selection{less: order(algorithm), limit: req.Limit}
	seed := identity(req.Namespace, req.Machine)
	var offered candidate // one for all hosts: it escapes
	for _, host := range hosts {
		if host.Namespace != req.Namespace {
			continue
		}
		ranking.Diagnosis.Total++
		if reason := apply(filters, host); reason != "" {
			ranking.Diagnosis.Refusals[reason]++
			ranking.noteCooling(reason, host)
			continue
		}
		ranking.Diagnosis.Available++
		offered = candidate{
			host:      host,
			preferred: host.Name == req.Preferred && req.Preferred != "",
			score:     rendezvous(seed, host.Name),
			waste:     wasteFor(algorithm, &req.Requirements, host),
		}
		best.offer(&offered)
	}
	ranking.Candidates = best.sorted()
	return ranking
}

func (r *Ranking) noteCooling(reason Reason, host *v1beta1.PhysicalHost) {
	if reason != Cooling {
		return
	}
	if end := cooledAt(host); r.Retry.IsZero() || end.Before(r.Retry) {
		r.Retry = end
	}
}

// candidate is a host that fits, with what the orders compare.
type candidate struct {
	host      *v1beta1.PhysicalHost
	preferred bool
	score     uint64
	waste     int64
}

// compare orders candidates, best first.
type compare func(a, b *candidate) int

// order of the algorithm. The replaced machine's host goes first in all of them, and rendezvous decides ties, so that
// machines do not all run for the same host.
func order(algorithm Algorithm) compare {
	var by compare
	switch algorithm {
	case RoundRobin:
		by = byLastUse
	case Priority:
		by = byPriority
	case Deterministic:
		fallthrough
	default:
		by = func(*candidate, *candidate) int { return 0 }
	}
	return func(a, b *candidate) int {
		if a.preferred != b.preferred {
			if a.preferred {
				return -1
			}
			return 1
		}
		return cmp.Or(by(a, b), cmp.Compare(b.score, a.score), cmp.Compare(a.host.Name, b.host.Name))
	}
}

func byLastUse(a, b *candidate) int { return cmp.Compare(lastUse(a.host), lastUse(b.host)) }

// lastUse in Unix seconds, as the API stores it; a host that was never used comes before all others.
func lastUse(h *v1beta1.PhysicalHost) int64 {
	if h.Status.LastUsed == nil {
		return 0
	}
	return h.Status.LastUsed.Unix()
}

func byPriority(a, b *candidate) int {
	return cmp.Or(
		cmp.Compare(b.host.Spec.Priority, a.host.Spec.Priority),
		cmp.Compare(a.waste, b.waste),
		cmp.Compare(health(b.host), health(a.host)),
	)
}

// What a host has beyond the requirements is wasted; these weights make cores, memory and disk comparable: a core weighs as
// much as 4 GiB of memory or 64 GiB of disk, the usual proportions of a server.
const (
	wastePerCore      = 4
	wasteGiBOfMemory  = 1
	gibOfDiskPerWaste = 16
)

// wasteFor is the weighted excess of the host over the requirements; only the priority algorithm needs it.
func wasteFor(algorithm Algorithm, r *v1beta1.HardwareRequirements, host *v1beta1.PhysicalHost) int64 {
	hw := host.Status.Hardware
	if algorithm != Priority || hw == nil {
		return 0
	}
	var largest int64
	for i := range hw.Disks {
		largest = max(largest, hw.Disks[i].Size.Value())
	}
	const gib = 1 << 30
	return int64(hw.CPU.Cores-r.MinCores)*wastePerCore +
		(hw.Memory.Value()-r.MinMemory.Value())/gib*wasteGiBOfMemory +
		(largest-r.MinDisk.Value())/gib/gibOfDiskPerWaste
}

// selection keeps the best limit candidates (all, if limit is 0 or less) as a heap with the worst on top.
type selection struct {
	less  compare
	limit int
	kept  []candidate
}

func (s *selection) offer(c *candidate) {
	switch {
	case s.limit <= 0:
		s.kept = append(s.kept, *c)
	case len(s.kept) < s.limit:
		heap.Push(s, *c)
	case s.less(c, &s.kept[0]) < 0:
		s.kept[0] = *c
		heap.Fix(s, 0)
	}
}

func (s *selection) sorted() []*v1beta1.PhysicalHost {
	slices.SortFunc(s.kept, func(a, b candidate) int { return s.less(&a, &b) })
	hosts := make([]*v1beta1.PhysicalHost, len(s.kept))
	for i := range s.kept {
		hosts[i] = s.kept[i].host
	}
	return hosts
}

// Len, Less, Swap, Push and Pop are those of heap.Interface.
func (s *selection) Len() int           { return len(s.kept) }
func (s *selection) Less(i, j int) bool { return s.less(&s.kept[i], &s.kept[j]) > 0 }
func (s *selection) Swap(i, j int)      { s.kept[i], s.kept[j] = s.kept[j], s.kept[i] }
func (s *selection) Push(x any)         { s.kept = append(s.kept, x.(candidate)) }
func (s *selection) Pop() any {
	last := s.kept[len(s.kept)-1]
	s.kept = s.kept[:len(s.kept)-1]
	return last
}
