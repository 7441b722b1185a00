package bmcqueue

import (
	"slices"
	"time"
)

// gate is the state of a Queue and everything that decides: no lock, no goroutine, no clock. Queue calls it under its
// mutex; tests drive it through millions of steps.
type gate struct {
	settings Settings
	jitter   func() float64

	lanes       map[string]*lane
	hosts       map[string]*host
	credentials map[string]*credential
	recorded    map[string]map[string]time.Time // refusals of before a restart that Park told, by key and endpoint, until when they count

	timers heap[*lane]        // by the time at which place has to look at the lane again
	ops    [2]*readySet       // ready operations: of endpoints in order, of suspect ones
	polls  [2]heap[*lane]     // lanes with a ready poll: likewise
	newest [classes]heap[*op] // all waiting operations by class, newest first: whom to displace
	runs   map[*run]struct{}  // in flight
	seq    uint64             // of the last accepted operation
	turn   uint64             // of the last start, for fairness
	// sincePoll counts the operations that started since the last poll did.
	sincePoll int
	events    []event                       // to be told once no lock is held
	counts    struct{ polls, suspects int } // in flight, of each kind
	groups    map[string]int                // in flight, by group

	silentUntil time.Time // see takeOver
	tookOver    time.Time
	positions   map[string]int // cache of Status.Position
	positioned  time.Time
}

// event is something to tell Options.Done (wake) or Options.Observer (tell).
type event struct {
	wake string
	tell func(Observer)
}

// healthy and suspect index ops and polls.
const (
	healthy = 0
	suspect = 1
)

func newGate(s Settings, jitter func() float64) *gate {
	g := &gate{
		settings: s.normalised(),
		jitter:   jitter,
		lanes:    map[string]*lane{},
		hosts:    map[string]*host{},
		ops:      [2]*readySet{newReadySet(), newReadySet()},
		runs:     map[*run]struct{}{},
		groups:   map[string]int{},

		credentials: map[string]*credential{},
		recorded:    map[string]map[string]time.Time{},
	}
	g.timers = heap[*lane]{
		less: func(a, b *lane) bool { return a.wake.Before(b.wake) },
		at:   func(l *lane) *int { return &l.posTimer },
	}
	for i := range g.polls {
		g.polls[i] = heap[*lane]{less: pollsFirst, at: func(l *lane) *int { return &l.posPoll }}
	}
	for i := range g.newest {
		g.newest[i] = heap[*op]{
			less: func(a, b *op) bool {
				return a.since.After(b.since) || a.since.Equal(b.since) && a.seq > b.seq
			},
			at: func(o *op) *int { return &o.posNewest },
		}
	}
	return g
}

func pollsFirst(a, b *lane) bool {
	if a.due.urgent != b.due.urgent {
		return a.due.urgent
	}
	if !a.due.due.Equal(b.due.due) {
		return a.due.due.Before(b.due.due)
	}
	return a.endpoint < b.endpoint // or the order of a map would decide, and no run of a test could be repeated
}

func (g *gate) wake(host string)            { g.events = append(g.events, event{wake: host}) }
func (g *gate) tell(what func(Observer))    { g.events = append(g.events, event{tell: what}) }
func (g *gate) takeEvents() (taken []event) { taken, g.events = g.events, nil; return taken }

func (g *gate) waiting() (n int) {
	for i := range g.newest {
		n += g.newest[i].len()
	}
	return n
}

func (g *gate) laneOf(endpoint string) *lane {
	l := g.lanes[endpoint]
	if l == nil {
		l = &lane{endpoint: endpoint, wake: never, soonest: never}
		g.lanes[endpoint] = l
	}
	return l
}

func (g *gate) hostOf(name string) *host {
	h := g.hosts[name]
	if h == nil {
		h = &host{name: name}
		g.hosts[name] = h
	}
	h.gone = false
	return h
}

