package hostselection

import (
	"cmp"
	"math"
	"slices"
)

// Verdict is what one filter says of one host; Reason is empty if the host passes.
type Verdict struct {
	Filter string
	Reason Reason
}

// Share is what one consideration says for a host: more is better. Those with a weight are summed up, Points × Weight; the others
// are compared one after the other. Uses are negative microseconds since 1970.
type Share struct {
	Factor         string
	Points, Weight int64
}

// Explanation is all that is to be said of one host for one machine.
type Explanation struct {
	Host string
	// Place in the order, from 1; 0 if the host does not fit.
	Place int
	// Verdicts of every filter that the request asks, in the order of the chain, also those after the first refusal.
	Verdicts []Verdict
	// Shares of the order, in the order in which they count; for hosts that do not fit, as if they did.
	Shares []Share
}

// Reason is the first refusal, the one that the diagnosis counts; empty if the host fits.
func (e *Explanation) Reason() Reason {
	for _, v := range e.Verdicts {
		if v.Reason != "" {
			return v.Reason
		}
	}
	return ""
}

// Explain says for each host why it will not do, or why it has its place: first those that fit, best
// first, then the others by name. It takes its time; nothing that chooses calls it.
func (p *Pool) Explain(algorithm Algorithm, req Request) []Explanation {
	req.Limit = 0
	places := map[string]int{}
	for i, host := range p.Rank(algorithm, req).Candidates {
		places[host.Name] = i + 1
	}
	seen := p.survey(&req, algorithm, "")
	s, j := newSieve(&req, seen), newJudge(algorithm, &req, seen)
	var all []Explanation
	for i := range p.cards {
		c := &p.cards[i]
		all = append(all, Explanation{Host: c.name, Place: places[c.name], Verdicts: s.verdicts(c), Shares: j.shares(c)})
	}
	slices.SortFunc(all, func(a, b Explanation) int {
		return cmp.Or(cmp.Compare(orLast(a.Place), orLast(b.Place)), cmp.Compare(a.Host, b.Host))
	})
	return all
}

func orLast(place int) int {
	if place == 0 {
		return math.MaxInt
	}
	return place
}

func (s *sieve) verdicts(c *card) []Verdict {
	var verdicts []Verdict
	for _, f := range ownership {
		verdicts = append(verdicts, Verdict{Filter: f.name, Reason: f.refuse(c.host)})
	}
	verdicts = append(verdicts, Verdict{Filter: "race", Reason: when(s.avoid.has(c), Claimed)})
	for _, f := range s.wanted {
		verdicts = append(verdicts, Verdict{Filter: f.name, Reason: f.refuse(s, c)})
	}
	return verdicts
}

func (j *judge) shares(c *card) []Share {
	var k key
	j.rate(c, &k)
	var shares []Share
	if j.reuses {
		shares = append(shares, Share{Factor: "given back by the replaced machine", Points: k.reuse})
	}
	if j.spreads {
		shares = append(shares, Share{Factor: "hosts of its owner in the failure domain", Points: k.spread})
	}
	switch j.algorithm {
	case RoundRobin:
		shares = append(shares, Share{Factor: "last use of the failure domain", Points: k.first}, Share{Factor: "last use of the host", Points: k.second})
	case Priority:
		for _, f := range factors {
			shares = append(shares, Share{Factor: f.name, Points: f.points(j, c), Weight: f.weight})
		}
	case Deterministic:
	}
	return append(shares, Share{Factor: "hash of machine and host", Points: int64(k.hash >> 1)}) //nolint:gosec // fits without its last bit
}
