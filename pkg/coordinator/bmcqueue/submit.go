package bmcqueue

import (
	"fmt"
	"slices"
	"time"
)

// refusedRetry is when a refused caller should come back, before jitter.
const refusedRetry = 10 * time.Second

// submit takes in a wish. The relation of a new operation to the one its host has already:
//   - equal (endpoint, kind, id) to the one that waits or runs: merged, the newer Run counts for the next try;
//   - read-only while a changing one waits or runs: refused, it shall not get in the way of a decision;
//   - else it supersedes the waiting one, whatever their classes: the newest decision was made on the newest facts.
func (g *gate) submit(wish Op, now time.Time) Ticket {
	if wish.Endpoint == "" || wish.Host == "" || wish.Run == nil {
		return Ticket{Reason: ReasonInvalid}
	}
	wish.Class = min(max(wish.Class, ClassRest), ClassRelease)
	h := g.hostOf(wish.Host)
	if r := h.running; r != nil && same(r.Op, wish) {
		return g.joinRunning(h, wish, now)
	}
	if w := h.waiting; w != nil && same(w.Op, wish) {
		g.mergeWaiting(w, wish, now)
		return g.accepted(w, ReasonMerged)
	}
	if wish.ReadOnly && (changing(h.waiting) || changing(h.running)) {
		return g.refuse(h, wish, ReasonOutranked, now)
	}
	o := &op{Op: wish, host: h, since: now}
	reason := ReasonQueued
	if w := h.waiting; w != nil {
		// It takes the place of the loser, in the count and in age.
		o.since, reason = w.since, ReasonSuperseded
		g.detach(w, now)
		g.end(w, EndedSuperseded, fmt.Sprintf("superseded by %s", wish.Kind), now)
	} else if g.waiting() >= g.settings.MaxQueueSize && !g.displace(wish, now) {
		return g.refuse(h, wish, ReasonFull, now)
	}
	g.seq++
	o.seq, o.lane = g.seq, g.laneOf(wish.Endpoint)
	g.attach(o, now)
	return g.accepted(o, reason)
}

func same(a, b Op) bool { return a.Endpoint == b.Endpoint && a.Kind == b.Kind && a.ID == b.ID }

func changing(o *op) bool { return o != nil && !o.ReadOnly }

func (g *gate) accepted(o *op, reason Reason) Ticket {
	if o.lane.parked {
		reason = ReasonParked
	}
	return Ticket{Accepted: true, Reason: reason}
}

// joinRunning merges a wish into the running operation; what waited behind it is an older decision by now.
func (g *gate) joinRunning(h *host, wish Op, now time.Time) Ticket {
	r := h.running
	wish.Class = max(wish.Class, r.Class)
	r.Op, r.withdrawn = wish, false
	if w := h.waiting; w != nil {
		g.detach(w, now)
		g.end(w, EndedSuperseded, fmt.Sprintf("superseded by %s", wish.Kind), now)
	}
	return g.accepted(r, ReasonMerged)
}

// mergeWaiting lets the newer wish run in the older one's place. Only a changed class or namespace moves it: a caller
// that repeats itself must not lose its turn.
func (g *gate) mergeWaiting(w *op, wish Op, now time.Time) {
	wish.Class = max(wish.Class, w.Class)
	moved := wish.Class != w.Class || wish.Namespace != w.Namespace
	if moved {
		g.unready(w)
		g.newest[w.Class].remove(w)
	}
	w.Op = wish
	if moved {
		g.newest[w.Class].push(w)
	}
	g.place(w.lane, now)
}

// displace makes room for a wish of a higher class by ending the newest waiting operation of the lowest class.
func (g *gate) displace(wish Op, now time.Time) bool {
	for c := range g.newest {
		if Class(c) >= wish.Class {
			return false
		}
		if g.newest[c].len() > 0 {
			victim := g.newest[c].top()
			g.detach(victim, now)
			g.end(victim, EndedDisplaced, fmt.Sprintf("displaced from the full queue by %s of %s", wish.Kind, wish.Host), now)
			return true
		}
	}
	return false
}

func (g *gate) refuse(h *host, wish Op, reason Reason, now time.Time) Ticket {
	message := "the queue is full"
	if reason == ReasonOutranked {
		message = "a changing operation of this host comes first"
	}
	h.outcome = &Outcome{
		Ending: EndedRefused, Kind: wish.Kind, ID: wish.ID, Class: wish.Class, Message: message, At: now,
	}
	g.tell(func(o Observer) { o.Ended(wish.Kind, wish.Class, EndedRefused, None) })
	return Ticket{Reason: reason, RetryAfter: refusedRetry + time.Duration(g.jitter()*float64(refusedRetry))}
}