// attach makes o the waiting operation of its host.
func (g *gate) attach(o *op, now time.Time) {
	o.host.waiting = o
	o.lane.ops = append(o.lane.ops, o)
	g.newest[o.Class].push(o)
	g.place(o.lane, now)
}

// detach takes o, which waits, out of everything.
func (g *gate) detach(o *op, now time.Time) {
	g.unready(o)
	g.newest[o.Class].remove(o)
	o.host.waiting = nil
	l := o.lane
	l.ops = slices.DeleteFunc(l.ops, func(x *op) bool { return x == o })
	if l.settling == o {
		l.settling = nil
	}
	g.place(l, now)
}

// place puts a lane where it belongs now: its operations and its first poll among the ready ones, or the lane among
// the timers. It has to be called after every change of what eligible depends on. What is rightly ready stays where
// it is: its place in the round is kept.
func (g *gate) place(l *lane, now time.Time) {
	g.timers.remove(l)
	g.unpoll(l)
	l.wake, l.soonest = never, never
	if l.run != nil {
		for _, o := range l.ops {
			g.unready(o)
		}
		return
	}
	for _, o := range l.ops {
		at := g.eligible(o)
		if at.After(now) {
			g.unready(o)
			g.noteCooldown(o, at)
			l.wake = earlier(l.wake, at)
		} else {
			g.makeReady(o, now)
		}
		l.soonest = earlier(l.soonest, at)
	}
	if p, due := g.nextPoll(l, now); p != nil && l.fits(now, g.settings) {
		if at := later(due, g.silentUntil); at.After(now) {
			l.wake = earlier(l.wake, at)
		} else {
			l.due, l.pollsIn = p, &g.polls[l.side()]
			l.pollsIn.push(l)
		}
	}
	if len(l.ops) == 0 && len(l.polls) == 0 {
		l.wake = l.forgettableAt(g.settings)
		if !l.wake.After(now) {
			delete(g.lanes, l.endpoint)
			return
		}
	}
	if l.wake.Before(never) {
		g.timers.push(l)
	}
}

func (l *lane) side() int {
	if l.unreachable > 0 {
		return suspect
	}
	return healthy
}

func (g *gate) makeReady(o *op, now time.Time) {
	set := g.ops[o.lane.side()]
	if o.ready == set {
		return
	}
	g.unready(o)
	o.readyAt, o.ageFrom = now, o.since
	if o.lane.unreachable > 0 {
		// Or the oldest, deadest BMC would always go first in the slots that it may use.
		o.ageFrom = now
	}
	o.ready = set
	set.push(o, g.turn)
}

func (g *gate) unready(o *op) {
	if o.ready != nil {
		o.ready.remove(o)
		o.ready = nil
	}
}

func (g *gate) unpoll(l *lane) {
	if l.pollsIn != nil {
		l.pollsIn.remove(l)
	}
	l.due, l.pollsIn = nil, nil
}

// placeAll follows a change that concerns every lane.
func (g *gate) placeAll(now time.Time) {
	for _, l := range g.lanes {
		g.place(l, now)
	}
}

// next takes the best run that may start now, marks it in flight and returns it; nil if nothing may start.
func (g *gate) next(now time.Time) *run {
	for g.timers.len() > 0 && !g.timers.top().wake.After(now) {
		g.place(g.timers.top(), now)
	}
	if len(g.runs) >= g.settings.slots() {
		return nil
	}
	sides := []int{healthy, suspect}
	if g.counts.suspects >= g.settings.suspectSlots() {
		sides = sides[:1]
	}
	o := g.bestOp(sides, now)
	if l := g.impatient(o, now); l != nil {
		return g.startPoll(l, now)
	}
	if o != nil {
		return g.startOp(o, now)
	}
	if g.counts.polls >= g.settings.pollSlots() {
		return nil
	}
	if l := g.bestPoll(sides, now); l != nil {
		return g.startPoll(l, now)
	}
	return nil
}

