package bmcqueue

// precedence is what becomes of a new wish because of an operation that its host has already.
type precedence int

const (
	// queue: both live; the new one waits until the old one ended.
	queue precedence = iota
	// merge: the new one joins the old one, whose next try runs the newer Run. Nobody loses.
	merge
	// supersede: the old one loses its place, count and age to the new one. Its owner learns it: EndedSuperseded, and Done.
	supersede
	// drop: the new one is refused with ReasonOutranked. Its owner learns it from the Ticket and from the Outcome.
	drop
)

// kinship is how a new wish and an old one of the same host relate.
type kinship int

const (
	equal           kinship = iota // same endpoint, Kind and ID: the same wish again
	readAfterRead                  // both read-only, different
	readAfterChange                // the new one is read-only, the old one is not
	changeAfterAny                 // the new one may change something, whatever the old one is
)

// relations is the whole relation of a new wish to an operation that waits or runs. The newest decision was made on the newest
// facts, so it wins over a waiting one whatever their classes; but a read never gets in the way of a decision, and what runs
// cannot be unsent.
var relations = map[kinship]struct{ waiting, running precedence }{
	equal:           {waiting: merge, running: merge},
	readAfterRead:   {waiting: supersede, running: queue},
	readAfterChange: {waiting: drop, running: drop},
	changeAfterAny:  {waiting: supersede, running: queue},
}

func kin(wish Op, old *op) kinship {
	switch {
	case old.Endpoint == wish.Endpoint && old.Kind == wish.Kind && old.ID == wish.ID:
		return equal
	case !wish.ReadOnly:
		return changeAfterAny
	case old.ReadOnly:
		return readAfterRead
	}
	return readAfterChange
}

// judge looks up what becomes of a wish. The running operation counts first: a wish that joins it supersedes what waits behind,
// which is an older decision by now.
func (h *host) judge(wish Op) (running, waiting precedence) {
	if h.running != nil {
		running = relations[kin(wish, h.running)].running
	}
	if h.waiting != nil {
		waiting = relations[kin(wish, h.waiting)].waiting
	}
	return running, waiting
}
