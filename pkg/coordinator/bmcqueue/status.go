package bmcqueue

import (
	"fmt"
	"strings"
	"time"
)

// positionsAge bounds the age of Status.Position: a fleet of reconcilers asks for it at once, and sorting is not free.
const positionsAge = time.Second

func (g *gate) status(name string, now time.Time) Status {
	h := g.hosts[name]
	if h == nil {
		return Status{State: StateIdle}
	}
	var s Status
	switch {
	case h.running != nil:
		o := h.running
		s = Status{State: StateRunning, Attempts: o.tries, LastError: o.message, Failure: o.failure}
		s.Kind, s.ID, s.Class, s.Since = o.Kind, o.ID, o.Class, o.since
		if r := o.lane.run; r != nil {
			s.Since = r.started
		}
	case h.waiting != nil:
		s = g.waitingStatus(h.waiting, now)
	case h.poll != nil:
		l := g.lanes[h.poll.Endpoint]
		s = l.status(h, now)
		if at := later(l.opensFor(h), h.poll.due); s.Attempts > 0 && s.State != StateParked && at.After(now) {
			s.State, s.NextAttempt = StateBackOff, at // its poll is what is tried next
		}
		h.credential.report(&s, h, l, now)
	default:
		s.State = StateIdle
	}
	if h.outcome != nil {
		s.Outcome = *h.outcome
	}
	return s
}

func (g *gate) waitingStatus(o *op, now time.Time) Status {
	l := o.lane
	s := Status{
		State: StateWaiting, Kind: o.Kind, ID: o.ID, Class: o.Class, Since: o.since,
		Position: g.position(o, now), Attempts: o.tries, LastError: o.message, Failure: o.failure,
	}
	switch {
	case l.refuses(o.host):
		s.State, s.Failure, s.LastError = StateParked, LoginFailed, l.parks[o.host.key()].message
	case later(l.retryAt, o.host.retryAt).After(now):
		s.State = StateBackOff
	case o.notBefore.After(now):
		s.State = StateSettling
	}
	if s.Failure == None {
		s.Failure, s.LastError = l.failure, l.message
	}
	o.host.credential.report(&s, o.host, l, now)
	at := g.eligible(o)
	if at.Equal(never) {
		at = l.settleUntil
	}
	if at.After(now) {
		s.NextAttempt = at
	}
	return s
}

// status is what the endpoint is doing, as far as it concerns h.
func (l *lane) status(h *host, now time.Time) Status {
	s := Status{State: StateIdle, Attempts: l.unreachable + l.busy, LastError: l.message, Failure: l.failure}
	park := l.parks[h.key()]
	switch {
	case l.refuses(h):
		s.State, s.Failure, s.LastError = StateParked, LoginFailed, park.message
	case l.retryAt.After(now):
		s.State = StateBackOff
	}
	if at := later(l.retryAt, park.probeAt); at.After(now) {
		s.NextAttempt = at
	}
	return s
}

// report says that it is a refusal elsewhere, or a log-in that goes first, that keeps an endpoint from being tried. c may be nil.
func (c *credential) report(s *Status, h *host, l *lane, now time.Time) {
	opens := c.opensAt(l.endpoint)
	switch {
	case l.refuses(h) || !opens.After(now):
	case c.trust == refused:
		s.State, s.Failure, s.LastError, s.HeldBy = StateParked, LoginFailed, c.reason(), c.refuser()
		s.NextAttempt = later(s.NextAttempt, opens)
	default:
		s.HeldBy = c.canary.lane.endpoint
	}
}

func (g *gate) position(o *op, now time.Time) int {
	if g.positions == nil || now.Sub(g.positioned) >= positionsAge {
		g.positions, g.positioned = map[string]int{}, now
		for i, w := range g.ordered(now) {
			g.positions[w.Host] = i + 1
		}
	}
	if p := g.positions[o.Host]; p > 0 {
		return p
	}
	return g.waiting() // it came after the list was made
}

// Stats are numbers for metrics.
type Stats struct {
	Waiting     [3]int // requested operations that wait, by Class
	Running     int    // operations in flight
	Polling     int    // polls in flight
	Hosts       int    // hosts known
	Lanes       int    // endpoints known
	Parked      int    // of them, parked after a refused log-in
	Unreachable int    // of them, backing off as unreachable
	Busy        int    // of them, backing off as busy
	Cap         int    // min(WorkerCount, MaxConcurrentOps)
	Oldest      time.Duration
}

func (g *gate) stats(now time.Time) Stats {
	s := Stats{
		Running: len(g.runs) - g.counts.polls, Polling: g.counts.polls,
		Hosts: len(g.hosts), Lanes: len(g.lanes), Cap: g.settings.slots(),
	}
	for c := range g.newest {
		s.Waiting[c] = g.newest[c].len()
		for _, o := range g.newest[c].items {
			s.Oldest = max(s.Oldest, now.Sub(o.since))
		}
	}
	for _, l := range g.lanes {
		switch {
		case len(l.parks) > 0:
			s.Parked++
		case l.unreachable > 0:
			s.Unreachable++
		case l.busy > 0:
			s.Busy++
		}
	}
	return s
}

// dump tells a person what the gate holds: what runs, what waits in order, which endpoints are in trouble.
func (g *gate) dump(now time.Time) string {
	var b strings.Builder
	s := g.stats(now)
	fmt.Fprintf(&b, "bmcqueue: %d/%d in flight (%d polls), %d/%d waiting, %d lanes (%d parked, %d unreachable, %d busy), %d hosts\n",
		len(g.runs), s.Cap, s.Polling, g.waiting(), g.settings.MaxQueueSize, s.Lanes, s.Parked, s.Unreachable, s.Busy, s.Hosts)
	if g.silentUntil.After(now) {
		fmt.Fprintf(&b, "quiet: nothing starts for another %s\n", g.silentUntil.Sub(now))
	}
	for group, n := range g.groups {
		fmt.Fprintf(&b, "group %s: %d in flight, cap %d\n", group, n, g.settings.GroupCaps[group])
	}
	for _, c := range g.credentials {
		if c.trust == refused && len(c.refusers) > 0 {
			fmt.Fprintf(&b, "a credential of %d hosts was refused at %s%s\n", len(c.hosts), c.refuser(), inTime(c.probeAt, now))
		}
	}
	for r := range g.runs {
		fmt.Fprintf(&b, "running: %s of %s on %s for %s\n", r.request.Kind, r.request.Host, r.request.Endpoint, now.Sub(r.started))
	}
	for i, o := range g.ordered(now) {
		st := g.waitingStatus(o, now)
		fmt.Fprintf(&b, "waiting %d: %s of %s on %s since %s: %s, %d failed tries%s%s\n", i+1, o.Kind, o.Host, o.Endpoint,
			now.Sub(o.since), st.State, o.tries, inTime(st.NextAttempt, now), quoted(st.LastError))
	}
	for _, l := range g.lanes {
		for _, p := range l.parks {
			fmt.Fprintf(&b, "lane %s: parked for one credential%s%s\n", l.endpoint, inTime(p.probeAt, now), quoted(p.message))
		}
		if l.unreachable+l.busy > 0 {
			fmt.Fprintf(&b, "lane %s: %d times unreachable, %d times busy%s%s\n", l.endpoint,
				l.unreachable, l.busy, inTime(l.retryAt, now), quoted(l.message))
		}
	}
	return b.String()
}

func inTime(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf(", next in %s", at.Sub(now))
}

func quoted(message string) string {
	if message == "" {
		return ""
	}
	return fmt.Sprintf(", last %q", message)
}
