package bmcqueue

import (
	"fmt"
	"slices"
	"time"
)

// complete takes in the result of a run; interval is when its poll wants to run again.
func (g *gate) complete(r *run, res Result, interval time.Duration, now time.Time) {
	if res.Failure == None && res.Err != nil {
		res.Failure = Other
	}
	if r.hushed && res.Failure != None && res.Failure != LoginFailed {
		res.Failure, res.Message = Unreachable, fmt.Sprintf("no sign of life for %s, and others waited", HushAfter)
	}
	l := r.lane
	l.run = nil
	delete(g.runs, r)
	if r.suspect {
		g.counts.suspects--
	}
	if res.Changed {
		l.changedAt, l.cooldown, l.rest = now, r.request.Cooldown, res.Rest
	}
	// We cut it short, or it worked with what a Reset has replaced since: its failure says nothing about the BMC.
	void := res.Failure != None && (r.cancelled && res.Failure != LoginFailed || r.generation != l.generation)
	backedOff := l.unreachable+l.busy > 0
	if !void && l.learn(r.key, res, now, g) {
		g.turned(l)
	}
	g.tried(r, res, void, now)
	if r.poll != nil {
		if res.Failure != None || backedOff {
			g.wake(r.poll.Host) // how often it failed, and when it is tried again, is to be seen
		}
		g.completePoll(r, interval, now)
	} else {
		g.occupy(r.request.Group, -1)
		g.completeOp(r.op, res, void, now)
	}
	kind, group, class, failure := r.request.Kind, r.request.Group, r.request.Class, res.Failure
	waited, took := r.waited, now.Sub(r.started)
	g.tell(func(o Observer) { o.Tried(kind, group, class, failure, waited, took) })
	g.place(l, now)
}

func (g *gate) completePoll(r *run, interval time.Duration, now time.Time) {
	g.counts.polls--
	r.lane.pollTook = now.Sub(r.started)
	if p := r.poll; p.host.poll == p && !p.urgent {
		if p.due = now.Add(g.spread(interval)); r.hushed {
			p.due = now // it had no fair try yet; the back-off holds it long enough
		}
	}
	g.forget(r.poll.host, now)
}

func (g *gate) completeOp(o *op, res Result, void bool, now time.Time) {
	h := o.host
	h.running = nil
	if res.Failure != None {
		o.failure, o.message = res.Failure, res.text()
	}
	switch {
	case void, res.Failure == LoginFailed:
		g.requeue(o, now)
	case res.Failure == None && res.Wait > 0:
		h.failures, h.retryAt = 0, time.Time{}
		g.settle(o, res.Wait, now)
	case res.Failure == None:
		h.failures, h.retryAt = 0, time.Time{}
		o.failure = None
		g.end(o, EndedSucceeded, res.text(), now)
	default:
		o.tries++
		if res.Failure == Other {
			h.failures++
			h.retryAt = now.Add(g.delay(h.failures, res.RetryAfter))
		}
		if o.tries >= g.settings.RetryAttempts {
			g.end(o, EndedFailed, o.message, now)
		} else {
			g.requeue(o, now)
		}
	}
	if w := h.waiting; w != nil && w != o {
		g.place(w.lane, now) // it may be on another lane, and waited for this host
	}
	if h.gone {
		h.outcome = nil
	}
	g.forget(h, now)
}

// settle lets o wait for its effect. A successor or a withdrawal does not end that: the BMC is at work either way.
func (g *gate) settle(o *op, wait time.Duration, now time.Time) {
	o.notBefore = now.Add(wait)
	o.failure, o.message = None, ""
	if !o.ReadOnly {
		o.lane.settleUntil = o.notBefore
	}
	if g.requeue(o, now) && !o.ReadOnly {
		o.lane.settling = o
		g.place(o.lane, now)
	}
}

// requeue makes a run operation wait again, unless its owner changed its mind meanwhile. It asks for no room: what was
// accepted stays.
func (g *gate) requeue(o *op, now time.Time) bool {
	switch {
	case o.withdrawn:
		g.end(o, EndedWithdrawn, "withdrawn", now)
		return false
	case o.host.waiting != nil:
		g.end(o, EndedSuperseded, fmt.Sprintf("superseded by %s", o.host.waiting.Kind), now)
		return false
	}
	g.attach(o, now)
	g.wake(o.host.name)
	return true
}

// holdAll marks every run as cut short by us, and returns what cancels them.
func (g *gate) holdAll() (cancels []func(error)) {
	for r := range g.runs {
		if !r.cancelled {
			r.cancelled = true
			cancels = append(cancels, r.cancel)
		}
	}
	return cancels
}

// ordered are the waiting operations, in the order of rank and age. Fairness between namespaces is not in it: that
// depends on what comes.
func (g *gate) ordered(now time.Time) []*op {
	all := make([]*op, 0, g.waiting())
	for i := range g.newest {
		all = append(all, g.newest[i].items...)
	}
	slices.SortFunc(all, func(a, b *op) int {
		ra, rb := int(a.Class)+int(now.Sub(a.since)/AgePeriod), int(b.Class)+int(now.Sub(b.since)/AgePeriod)
		if ra != rb {
			return rb - ra
		}
		if c := a.since.Compare(b.since); c != 0 {
			return c
		}
		if a.seq < b.seq {
			return -1
		}
		return 1
	})
	return all
}