// end records how an operation, already taken out, left the gate, and wakes its owner.
func (g *gate) end(o *op, ending Ending, message string, now time.Time) {
	o.host.outcome = &Outcome{
		Ending: ending, Kind: o.Kind, ID: o.ID, Class: o.Class, Failure: o.failure, Attempts: o.tries,
		Message: message, At: now,
	}
	kind, class, failure := o.Kind, o.Class, o.failure
	g.tell(func(obs Observer) { obs.Ended(kind, class, ending, failure) })
	if ending != EndedWithdrawn {
		g.wake(o.host.name)
	}
}

func (g *gate) withdraw(name string, now time.Time) {
	h := g.hosts[name]
	if h == nil {
		return
	}
	if h.running != nil {
		h.running.withdrawn = true
	}
	if w := h.waiting; w != nil {
		g.detach(w, now)
		g.end(w, EndedWithdrawn, "withdrawn", now)
	}
}

func (g *gate) register(p Poll, interval time.Duration, now time.Time) {
	h := g.hostOf(p.Host)
	if old := h.poll; old != nil {
		if old.Endpoint == p.Endpoint {
			old.Poll = p
			old.due = earlier(old.due, now.Add(g.spread(interval)))
			g.place(g.lanes[p.Endpoint], now)
			return
		}
		g.dropPoll(h, now)
	}
	// The first poll is due at once: nothing is known yet. The slots spread those of a fleet.
	h.poll = &poll{Poll: p, host: h, due: now}
	l := g.laneOf(p.Endpoint)
	l.polls = append(l.polls, h.poll)
	g.place(l, now)
}

// dropPoll takes the poll of h out. One in flight ends by itself and is not repeated.
func (g *gate) dropPoll(h *host, now time.Time) {
	p := h.poll
	h.poll = nil
	l := g.lanes[p.Endpoint]
	l.polls = slices.DeleteFunc(l.polls, func(x *poll) bool { return x == p })
	g.place(l, now)
}

// spread jitters a poll interval by a tenth either way, or a fleet that started together polls together for ever.
func (g *gate) spread(interval time.Duration) time.Duration {
	interval = max(interval, time.Second)
	return interval + time.Duration((g.jitter()-0.5)*0.2*float64(interval))
}

func (g *gate) unregister(name string, now time.Time) {
	h := g.hosts[name]
	if h == nil {
		return
	}
	g.withdraw(name, now)
	if h.poll != nil {
		g.dropPoll(h, now)
	}
	h.gone, h.outcome = true, nil
	g.forget(h)
}

func (g *gate) unregisterPoll(name string, now time.Time) {
	if h := g.hosts[name]; h != nil && h.poll != nil {
		g.dropPoll(h, now)
		g.forget(h)
	}
}

// forget drops a host that is registered nowhere, has nothing here and no outcome to tell.
func (g *gate) forget(h *host) {
	if h.poll == nil && h.waiting == nil && h.running == nil && h.outcome == nil && g.hosts[h.name] == h {
		delete(g.hosts, h.name)
	}
}

func (g *gate) pollNow(name string, now time.Time) {
	if h := g.hosts[name]; h != nil && h.poll != nil {
		h.poll.due, h.poll.urgent = now, true
		g.place(g.lanes[h.poll.Endpoint], now)
	}
}

// reset forgets what kept the endpoint from being tried, and has it tried at once, by its operations or else its polls.
func (g *gate) reset(endpoint string, now time.Time) {
	l := g.lanes[endpoint]
	if l == nil {
		return
	}
	l.generation++
	g.turned(l)
	l.clear()
	for _, o := range l.ops {
		o.host.failures, o.host.retryAt = 0, time.Time{}
	}
	if l.run != nil && l.run.op != nil {
		l.run.op.host.failures, l.run.op.host.retryAt = 0, time.Time{}
	}
	for _, p := range l.polls {
		p.due, p.urgent = now, true
	}
	g.place(l, now)
}

func (g *gate) park(endpoint string, until, now time.Time) {
	l := g.laneOf(endpoint)
	if !l.parked {
		g.turned(l)
	}
	l.parked, l.probeAt, l.failure = true, until, LoginFailed
	if l.message == "" {
		l.message = "log-in was refused"
	}
	g.place(l, now)
}

// turned wakes the owners of all hosts on a lane whose parking began or ended.
func (g *gate) turned(l *lane) {
	for _, p := range l.polls {
		g.wake(p.Host)
	}
	for _, o := range l.ops {
		if o.host.poll == nil {
			g.wake(o.Host)
		}
	}
}
