package bmcqueue

import (
	"time"
)

// never is later than any time the gate deals with.
var never = time.Unix(1<<40, 0)

// lane is one BMC endpoint. An idle lane is this struct and nothing else: no goroutine, no timer of its own.
type lane struct {
	endpoint string
	ops      []*op   // waiting operations; one per host, so there are few
	polls    []*poll // one per registered host
	run      *run    // in flight; nil if none. I7 hangs on this field.

	generation uint32 // counts Resets: a result from before one says nothing about now

	// The cooldown runs from changedAt; 0 in cooldown means the setting, so that a changed setting acts at once.
	changedAt time.Time
	cooldown  time.Duration
	rest      time.Duration // that the BMC wanted after that change; the cooldown is not shorter

	// settling is the operation that waits for its effect. No other changing operation starts while it is set, and
	// none before settleUntil even if it is gone: the BMC is still at work.
	settling    *op
	settleUntil time.Time

	unreachable int // consecutive failures of either kind; they outlive the operations that met them
	busy        int
	retryAt     time.Time // end of the back-off
	parked      bool      // log-in was refused
	probeAt     time.Time // when a parked lane makes its next try
	failure     Failure   // of the last failed run since all was well
	message     string

	pollTook time.Duration // of the last poll, to know whether one more fits in before an operation
	soonest  time.Time     // when the first waiting operation may start, as of the last place
	wake     time.Time     // key in the timer heap
	posTimer int
	due      *poll        // the poll that is ready to start, if any
	pollsIn  *heap[*lane] // where it is ready; nil if it is not
	posPoll  int
}

// op is an accepted operation that has not left the gate.
type op struct {
	Op
	lane *lane
	host *host
	seq  uint64

	since     time.Time // accepted; a superseding operation inherits it, so that changed minds do not starve a host
	ageFrom   time.Time // what its rank counts from
	readyAt   time.Time // entered the ready set
	notBefore time.Time // end of its Wait
	tries     int
	withdrawn bool // while running: no further try
	cooled    bool // it was told that this waits for the cooldown
	failure   Failure
	message   string

	ready                *readySet // the set it is in; nil if none
	posTenant, posNewest int
}

// poll is a registered poll.
type poll struct {
	Poll
	host   *host
	due    time.Time
	urgent bool // asked for: goes before those that are merely due
}

// host is a PhysicalHost that has, or had, something to do here. It serialises by host as well as by endpoint: while
// its address changes, one server has two.
type host struct {
	name     string
	waiting  *op
	running  *op
	poll     *poll
	failures int       // consecutive runs that failed as Other; outlives the operations that met them
	retryAt  time.Time // end of the back-off for those
	outcome  *Outcome
	// credential is what the host logs in with, as the newest Register or Submit said; nil if that is not known.
	credential *credential
	gone       bool // unregistered while it ran something: nobody will ask for the outcome
}

