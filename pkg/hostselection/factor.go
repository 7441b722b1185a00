package hostselection

import "cmp"

// factor is one consideration of the priority algorithm.
type factor struct {
	name string
	// weight of one point.
	weight int64
	// points are 0 to 1000, but for the owner's priority, which is what the owner says.
	points func(*judge, *card) int64
}

// factors is the table of the priority algorithm. A host's worth is the sum of points × weight. One step of spec.priority
// weighs more than all else together. A fit is full for a host that has just what is required, and half with the waste beside
// it: 16 cores, 64 GiB of memory, 1 TiB of disk.
var factors = [...]factor{
	{"host priority", 20_000, func(_ *judge, c *card) int64 { return int64(c.priority) }},
	{"health", 4, func(_ *judge, c *card) int64 { return 10 * int64(c.health) }},
	{"fit of cores", 3, func(j *judge, c *card) int64 { return fit(c.known, int64(c.cores), j.cores, 16) }},
	{"fit of memory", 3, func(j *judge, c *card) int64 { return fit(c.known, c.memory, j.memory, 64<<30) }},
	{"fit of disk", 2, func(j *judge, c *card) int64 { return fit(c.known, c.disk, j.disk, 1<<40) }},
	{"spread over failure domains", 4, func(j *judge, c *card) int64 {
		if j.survey == nil || c.domain == 0 {
			return 0
		}
		return 1000 / int64(1+j.survey.domains[c.domain].peers)
	}},
}

// fit is one division, and nothing that a compiler may fuse: the points are the same on every architecture.
func fit(known bool, have, need, half int64) int64 {
	if !known {
		return 0
	}
	return int64(float64(1000*half) / float64(half+max(have-need, 0)))
}

// judge orders the hosts that fit.
type judge struct {
	algorithm           Algorithm
	survey              *survey
	seed                uint64
	reuses, spreads     bool
	cores, memory, disk int64
}

func newJudge(algorithm Algorithm, req *Request, seen *survey) *judge {
	r := &req.Requirements
	return &judge{
		algorithm: algorithm, survey: seen, seed: identity(req.Namespace, req.Machine),
		reuses: seen != nil && req.reuses(), spreads: seen != nil && req.spreads(),
		cores: int64(r.MinCores), memory: amount(&r.MinMemory), disk: amount(&r.MinDisk),
	}
}

// key is what hosts are compared by: the higher one wins, in the order of the fields. reuse and spread are what the machine
// asks for, under every algorithm; first and second are the algorithm's; the hash of machine and host decides ties, so that
// machines do not all run for the same host.
type key struct {
	reuse, spread, first, second int64
	hash                         uint64
}

// rate fills in the key of a host.
func (j *judge) rate(c *card, k *key) {
	*k = key{hash: rendezvous(j.seed, c.hash)}
	if j.reuses && c.former == j.survey.set {
		k.reuse = 1
	}
	if j.spreads {
		k.spread = -int64(j.survey.domains[c.domain].peers)
		if c.domain == 0 {
			k.spread = -1 << 32
		}
	}
	switch j.algorithm {
	case RoundRobin:
		k.first, k.second = -j.survey.domains[c.domain].used, -c.used
	case Priority:
		k.first = j.worth(c)
	case Deterministic:
	}
}

// cannotBeat says without rating the host that it cannot come before the candidate: not with the most that all factors but its
// owner's priority can give.
func (j *judge) cannotBeat(c *card, than *candidate) bool {
	return j.algorithm == Priority && !j.reuses && !j.spreads && int64(c.priority)*factors[0].weight+restAtMost < than.key.first
}

// restAtMost is what all factors but the first give at most.
var restAtMost = func() (sum int64) {
	for _, f := range factors[1:] {
		sum += 1000 * f.weight
	}
	return sum
}()

func (j *judge) worth(c *card) int64 {
	var sum int64
	for i := range factors {
		sum += factors[i].weight * factors[i].points(j, c)
	}
	return sum
}

// compare is positive if a is better.
func (a *key) compare(b *key) int {
	switch {
	case a.reuse != b.reuse:
		return cmp.Compare(a.reuse, b.reuse)
	case a.spread != b.spread:
		return cmp.Compare(a.spread, b.spread)
	case a.first != b.first:
		return cmp.Compare(a.first, b.first)
	case a.second != b.second:
		return cmp.Compare(a.second, b.second)
	}
	return cmp.Compare(a.hash, b.hash)
}
