package hostselection

import (
	"github.com/beskar7/beskar7/api/v1beta1"
)

// Pool holds the hosts of one namespace, ready to be chosen from. It is as good as what it was told; it must not be told and asked
// at the same time, but may be asked by many at once. Hosts that it was given must not be changed any more.
type Pool struct {
	namespace     string
	cards         []card
	place         map[string]int
	domains, sets numbers
}

// NewPool makes a pool of those of the hosts that are in the namespace.
func NewPool(namespace string, hosts ...*v1beta1.PhysicalHost) *Pool {
	p := &Pool{namespace: namespace, cards: make([]card, 0, len(hosts)), place: make(map[string]int, len(hosts))}
	for _, host := range hosts {
		p.Set(host)
	}
	return p
}

// Set adds a host, or replaces the one of its name. A host of another namespace is ignored.
func (p *Pool) Set(host *v1beta1.PhysicalHost) {
	if host.Namespace != p.namespace {
		return
	}
	at, there := p.place[host.Name]
	if !there {
		at = len(p.cards)
		p.place[host.Name] = at
		p.cards = append(p.cards, card{})
	}
	p.cards[at].fill(host, &p.domains, &p.sets)
}

// Remove takes a host out.
func (p *Pool) Remove(name string) {
	at, there := p.place[name]
	if !there {
		return
	}
	last := len(p.cards) - 1
	p.cards[at] = p.cards[last]
	p.place[p.cards[at].name] = at
	p.cards[last] = card{}
	p.cards = p.cards[:last]
	delete(p.place, name)
}

// Host of that name as the pool knows it; nil if there is none.
func (p *Pool) Host(name string) *v1beta1.PhysicalHost {
	if at, there := p.place[name]; there {
		return p.cards[at].host
	}
	return nil
}

// Len is the number of hosts.
func (p *Pool) Len() int { return len(p.cards) }

// Refusal says why the host of that name will not do for the request, now and with all others as they are; empty if it fits.
func (p *Pool) Refusal(req Request, name string) Reason {
	at, there := p.place[name]
	if !there || req.Namespace != p.namespace {
		return NotReady
	}
	return newSieve(&req, p.survey(&req, Deterministic, "")).refuse(&p.cards[at])
}

// Rank filters and orders the hosts for one machine. The order is total, and the same in every pool with the same hosts.
func (p *Pool) Rank(algorithm Algorithm, req Request) Ranking {
	ranking := Ranking{Diagnosis: Diagnosis{Namespace: req.Namespace, Refusals: map[Reason]int{}}}
	if req.Namespace != p.namespace {
		return ranking
	}
	seen := p.survey(&req, algorithm, "")
	sieve, judge := newSieve(&req, seen), newJudge(algorithm, &req, seen)
	best := selection{limit: req.Limit}
	var refused tally
	var offered candidate
	var cooled int64
	for i := range p.cards {
		c := &p.cards[i]
		if reason := sieve.refuse(c); reason != "" {
			refused.count(reason)
			if reason == Cooling && (cooled == 0 || c.cooled < cooled) {
				cooled, ranking.Retry = c.cooled, cooledAt(c.host)
			}
			continue
		}
		ranking.Diagnosis.Available++
		if last := best.last(); last != nil && judge.cannotBeat(c, last) {
			continue
		}
		offered.card = c
		judge.rate(c, &offered.key)
		best.offer(&offered)
	}
	ranking.Diagnosis.Total = len(p.cards)
	ranking.Diagnosis.Refusals = refused.sum()
	ranking.Candidates = best.hosts()
	return ranking
}

// Rank is that of a pool of these hosts, for callers that have none: it costs several times as much.
func Rank(algorithm Algorithm, req Request, hosts []*v1beta1.PhysicalHost) Ranking {
	return NewPool(req.Namespace, hosts...).Rank(algorithm, req)
}

// Refusal says why the host will not do for the request, or "" if it fits. It is the chain that Rank applies, without what
// depends on other hosts, spread and reuse; claims are checked with it again on the host as read live.
func Refusal(req Request, host *v1beta1.PhysicalHost) Reason {
	if host.Namespace != req.Namespace {
		return NotReady
	}
	var c card
	var domains, sets numbers
	c.fill(host, &domains, &sets)
	return newSieve(&req, nil).refuse(&c)
}

// Meets says whether the recorded inventory of a host meets the requirements; an unknown inventory meets none.
func Meets(host *v1beta1.PhysicalHost, needs v1beta1.HardwareRequirements) bool {
	if host.Status.Hardware == nil {
		return false
	}
	var c card
	var domains, sets numbers
	c.fill(host, &domains, &sets)
	s := newSieve(&Request{Requirements: needs}, nil)
	return s.first(s.kind, &c) == ""
}