// run is one run in flight, of an operation or of a poll.
type run struct {
	lane       *lane
	op         *op
	poll       *poll
	request    Op // what to run; a copy, as a merged wish may replace it meanwhile
	interval   func() time.Duration
	generation uint32
	credential *credential // that it logs in with; nil if unknown
	round      uint64      // of the credential, when it started
	holder     *host       // who logs in with it
	started    time.Time
	waited     time.Duration
	suspect    bool
	cancelled  bool
	cancel     func(cause error)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// opensAt is when the lane's back-off or parking ends; zero when there is none.
func (l *lane) opensAt() time.Time {
	if l.parked {
		return l.probeAt
	}
	return l.retryAt
}

func (l *lane) cooldownEnds(s Settings) time.Time {
	if l.changedAt.IsZero() {
		return time.Time{}
	}
	if l.cooldown > 0 {
		return l.changedAt.Add(max(l.cooldown, l.rest))
	}
	return l.changedAt.Add(max(s.Cooldown, l.rest))
}

// eligible is the earliest time at which o may start; never, while something else must end first.
func (g *gate) eligible(o *op) time.Time {
	l := o.lane
	if o.host.running != nil {
		return never
	}
	at := later(later(l.opensAt(), o.host.retryAt), later(o.notBefore, g.silentUntil))
	at = later(at, o.host.credential.opensAt(l.endpoint))
	if o.ReadOnly {
		return at
	}
	if l.settling != nil && l.settling != o {
		return never
	}
	at = later(at, l.settleUntil)
	return later(at, later(l.cooldownEnds(g.settings), g.inheritedCooldown(o)))
}

// inheritedCooldown is when the cooldown ends that the driver before may have begun on the lane of o just before it ended.
func (g *gate) inheritedCooldown(o *op) time.Time {
	if g.tookOver.IsZero() {
		return time.Time{}
	}
	if o.Cooldown > 0 {
		return g.tookOver.Add(o.Cooldown)
	}
	return g.tookOver.Add(g.settings.Cooldown)
}

// nextPoll is the poll of the lane that comes first, and when it may start as far as its host goes; nil if there is none.
func (g *gate) nextPoll(l *lane, now time.Time) (first *poll, due time.Time) {
	held := false
	for _, p := range l.polls {
		opens := p.host.credential.opensAt(l.endpoint)
		waits := opens.After(now)
		switch {
		case first == nil, held && !waits:
		case held != waits, first.urgent && !p.urgent, first.urgent == p.urgent && !p.due.Before(first.due):
			continue
		}
		first, held, due = p, waits, later(p.due, opens)
	}
	return first, due
}

// fits reports whether a poll started now would end before the lane's first operation may start, going by the last
// poll: a poll shall not delay an operation.
func (l *lane) fits(now time.Time, s Settings) bool {
	guard := min(max(2*l.pollTook, time.Second), s.OperationTimeout)
	return l.soonest.After(now.Add(guard))
}

// forgettableAt is when a lane without hosts has nothing left to remember.
func (l *lane) forgettableAt(s Settings) time.Time {
	at := later(l.cooldownEnds(s), l.settleUntil)
	if l.parked {
		at = later(at, l.probeAt.Add(ProbeInterval))
	}
	if !l.retryAt.IsZero() {
		at = later(at, l.retryAt.Add(s.MaxRetryDelay))
	}
	return at
}

// learn takes in what a run said about the endpoint, and reports whether the lane was parked or freed by it.
func (l *lane) learn(res Result, now time.Time, g *gate) (turned bool) {
	wasParked := l.parked
	if res.Failure != None {
		l.failure, l.message = res.Failure, res.text()
	}
	switch res.Failure {
	case None:
		l.clear()
	case Unreachable:
		l.unreachable++
		l.retryAt = now.Add(g.delay(l.unreachable, res.RetryAfter))
	case Busy:
		l.unreachable = 0
		l.busy++
		l.retryAt = now.Add(g.delay(l.busy, res.RetryAfter))
	case LoginFailed:
		l.parked, l.unreachable, l.busy = true, 0, 0
	case Other:
		l.unreachable, l.parked, l.retryAt = 0, false, time.Time{}
		if res.RetryAfter > 0 {
			l.retryAt = now.Add(g.delay(1, res.RetryAfter))
		}
	}
	if l.parked {
		// Also when the probe met an unreachable or busy BMC: that proves nothing about the log-in.
		l.probeAt = now.Add(ProbeInterval)
	}
	return l.parked != wasParked
}

// clear forgets back-off and parking, not cooldown or settling: those protect the BMC, these save our time.
func (l *lane) clear() {
	l.unreachable, l.busy, l.retryAt = 0, 0, time.Time{}
	l.parked, l.probeAt = false, time.Time{}
	l.failure, l.message = None, ""
}

func (r Result) text() string {
	if r.Message != "" || r.Err == nil {
		return r.Message
	}
	return r.Err.Error()
}
