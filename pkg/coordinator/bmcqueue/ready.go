package bmcqueue

import (
	"slices"
	"time"
)

// readySet holds the operations that could start now, but for a free slot, overall or in their group. There are two: one for
// endpoints in order, one for those that back off as unreachable, which may use few slots only.
type readySet struct {
	classes [classes]classQueue
	closed  map[string]bool // groups at their cap
}

// classQueue holds the ready operations of one class by tenant: all tenants whose group is open, by age and by turn.
type classQueue struct {
	byAge   heap[*tenant]
	byTurn  heap[*tenant]
	tenants map[tenantName]*tenant
	spaces  map[string]*space
}

// tenantName: a group at its cap takes its tenants out of the round and leaves the others of their namespaces in.
type tenantName struct{ namespace, group string }

// tenant are the ready operations of one group in a namespace and class, oldest first.
type tenant struct {
	name            tenantName
	space           *space
	ops             heap[*op]
	posAge, posTurn int
}

// space is a namespace with ready operations in a class. It exists only while it has some: one that comes back joins the end
// of the round, so that leaving and coming back gains nothing.
type space struct {
	served  uint64 // turn in which it was served last, or joined
	tenants []*tenant
}

func newReadySet() *readySet {
	s := &readySet{closed: map[string]bool{}}
	for i := range s.classes {
		s.classes[i] = classQueue{
			byAge: heap[*tenant]{
				less: func(a, b *tenant) bool { return older(a.ops.top(), b.ops.top()) },
				at:   func(t *tenant) *int { return &t.posAge },
			},
			byTurn:  heap[*tenant]{less: before, at: func(t *tenant) *int { return &t.posTurn }},
			tenants: map[tenantName]*tenant{},
			spaces:  map[string]*space{},
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

// before orders tenants by the turn of their namespace, those of one turn by their oldest operation.
func before(a, b *tenant) bool {
	if a.space.served != b.space.served {
		return a.space.served < b.space.served
	}
	return older(a.ops.top(), b.ops.top())
}

func (c *classQueue) enter(t *tenant) {
	c.byAge.push(t)
	c.byTurn.push(t)
}

// leave has to come before the order of t changes: the heaps compare it with others to take it out.
func (c *classQueue) leave(t *tenant) {
	c.byAge.remove(t)
	c.byTurn.remove(t)
}

// tenantOf finds or makes the tenant of an operation.
func (c *classQueue) tenantOf(o *op, turn uint64) *tenant {
	name := tenantName{o.Namespace, o.Group}
	if t := c.tenants[name]; t != nil {
		return t
	}
	s := c.spaces[o.Namespace]
	if s == nil {
		s = &space{served: turn}
		c.spaces[o.Namespace] = s
	}
	t := &tenant{name: name, space: s}
	t.ops = heap[*op]{less: older, at: func(o *op) *int { return &o.posTenant }}
	s.tenants = append(s.tenants, t)
	c.tenants[name] = t
	return t
}

func (s *readySet) push(o *op, turn uint64) {
	c := &s.classes[o.Class]
	t := c.tenantOf(o, turn)
	c.leave(t)
	t.ops.push(o)
	if !s.closed[o.Group] {
		c.enter(t)
	}
}

func (s *readySet) remove(o *op) {
	c := &s.classes[o.Class]
	t := c.tenants[tenantName{o.Namespace, o.Group}]
	c.leave(t)
	t.ops.remove(o)
	if t.ops.len() > 0 {
		if !s.closed[o.Group] {
			c.enter(t)
		}
		return
	}
	delete(c.tenants, t.name)
	t.space.tenants = slices.DeleteFunc(t.space.tenants, func(x *tenant) bool { return x == t })
	if len(t.space.tenants) == 0 {
		delete(c.spaces, o.Namespace)
	}
}

// close takes the operations of a group out of the choice, or back in.
func (s *readySet) close(group string, closed bool) {
	if s.closed[group] == closed {
		return
	}
	if closed {
		s.closed[group] = true
	} else {
		delete(s.closed, group)
	}
	for i := range s.classes {
		c := &s.classes[i]
		for name, t := range c.tenants {
			if name.group != group {
				continue
			}
			c.leave(t)
			if !closed {
				c.enter(t)
			}
		}
	}
}

// best finds the class to serve: the one whose oldest operation ranks highest. It returns that operation, which is not
// always the one to be served (next), and its rank; nil when nothing may start.
func (s *readySet) best(now time.Time) (oldest *op, rank int) {
	for i := range s.classes {
		c := &s.classes[i]
		if c.byAge.len() == 0 {
			continue
		}
		o := c.byAge.top().ops.top()
		r := o.rank(now)
		if oldest == nil || r > rank || r == rank && older(o, oldest) {
			oldest, rank = o, r
		}
	}
	return oldest, rank
}

// next is the operation of class c whose turn it is. The class must have one that may start.
func (s *readySet) next(c Class) *op {
	return s.classes[c].byTurn.top().ops.top()
}

// served moves the namespace of o, which is in the set, to the end of the round.
func (s *readySet) served(o *op, turn uint64) {
	c := &s.classes[o.Class]
	all := c.spaces[o.Namespace]
	for _, t := range all.tenants {
		c.byTurn.remove(t)
	}
	all.served = turn
	for _, t := range all.tenants {
		if !s.closed[t.name.group] {
			c.byTurn.push(t)
		}
	}
}

// rank is the class, lifted by one for every AgePeriod waited: a steady stream of a higher class delays a lower one
// for a bounded time only.
func (o *op) rank(now time.Time) int {
	return int(o.Class) + int(now.Sub(o.ageFrom)/AgePeriod)
}
