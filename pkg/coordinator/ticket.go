package coordinator

import (
	"cmp"
	"container/heap"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/pkg/hostselection"
)

// place is where a ticket lies.
type place int

const (
	// idle: the machine must not or need not be given a host now.
	idle place = iota
	// active: in the heap, to be tried.
	active
	// parked: no host fits; a host that comes to fit wakes it.
	parked
	// resting: it lost, or does not know whether it lost; it comes back at until.
	resting
	// binding: its claim is being written.
	binding
	// answered: a host's claim names the machine, which has to confirm it.
	answered
)

// ticket is one machine's place in the queue of the arbiter.
type ticket struct {
	key     types.NamespacedName
	machine *v1beta1.Beskar7Machine
	request ClaimRequest
	want    hostselection.Request
	place   place
	// since is when the machine began to wait; a machine that loses keeps it.
	since time.Time
	// losses in a row; the back-off grows with them.
	losses int
	// until is when time alone brings it back: the end of its back-off, or of the cool-off of a host; zero: never.
	until time.Time
	// wokenFor are the hosts that woke it. Those that it does not take wake the next.
	wokenFor []types.NamespacedName
	// unsure is a bind whose write got no answer: it may have been applied, or be applied later.
	unsure *bind
	// index in the heap that it is in.
	index int
}

// before is the order in which tickets are served. Of machines that are equal, above all those of one set, the one that failed
// less often comes first: what keeps failing keeps nobody else waiting.
func (t *ticket) before(other *ticket) bool {
	return cmp.Or(rank(&t.request, &other.request), cmp.Compare(t.losses, other.losses), byName(&t.request, &other.request)) < 0
}

// earlier is that order for requests of which no failures are known.
func earlier(a, b *ClaimRequest) bool { return cmp.Or(rank(a, b), byName(a, b)) < 0 }

// rank is what machines are served by: control planes first, since nothing of a cluster works without them, then the higher
// spec.priority, then who is older, in seconds, as the API keeps it.
func rank(a, b *ClaimRequest) int {
	return cmp.Or(
		-cmp.Compare(number(a.ControlPlane), number(b.ControlPlane)),
		-cmp.Compare(a.Machine.Spec.Priority, b.Machine.Spec.Priority),
		a.Machine.CreationTimestamp.Compare(b.Machine.CreationTimestamp.Time),
	)
}

func byName(a, b *ClaimRequest) int {
	return cmp.Or(cmp.Compare(a.Machine.Namespace, b.Machine.Namespace), cmp.Compare(a.Machine.Name, b.Machine.Name))
}

func number(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// line is a heap of tickets.
type line struct {
	tickets []*ticket
	less    func(a, b *ticket) bool
}

func (l *line) add(t *ticket)    { heap.Push(l, t) }
func (l *line) remove(t *ticket) { heap.Remove(l, t.index) }

func (l *line) first() *ticket {
	if len(l.tickets) == 0 {
		return nil
	}
	return l.tickets[0]
}

// Len, Less, Swap, Push and Pop are those of heap.Interface.
func (l *line) Len() int           { return len(l.tickets) }
func (l *line) Less(i, j int) bool { return l.less(l.tickets[i], l.tickets[j]) }
func (l *line) Swap(i, j int) {
	l.tickets[i], l.tickets[j] = l.tickets[j], l.tickets[i]
	l.tickets[i].index, l.tickets[j].index = i, j
}
func (l *line) Push(x any) {
	t := x.(*ticket)
	t.index = len(l.tickets)
	l.tickets = append(l.tickets, t)
}
func (l *line) Pop() any {
	last := l.tickets[len(l.tickets)-1]
	l.tickets[len(l.tickets)-1] = nil
	l.tickets = l.tickets[:len(l.tickets)-1]
	return last
}

// queue holds the tickets of all machines that may want a host.
type queue struct {
	tickets map[types.NamespacedName]*ticket
	active  line
	// timed are the parked and resting tickets that time alone brings back.
	timed line
	// parked tickets by namespace.
	parked map[string]map[*ticket]bool
	// waiting counts tickets that are active, parked or resting.
	waiting int
}

func newQueue() *queue {
	return &queue{
		tickets: map[types.NamespacedName]*ticket{}, parked: map[string]map[*ticket]bool{},
		active: line{less: (*ticket).before},
		timed:  line{less: func(a, b *ticket) bool { return a.until.Before(b.until) }},
	}
}

// move puts a ticket somewhere else. until counts for parked and resting.
func (q *queue) move(t *ticket, to place, until time.Time) {
	switch t.place {
	case active:
		q.active.remove(t)
	case parked:
		delete(q.parked[t.key.Namespace], t)
	case idle, resting, binding, answered:
	}
	if !t.until.IsZero() {
		q.timed.remove(t)
		t.until = time.Time{}
	}
	q.waiting += number(waits(to)) - number(waits(t.place))
	t.place = to
	switch to {
	case active:
		q.active.add(t)
	case parked, resting:
		if to == parked {
			if q.parked[t.key.Namespace] == nil {
				q.parked[t.key.Namespace] = map[*ticket]bool{}
			}
			q.parked[t.key.Namespace][t] = true
		}
		if t.until = until; !until.IsZero() {
			q.timed.add(t)
		}
	case idle, binding, answered:
	}
}

func waits(p place) bool { return p == active || p == parked || p == resting }

// drop forgets a machine.
func (q *queue) drop(t *ticket) {
	q.move(t, idle, time.Time{})
	delete(q.tickets, t.key)
}

// due brings back what time has brought back.
func (q *queue) due(now time.Time) {
	for t := q.timed.first(); t != nil && !now.Before(t.until); t = q.timed.first() {
		q.move(t, active, time.Time{})
	}
}
