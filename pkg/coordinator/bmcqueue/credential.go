package bmcqueue

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// trust is what is known of a credential.
type trust int

const (
	// untried: no log-in with it worked in this process, or one was refused since. One host tries it at a time.
	untried trust = iota
	// proven: a log-in with it worked. All hosts use it.
	proven
	// refused: as many BMCs as opinions refused it. Nobody tries it before probeAt.
	refused
)

// opinions is how many BMCs have to refuse a credential before it is held to be wrong everywhere: one alone may be odd (another
// password, an account of its own, a full session table that it calls a wrong password). BMCs and directories lock an account at
// the third refusal or later.
const opinions = 2

// credential is what the hosts that share one learn of it together. BMCs lock accounts out after a few refused log-ins, and a
// directory behind many BMCs counts them all: so a canary goes first.
type credential struct {
	key      string
	hosts    map[*host]struct{}
	trust    trust
	round    uint64    // counts doubts: a run that began before one proves nothing any more
	canary   *run      // the newest run that tries it; nil if none
	refusers []string  // endpoints that refused it since it worked last, the last one at the end
	probeAt  time.Time // when a refused one is tried again
	told     bool      // the owners of its hosts were told that it was refused, and not yet that it works
}

// holdsUntil is how long a canary keeps others from trying its credential. One that is silent cannot lock an account.
func (r *run) holdsUntil() time.Time {
	if r.answered {
		return r.started.Add(CanaryTime)
	}
	return r.started.Add(SilentTime)
}

func (c *credential) refusedAt(endpoint string) bool { return slices.Contains(c.refusers, endpoint) }

func (c *credential) refuser() string { return c.refusers[len(c.refusers)-1] }

// acquit forgets the refusals of the endpoints that are not to be kept.
func (c *credential) acquit(keep func(endpoint string) bool) {
	c.refusers = slices.DeleteFunc(c.refusers, func(e string) bool { return !keep(e) })
}

// opensAt is when an endpoint may try the credential; zero means at any time. c may be nil.
func (c *credential) opensAt(endpoint string) time.Time {
	switch {
	case c == nil || c.trust == proven:
		return time.Time{}
	case c.trust == refused && c.refusedAt(endpoint):
		return c.probeAt.Add(CanaryTime) // another endpoint probes first: odd BMCs shall not hold back the rest for ever
	case c.trust == refused:
		return c.probeAt
	case c.canary != nil && c.canary.lane.endpoint != endpoint:
		return c.canary.holdsUntil()
	}
	return time.Time{}
}

// blocks says that a refusal elsewhere, and nothing of its own, keeps an endpoint from being tried.
func (c *credential) blocks(endpoint string, now time.Time) bool {
	return c != nil && c.trust == refused && c.opensAt(endpoint).After(now)
}

func (c *credential) reason() string {
	last := c.refusers[max(len(c.refusers)-opinions, 0):]
	return fmt.Sprintf("not tried: %s refused a log-in with the same credentials", strings.Join(last, " and "))
}

// use notes that h logs in with key from now on, and reports whether it used another one before.
func (g *gate) use(h *host, key string, now time.Time) (replaced bool) {
	old := h.credential
	if old == nil && key == "" || old != nil && old.key == key {
		return false
	}
	h.credential = nil
	if key != "" {
		c := g.credentials[key]
		if c == nil {
			c = &credential{key: key, hosts: map[*host]struct{}{}}
			g.credentials[key] = c
		}
		c.hosts[h] = struct{}{}
		h.credential = c
		g.recall(c, now)
	}
	g.leave(h, old, now)
	g.placeHost(h, now)
	return old != nil
}

// leave takes h, which uses another one now, out of the users of c. A credential without users is forgotten.
func (g *gate) leave(h *host, c *credential, now time.Time) {
	if c == nil {
		return
	}
	delete(c.hosts, h)
	if len(c.hosts) == 0 {
		delete(g.credentials, c.key)
		return
	}
	g.reconsider(c, now)
}

// reconsider has a refused credential tried again soon if too few hosts still use it where it was refused: perhaps it was wrong
// only there. Not at once: when a shared Secret is replaced, its hosts learn it one after the other.
func (g *gate) reconsider(c *credential, now time.Time) {
	if c == nil || c.trust != refused || !c.probeAt.After(now.Add(reconsiderAfter)) {
		return
	}
	still := 0
	for _, refuser := range c.refusers {
		for h := range c.hosts {
			if h.poll != nil && h.poll.Endpoint == refuser || h.waiting != nil && h.waiting.Endpoint == refuser {
				still++
				break
			}
		}
	}
	if still >= opinions {
		return
	}
	c.probeAt = now.Add(reconsiderAfter)
	g.placeUsers(c, now)
}

