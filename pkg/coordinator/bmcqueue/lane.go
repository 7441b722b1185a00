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
	failure     Failure   // of the last failed run since all was well
	message     string

	// parks are the credentials whose log-in was refused here, by key: "" stands for hosts that named none. The others go on.
	parks map[string]parking

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
	key        string      // of the credential that it logs in with; "" if unknown
	credential *credential // nil if unknown
	round      uint64      // of the credential, when it started
	holder     *host       // who logs in with it
	started    time.Time
	waited     time.Duration
	suspect    bool
	answered   bool // its BMC gave a sign of life
	hushed     bool // cut short, because others waited while its BMC was silent
	cancelled  bool
	cancel     func(cause error)
}

// parking is a refused log-in: when it is tried again, and what the BMC said.
type parking struct {
	probeAt time.Time
	message string
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

// key names what h logs in with, "" where nobody said.
func (h *host) key() string {
	if h.credential == nil {
		return ""
	}
	return h.credential.key
}

// refuses reports whether the last log-in of h's credential at this endpoint was refused.
func (l *lane) refuses(h *host) bool {
	_, parked := l.parks[h.key()]
	return parked
}

// opensFor is when nothing keeps h from being tried at this endpoint any more: no back-off, no refusal here, none elsewhere. Zero
// when nothing does.
func (l *lane) opensFor(h *host) time.Time {
	at := later(l.retryAt, l.parks[h.key()].probeAt)
	return later(at, h.credential.opensAt(l.endpoint))
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
	at := later(later(l.opensFor(o.host), o.host.retryAt), later(o.notBefore, g.silentUntil))
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
		opens := l.opensFor(p.host)
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
	for _, p := range l.parks {
		at = later(at, p.probeAt.Add(ProbeInterval))
	}
	if !l.retryAt.IsZero() {
		at = later(at, l.retryAt.Add(s.MaxRetryDelay))
	}
	return at
}

// learn takes in what a run with the credential of that key said about the endpoint, and reports whether that parked or freed it.
func (l *lane) learn(key string, res Result, now time.Time, g *gate) (turned bool) {
	park, wasParked := l.parks[key]
	if res.Failure != None && res.Failure != LoginFailed {
		l.failure, l.message = res.Failure, res.text()
	}
	switch res.Failure {
	case None:
		delete(l.parks, key)
		l.clear()
	case Unreachable:
		l.unreachable++
		l.retryAt = now.Add(g.delay(l.unreachable, res.RetryAfter))
	case Busy:
		l.unreachable = 0
		l.busy++
		l.retryAt = now.Add(g.delay(l.busy, res.RetryAfter))
	case LoginFailed:
		l.clear() // it answers, whoever else logs in
		l.park(key, parking{probeAt: now.Add(ProbeInterval), message: res.text()})
		return !wasParked
	case Other:
		l.unreachable, l.retryAt = 0, time.Time{}
		delete(l.parks, key)
		if res.RetryAfter > 0 {
			l.retryAt = now.Add(g.delay(1, res.RetryAfter))
		}
	}
	if _, parked := l.parks[key]; parked {
		// The probe met an unreachable or busy BMC: that proves nothing about the log-in.
		park.probeAt = now.Add(ProbeInterval)
		l.park(key, park)
		return false
	}
	return wasParked
}

func (l *lane) park(key string, p parking) {
	if l.parks == nil {
		l.parks = map[string]parking{}
	}
	l.parks[key] = p
}

// clear forgets the back-off, not cooldown or settling: those protect the BMC, this saves our time.
func (l *lane) clear() {
	l.unreachable, l.busy, l.retryAt = 0, 0, time.Time{}
	l.failure, l.message = None, ""
}

func (r Result) text() string {
	if r.Message != "" || r.Err == nil {
		return r.Message
	}
	return r.Err.Error()
}
