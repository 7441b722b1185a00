package bmcqueue

import "time"

// readySet holds the operations that could start now, but for a free slot. There are two: one for endpoints in order,
// one for those that back off as unreachable, which may use few slots only.
type readySet struct {
	classes [classes]classQueue
}

// classQueue holds the ready operations of one class: all of them by age, and by tenant in turn.
type classQueue struct {
	byAge   heap[*op]
	byTurn  heap[*tenant]
	tenants map[string]*tenant
}

// tenant is a namespace with ready operations in a class. It exists only while it has some: one that comes back joins
// the end of the round, so that leaving and coming back gains nothing.
type tenant struct {
	name   string
	ops    heap[*op]
	served uint64 // turn in which it was served last, or joined
	pos    int
}

func newReadySet() *readySet {
	s := &readySet{}
	for i := range s.classes {
		s.classes[i] = classQueue{
			byAge:   heap[*op]{less: older, at: func(o *op) *int { return &o.posAge }},
			byTurn:  heap[*tenant]{less: before, at: func(t *tenant) *int { return &t.pos }},
			tenants: map[string]*tenant{},
		}
	}
	return s
}

// older orders by the time an operation waits, then by acceptance.
func older(a, b *op) bool {
	if !a.ageFrom.Equal(b.ageFrom) {
		return a.ageFrom.Before(b.ageFrom)
	}
	return a.seq < b.seq
}

// before orders tenants by turn, those of one turn by their oldest operation.
func before(a, b *tenant) bool {
	if a.served != b.served {
		return a.served < b.served
	}
	return older(a.ops.top(), b.ops.top())
}

func (s *readySet) push(o *op, turn uint64) {
	c := &s.classes[o.Class]
	c.byAge.push(o)
	t := c.tenants[o.Namespace]
	if t == nil {
		t = &tenant{name: o.Namespace, served: turn}
		t.ops = heap[*op]{less: older, at: func(o *op) *int { return &o.posTenant }}
		c.tenants[o.Namespace] = t
		t.ops.push(o)
		c.byTurn.push(t)
		return
	}
	t.ops.push(o)
	c.byTurn.fix(t)
}

func (s *readySet) remove(o *op) {
	c := &s.classes[o.Class]
	t := c.tenants[o.Namespace]
	c.byAge.remove(o)
	if t.ops.len() == 1 {
		// Out of the round first: its order looks at the tenant's oldest operation.
		c.byTurn.remove(t)
		t.ops.remove(o)
		delete(c.tenants, t.name)
		return
	}
	t.ops.remove(o)
	c.byTurn.fix(t)
}

// best finds the class to serve: the one whose oldest operation ranks highest. It returns that operation, which is not
// always the one to be served (next), and its rank; nil when the set is empty.
func (s *readySet) best(now time.Time) (oldest *op, rank int) {
	for i := range s.classes {
		c := &s.classes[i]
		if c.byAge.len() == 0 {
			continue
		}
		o := c.byAge.top()
		r := o.rank(now)
		if oldest == nil || r > rank || r == rank && older(o, oldest) {
			oldest, rank = o, r
		}
	}
	return oldest, rank
}

// next is the operation of class c whose turn it is. The class must have one.
func (s *readySet) next(c Class) *op {
	return s.classes[c].byTurn.top().ops.top()
}

// served moves the tenant of o, which is in the set, to the end of the round.
func (s *readySet) served(o *op, turn uint64) {
	c := &s.classes[o.Class]
	t := c.tenants[o.Namespace]
	t.served = turn
	c.byTurn.fix(t)
}

// rank is the class, lifted by one for every AgePeriod waited: a steady stream of a higher class delays a lower one
// for a bounded time only.
func (o *op) rank(now time.Time) int {
	return int(o.Class) + int(now.Sub(o.ageFrom)/AgePeriod)
}