// record keeps a refusal of before a restart for the hosts that share the credential: a process that restarts again and again must
// not ask two more BMCs each time.
func (g *gate) record(endpoint, key string, until, now time.Time) {
	if key == "" {
		return
	}
	if g.recorded[key] == nil {
		g.recorded[key] = map[string]time.Time{}
	}
	g.recorded[key][endpoint] = until
	if c := g.credentials[key]; c != nil {
		g.recall(c, now)
	}
}

// recall takes in what was recorded of c.
func (g *gate) recall(c *credential, now time.Time) {
	recorded := g.recorded[c.key]
	delete(g.recorded, c.key)
	if c.trust == proven {
		return
	}
	last := now
	for _, endpoint := range slices.Sorted(maps.Keys(recorded)) {
		if until := recorded[endpoint]; until.After(now) {
			last = later(last, until)
			c.acquit(func(e string) bool { return e != endpoint })
			c.refusers = append(c.refusers, endpoint)
		}
	}
	if last.After(now) && len(c.refusers) >= opinions {
		c.trust, c.canary, c.probeAt = refused, nil, later(c.probeAt, last)
		g.placeUsers(c, now)
	}
}

// doubt opens a credential for one host at a time.
func (g *gate) doubt(c *credential, now time.Time) {
	c.trust, c.canary = untried, nil
	c.round++
	g.placeUsers(c, now)
}

// tries notes that r, which starts now, logs in with its host's credential.
func (g *gate) tries(r *run, h *host, now time.Time) {
	c := h.credential
	if c == nil {
		return
	}
	r.credential, r.round, r.holder = c, c.round, h
	if c.trust != proven {
		c.trust, c.canary = untried, r
		g.placeUsers(c, now)
	}
}

// heard notes that the BMC of r gave a sign of life: from now on it is waited for.
func (g *gate) heard(r *run, now time.Time) {
	if r.answered {
		return
	}
	r.answered = true
	if c := r.credential; c != nil && c.canary == r {
		g.placeUsers(c, now)
	}
}

// tried takes in what a run says about its credential. Only a success proves it and only a refusal speaks against it: after
// anything else the next one tries.
func (g *gate) tried(r *run, res Result, void bool, now time.Time) {
	c := r.credential
	if c == nil {
		return
	}
	was, canary := c.trust, c.canary == r
	if canary {
		c.canary = nil
	}
	// Its host was given another credential meanwhile: nobody knows which of them was used.
	unclear := r.holder.credential != c
	void = void || unclear
	switch {
	case res.Failure == LoginFailed && !void:
		c.acquit(func(e string) bool { return e != r.lane.endpoint })
		c.refusers = append(c.refusers, r.lane.endpoint)
		if was == proven || len(c.refusers) < opinions {
			g.doubt(c, now) // another BMC is asked
			return
		}
		c.trust, c.canary, c.probeAt = refused, nil, now.Add(ProbeInterval)
	case res.Failure == None && c.round == r.round && was != proven && !unclear:
		c.trust, c.canary, c.refusers = proven, nil, nil
	case !canary:
		return
	}
	if c.trust == refused || c.trust == proven && c.told {
		c.told = c.trust == refused
		for h := range c.hosts {
			g.wake(h.name)
		}
	}
	g.placeUsers(c, now)
}

// placeUsers follows a change that concerns every host of a credential.
func (g *gate) placeUsers(c *credential, now time.Time) {
	for h := range c.hosts {
		g.placeHost(h, now)
	}
}

func (g *gate) placeHost(h *host, now time.Time) {
	if h.waiting != nil {
		g.place(h.waiting.lane, now)
	}
	if h.poll != nil && (h.waiting == nil || h.waiting.Endpoint != h.poll.Endpoint) {
		g.place(g.laneOf(h.poll.Endpoint), now)
	}
}

// forgive opens the refused credentials of an endpoint's hosts: all of them, or those that were refused at this endpoint. The
// refusals of other endpoints count on: one more, and it is refused again.
func (g *gate) forgive(l *lane, all bool, now time.Time) {
	forgive := func(h *host) {
		c := h.credential
		if c == nil {
			return
		}
		here := c.refusedAt(l.endpoint)
		c.acquit(func(e string) bool { return e != l.endpoint })
		if c.trust == refused && (all || here) {
			g.doubt(c, now)
		}
	}
	for _, o := range l.ops {
		forgive(o.host)
	}
	for _, p := range l.polls {
		forgive(p.host)
	}
}
