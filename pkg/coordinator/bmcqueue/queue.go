package bmcqueue

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// Queue is the gate. All methods may be called from any goroutine, before, during and after Run; none blocks, but Run.
type Queue struct {
	options Options
	kick    chan struct{} // capacity 1: the scheduler has to look again

	// mu guards what follows. Nothing of the caller's (Fence, Done, Observer, Op.Run, Poll.Interval) is called under it.
	mu       sync.Mutex
	gate     *gate
	running  bool // Run was called
	draining bool // nothing starts any more
	valid    bool // the fence, when it was asked last
}

// New makes a Queue, which accepts operations at once and starts them when Run does.
func New(o Options) *Queue {
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = DefaultDrainTimeout
	}
	return &Queue{options: o, kick: make(chan struct{}, 1), gate: newGate(o.Settings, o.Jitter), valid: true}
}

// errTwice is returned by a second Run: quiet time and drain are once in a life.
var errTwice = errors.New("the bmc queue can run only once")

// do runs f under the lock, tells what happened, and has the scheduler look again.
func (q *Queue) do(f func(g *gate, now time.Time)) {
	q.mu.Lock()
	f(q.gate, time.Now())
	events := q.gate.takeEvents()
	q.mu.Unlock()
	q.tell(events)
	q.look()
}

func (q *Queue) look() {
	select {
	case q.kick <- struct{}{}:
	default: // it has been asked already
	}
}

// read runs f under the lock.
func (q *Queue) read(f func(g *gate, now time.Time)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	f(q.gate, time.Now())
}

// tell delivers events; the caller holds no lock.
func (q *Queue) tell(events []event) {
	for _, e := range events {
		if e.tell != nil && q.options.Observer != nil {
			e.tell(q.options.Observer)
		}
		if e.wake != "" && q.options.Done != nil {
			q.options.Done(e.wake)
		}
	}
}

// Apply changes the settings. Nothing is lost, repeated or cut short by it: a run keeps the timeout it started with,
// accepted operations stay when MaxQueueSize shrinks, cooldowns are measured anew.
func (q *Queue) Apply(s Settings) {
	q.do(func(g *gate, now time.Time) { g.apply(s, now) })
}

// Submit takes in a wish without blocking. An accepted one ends in an Outcome, of which Done tells. One host has at
// most one waiting operation: an equal wish is merged into it, a different one supersedes it. When the queue is full
// a higher class displaces the newest waiting operation of the lowest class; else the wish is refused.
func (q *Queue) Submit(o Op) (t Ticket) {
	q.do(func(g *gate, now time.Time) {
		if q.draining {
			t = Ticket{Reason: ReasonStopped}
			return
		}
		t = g.submit(o, now)
	})
	return t
}

// Withdraw drops the waiting operation of host; a running one is not stopped, but gets no further try.
func (q *Queue) Withdraw(host string) {
	q.do(func(g *gate, now time.Time) { g.withdraw(host, now) })
}

// Register has the host's endpoint polled from now on, first as soon as a slot allows. Registering again replaces the
// poll, also with another endpoint. Park a log-in known to be refused before registering its hosts. A poll
// without Endpoint, Interval or Run cannot be made: the host is left without one.
func (q *Queue) Register(p Poll) {
	if p.Endpoint == "" || p.Interval == nil || p.Run == nil {
		q.do(func(g *gate, now time.Time) { g.unregisterPoll(p.Host, now) })
		return
	}
	interval := p.Interval()
	q.do(func(g *gate, now time.Time) { g.register(p, interval, now) })
}

// Unregister forgets the host: its poll, its waiting operation, its last outcome. Call it for every host that is gone,
// also for one that was never registered.
func (q *Queue) Unregister(host string) {
	q.do(func(g *gate, now time.Time) { g.unregister(host, now) })
}

// PollNow makes the host's poll due now, before those that are merely due. It cuts no back-off short: see Reset.
func (q *Queue) PollNow(host string) {
	q.do(func(g *gate, now time.Time) { g.pollNow(host, now) })
}

// Status tells what the host's operation, or without one its endpoint, is doing. It never fails.
func (q *Queue) Status(host string) (s Status) {
	q.read(func(g *gate, now time.Time) { s = g.status(host, now) })
	return s
}

// Reset clears the back-off and the parking of an endpoint and tries it at once: its credentials, address or TLS
// settings changed, or a person asked. A run in flight ends, and its failure is not held against the endpoint.
// Cooldown, quiet time and a pending effect are not cut short, nor is what other endpoints said of its hosts' credentials; what
// this one said of them is.
func (q *Queue) Reset(endpoint string) {
	q.do(func(g *gate, now time.Time) { g.reset(endpoint, now) })
}

// Retry is Reset because a person asks: refused credentials of the endpoint's hosts are tried again, too, wherever they were
// refused. One host tries them, not always one of this endpoint.
func (q *Queue) Retry(endpoint string) {
	q.do(func(g *gate, now time.Time) { g.retry(endpoint, now) })
}

// Park honours a log-in failure recorded before a restart: nothing runs on the endpoint with that credential before until, or
// Reset. An empty credential stands for the hosts that name none.
func (q *Queue) Park(endpoint, credential string, until time.Time) {
	q.do(func(g *gate, now time.Time) { g.park(endpoint, credential, until, now) })
}

// Length is the number of waiting requested operations, what MaxQueueSize limits.
func (q *Queue) Length() (n int) {
	q.read(func(g *gate, _ time.Time) { n = g.waiting() })
	return n
}

// Stats are numbers for metrics; the cost is linear in lanes and waiting operations.
func (q *Queue) Stats() (s Stats) {
	q.read(func(g *gate, now time.Time) { s = g.stats(now) })
	return s
}

// Dump tells a person what the gate holds, in lines of text without secrets.
func (q *Queue) Dump() (text string) {
	q.read(func(g *gate, now time.Time) { text = g.dump(now) })
	return text
}
