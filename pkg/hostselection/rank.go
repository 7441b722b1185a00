package hostselection

import (
	"slices"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// candidate is a host that fits.
type candidate struct {
	card *card
	key  key
}

// order puts the better one first.
func order(a, b *candidate) int {
	switch by := b.key.compare(&a.key); {
	case by != 0:
		return by
	case a.card.name < b.card.name:
		return -1
	}
	return 1
}

// selection keeps the best limit candidates, best first; all, unordered until the end, if limit is 0 or less.
type selection struct {
	limit int
	kept  []candidate
}

// last is the worst candidate that is kept, once there are as many as wanted: what does not beat it is of no interest.
func (s *selection) last() *candidate {
	if n := len(s.kept); n > 0 && n == s.limit {
		return &s.kept[n-1]
	}
	return nil
}

func (s *selection) offer(c *candidate) {
	if last := s.last(); last == nil {
		s.kept = append(s.kept, *c)
	} else if order(c, last) > 0 {
		return // the way of nearly all hosts of a large pool
	}
	if s.limit <= 0 {
		return
	}
	n := len(s.kept) - 1
	for ; n > 0 && order(c, &s.kept[n-1]) < 0; n-- {
		s.kept[n] = s.kept[n-1]
	}
	s.kept[n] = *c
}

func (s *selection) hosts() []*v1beta1.PhysicalHost {
	if s.limit <= 0 {
		slices.SortFunc(s.kept, func(a, b candidate) int { return order(&a, &b) })
	}
	hosts := make([]*v1beta1.PhysicalHost, len(s.kept))
	for i := range s.kept {
		hosts[i] = s.kept[i].card.host
	}
	return hosts
}

// tally counts reasons. There are few, and a map that is asked for each of ten thousand hosts takes longer than all filters.
type tally struct {
	reasons []Reason
	counts  []int
}

func (t *tally) count(reason Reason) {
	for i := range t.reasons {
		if t.reasons[i] == reason {
			t.counts[i]++
			return
		}
	}
	t.reasons, t.counts = append(t.reasons, reason), append(t.counts, 1)
}

func (t *tally) sum() map[Reason]int {
	sum := make(map[Reason]int, len(t.reasons))
	for i, reason := range t.reasons {
		sum[reason] = t.counts[i]
	}
	return sum
}
