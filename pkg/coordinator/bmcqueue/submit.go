package bmcqueue

import (
	"fmt"
	"slices"
	"time"
)

// refusedRetry is when a refused caller should come back, before jitter.
const refusedRetry = 10 * time.Second

// submit takes in a wish; relations says how it gets on with what its host has here already.
func (g *gate) submit(wish Op, now time.Time) Ticket {
	if wish.Endpoint == "" || wish.Host == "" || wish.Run == nil {
		return Ticket{Reason: ReasonInvalid}
	}
	wish.Class = min(max(wish.Class, ClassRest), ClassRelease)
	h := g.hostOf(wish.Host)
	if wish.Credential != "" {
		g.use(h, wish.Credential, now)
	}
	running, waiting := h.judge(wish)
	switch {
	case running == merge:
		return g.joinRunning(h, wish, now)
	case waiting == merge:
		g.mergeWaiting(h.waiting, wish, now)
		return g.accepted(h.waiting, ReasonMerged, now)
	case running == drop, waiting == drop:
		return g.refuse(h, wish, ReasonOutranked, now)
	}
	o := &op{Op: wish, host: h, since: now}
	reason := ReasonQueued
	if w := h.waiting; waiting == supersede {
		// It takes the place of the loser, in the count and in age.
		o.since, reason = w.since, ReasonSuperseded
		g.supersede(w, wish, now)
	} else if g.waiting() >= g.settings.MaxQueueSize && !g.displace(wish, now) {
		return g.refuse(h, wish, ReasonFull, now)
	}
	g.seq++
	o.seq, o.lane = g.seq, g.laneOf(wish.Endpoint)
	g.attach(o, now)
	return g.accepted(o, reason, now)
}

func (g *gate) supersede(loser *op, wish Op, now time.Time) {
	g.detach(loser, now)
	g.end(loser, EndedSuperseded, fmt.Sprintf("superseded by %s", wish.Kind), now)
}

func (g *gate) accepted(o *op, reason Reason, now time.Time) Ticket {
	if o.lane.refuses(o.host) || o.host.credential.blocks(o.lane.endpoint, now) {
		reason = ReasonParked
	}
	return Ticket{Accepted: true, Reason: reason}
}

// joinRunning merges a wish into the running operation; what waited behind it is an older decision by now.
func (g *gate) joinRunning(h *host, wish Op, now time.Time) Ticket {
	r := h.running
	wish.Class = max(wish.Class, r.Class)
	r.Op, r.withdrawn = wish, false
	if h.waiting != nil {
		g.supersede(h.waiting, wish, now)
	}
	return g.accepted(r, ReasonMerged, now)
}

// mergeWaiting lets the newer wish run in the older one's place. Only a changed class, namespace or group moves it: a caller
// that repeats itself must not lose its turn.
func (g *gate) mergeWaiting(w *op, wish Op, now time.Time) {
	wish.Class = max(wish.Class, w.Class)
	moved := wish.Class != w.Class || wish.Namespace != w.Namespace || wish.Group != w.Group
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
	replaced := g.use(h, p.Credential, now)
	if old := h.poll; old != nil {
		if old.Endpoint == p.Endpoint {
			old.Poll = p
			old.due = earlier(old.due, now.Add(g.spread(interval)))
			if replaced {
				g.reset(p.Endpoint, now) // what was refused, or counted against the BMC, was the credential before
			}
			g.place(g.lanes[p.Endpoint], now)
			return
		}
		g.dropPoll(h, now)
		g.reconsider(h.credential, now)
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
	g.forget(h, now)
}

func (g *gate) unregisterPoll(name string, now time.Time) {
	if h := g.hosts[name]; h != nil && h.poll != nil {
		g.dropPoll(h, now)
		g.forget(h, now)
	}
}

// forget drops a host that is registered nowhere, has nothing here and no outcome to tell.
func (g *gate) forget(h *host, now time.Time) {
	if h.poll == nil && h.waiting == nil && h.running == nil && h.outcome == nil && g.hosts[h.name] == h {
		delete(g.hosts, h.name)
		c := h.credential
		h.credential = nil
		g.leave(h, c, now)
	}
}

func (g *gate) pollNow(name string, now time.Time) {
	if h := g.hosts[name]; h != nil && h.poll != nil {
		h.poll.due, h.poll.urgent = now, true
		g.place(g.lanes[h.poll.Endpoint], now)
	}
}

// retry is reset because a person asks: what another endpoint said of the credentials does not count either.
func (g *gate) retry(endpoint string, now time.Time) {
	if l := g.lanes[endpoint]; l != nil {
		g.forgive(l, true, now)
		g.reset(endpoint, now)
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
	l.parks = nil
	g.forgive(l, false, now)
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

func (g *gate) park(endpoint, credential string, until, now time.Time) {
	l := g.laneOf(endpoint)
	p, parked := l.parks[credential]
	if !parked {
		g.turned(l)
	}
	if p.probeAt = until; p.message == "" {
		p.message = "log-in was refused"
	}
	l.park(credential, p)
	g.record(endpoint, credential, until, now)
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
