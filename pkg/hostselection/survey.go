package hostselection

import (
	"math"
	"strconv"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// survey is what a choice has to know of all hosts before any one is judged: who holds what in which failure domain, and which
// hosts were given back. It is taken only for requests whose choice depends on it.
type survey struct {
	// set is the number of the machine's set; -1 if no host knows it.
	set int32
	// domains by their number.
	domains []domain
	// least is the smallest number of peers in a domain that counts, at that of the first such domain by name.
	least, at int
	// returned counts hosts that a peer gave back, or is just giving back.
	returned int
}

type domain struct {
	// peers is how many hosts of the domain are held by peers.
	peers int
	// used is the last use of its most recently used host.
	used int64
	// counts: it has a host of the kind that the machine needs.
	counts bool
}

// survey looks at all hosts once. The host of the name except is not counted as a peer's.
func (p *Pool) survey(req *Request, algorithm Algorithm, except string) *survey {
	if !req.surveys(algorithm) {
		return nil
	}
	s := &survey{set: p.sets.find(setName(req.Cluster, req.Owner)), domains: make([]domain, max(len(p.domains.names), 1))}
	kind, peers, avoid := newSieve(req, nil), newNameSet(req.Peers), newNameSet(req.Avoid)
	spreads, now := req.spreads(), req.Now.UnixMicro()
	for i := range p.cards {
		c := &p.cards[i]
		d := &s.domains[c.domain]
		d.used = max(d.used, c.used)
		if avoid.has(c) { // it is being claimed: that is use, too
			d.used = max(d.used, now)
		}
		held := c.holder == s.set && s.set > 0
		if (held || peers.has(c)) && c.name != except {
			d.peers++
		}
		if held && c.releasing || s.set > 0 && c.former == s.set && c.host.DeletionTimestamp.IsZero() {
			s.returned++
		}
		if spreads && !d.counts && c.lasting {
			d.counts = kind.first(kind.kind, c) == ""
		}
	}
	s.findLeast(p.domains.names)
	return s
}

func (s *survey) findLeast(names []string) {
	s.least = math.MaxInt
	for i := 1; i < len(s.domains); i++ {
		if d := &s.domains[i]; d.counts && (d.peers < s.least || d.peers == s.least && names[i] < names[s.at]) {
			s.least, s.at = d.peers, i
		}
	}
}

// Placement says how a host lies among those of the machine's peers.
type Placement struct {
	// Domain of the host, and how many other hosts there are held by peers.
	Domain string
	Peers  int
	// Least is a domain with the fewest hosts of peers, LeastPeers of them; empty if no domain counts.
	Least      string
	LeastPeers int
}

// Place says how the host lies for a request that asks for spread, whether the machine has it already or not. The zero value if the
// request does not.
func (p *Pool) Place(req Request, host *v1beta1.PhysicalHost) Placement {
	if !req.spreads() {
		return Placement{}
	}
	s := p.survey(&req, Deterministic, host.Name)
	at := Placement{Domain: host.Spec.FailureDomain}
	if number := p.domains.find(at.Domain); number >= 0 {
		at.Peers = s.domains[number].peers
	}
	if s.least != math.MaxInt {
		at.Least, at.LeastPeers = p.domains.names[s.at], s.least
	}
	return at
}

// GaveWay says whether a better spread was wanted: another domain has fewer machines, or the host has none to count.
func (p Placement) GaveWay() bool {
	return p.Least != "" && (p.Domain == "" || p.Peers > p.LeastPeers)
}

// Message is one sentence for a person.
func (p Placement) Message() string {
	where := "failure domain " + strconv.Quote(p.Domain)
	if p.Domain == "" {
		where = "a host without a failure domain"
	}
	if !p.GaveWay() {
		return "placed in " + where
	}
	return "placed in " + where + ", where its owner has " + strconv.Itoa(p.Peers) + " other hosts, since none was available in " +
		strconv.Quote(p.Least) + ", where it has " + strconv.Itoa(p.LeastPeers)
}