func (g *gate) bestOp(sides []int, now time.Time) *op {
	var oldest *op
	var rank int
	for _, side := range sides {
		if o, r := g.ops[side].best(now); o != nil && (oldest == nil || r > rank || r == rank && older(o, oldest)) {
			oldest, rank = o, r
		}
	}
	if oldest == nil {
		return nil
	}
	return oldest.ready.next(oldest.Class)
}

func (g *gate) bestPoll(sides []int, now time.Time) *lane {
	var first *lane
	for _, side := range sides {
		for g.polls[side].len() > 0 {
			l := g.polls[side].top()
			if l.fits(now, g.settings) {
				if first == nil || pollsFirst(l, first) {
					first = l
				}
				break
			}
			// While the poll waited for a slot, the time of an operation came close. That one's timer is set.
			g.unpoll(l)
		}
	}
	return first
}

func (g *gate) startOp(o *op, now time.Time) *run {
	g.turn++
	g.sincePoll++
	o.ready.served(o, g.turn)
	h, l := o.host, o.lane
	r := &run{lane: l, op: o, request: o.Op, waited: now.Sub(o.readyAt)}
	if l.settling == o {
		l.settling = nil // complete sets it again if the effect is still to come
	}
	g.unready(o)
	g.newest[o.Class].remove(o)
	l.ops = slices.DeleteFunc(l.ops, func(x *op) bool { return x == o })
	h.waiting, h.running = nil, o
	o.withdrawn, o.cooled = false, false
	g.occupy(o.Group, +1)
	return g.start(r, h, now)
}

func (g *gate) startPoll(l *lane, now time.Time) *run {
	p := l.due
	r := &run{lane: l, poll: p, waited: max(now.Sub(p.due), 0), interval: p.Interval, request: Op{
		Endpoint: p.Endpoint, Host: p.Host, Namespace: p.Namespace, Kind: "Poll", Run: p.Run,
	}}
	p.urgent = false
	g.counts.polls++
	g.sincePoll = 0
	return g.start(r, p.host, now)
}

func (g *gate) start(r *run, h *host, now time.Time) *run {
	l := r.lane
	r.started, r.generation, r.suspect, r.key = now, l.generation, l.unreachable > 0, h.key()
	if r.suspect {
		g.counts.suspects++
	}
	if r.request.Timeout <= 0 {
		r.request.Timeout = g.settings.OperationTimeout
	}
	l.run = r
	g.runs[r] = struct{}{}
	g.place(l, now)
	g.tries(r, h, now)
	return r
}

// occupy counts what is in flight of a group, and closes the group at its cap.
func (g *gate) occupy(group string, n int) {
	if group == "" {
		return
	}
	if g.groups[group] += n; g.groups[group] == 0 {
		delete(g.groups, group)
	}
	g.capGroup(group)
}

func (g *gate) capGroup(group string) {
	full := g.settings.groupFull(group, g.groups[group])
	for _, set := range g.ops {
		set.close(group, full)
	}
}

// apply takes over other settings.
func (g *gate) apply(s Settings, now time.Time) {
	before := g.settings.GroupCaps
	g.settings = s.normalised()
	for _, caps := range []map[string]int{before, g.settings.GroupCaps} {
		for group := range caps {
			g.capGroup(group)
		}
	}
	g.placeAll(now)
}

// noteCooldown tells, once for every time an operation waits, that it is the cooldown that it waits for.
func (g *gate) noteCooldown(o *op, at time.Time) {
	if !o.cooled && !o.ReadOnly && at.Equal(o.lane.cooldownEnds(g.settings)) {
		o.cooled = true
		g.tell(func(obs Observer) { obs.CooldownWaited() })
	}
}

// wakeAt is when next has to be asked again, if nothing else happens.
func (g *gate) wakeAt(now time.Time) time.Time {
	at := never
	if g.timers.len() > 0 {
		at = g.timers.top().wake
	}
	if g.crowded() {
		for r := range g.runs {
			if due := r.started.Add(HushAfter); r.silent() && due.After(now) {
				at = earlier(at, due)
			}
		}
	}
	return at
}
