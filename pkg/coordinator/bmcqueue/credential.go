package bmcqueue

import (
	"fmt"
	"time"
)

// trust is what is known of a credential.
type trust int

const (
	// untried: no log-in with it worked in this process, or one was refused since. One host tries it at a time.
	untried trust = iota
	// proven: a log-in with it worked. All hosts use it.
	proven
	// refused: the one that tried it was refused. Nobody tries it before probeAt.
	refused
)

// credential is what the hosts that share one learn of it together. BMCs lock accounts out after a few refused log-ins, and a
// directory behind many BMCs counts them all: so a canary goes first.
type credential struct {
	key     string
	hosts   map[*host]struct{}
	trust   trust
	round   uint64    // counts doubts: a run that began before one proves nothing any more
	canary  *run      // the newest run that tries it; nil if none
	refuser string    // endpoint of the last refusal
	probeAt time.Time // when a refused one is tried again
	told    bool      // the owners of its hosts were told that it was refused, and not yet that it works
}

// opensAt is when an endpoint may try the credential; zero means at any time. c may be nil.
func (c *credential) opensAt(endpoint string) time.Time {
	switch {
	case c == nil || c.trust == proven:
		return time.Time{}
	case c.trust == refused && c.refuser == endpoint:
		return c.probeAt.Add(CanaryTime) // another endpoint probes first: one odd BMC shall not hold back the rest for ever
	case c.trust == refused:
		return c.probeAt
	case c.canary != nil && c.canary.lane.endpoint != endpoint:
		return c.canary.started.Add(CanaryTime)
	}
	return time.Time{}
}

// blocks says that a refusal elsewhere, and nothing of its own, keeps an endpoint from being tried.
func (c *credential) blocks(endpoint string, now time.Time) bool {
	return c != nil && c.trust == refused && c.opensAt(endpoint).After(now)
}

func (c *credential) reason() string {
	return fmt.Sprintf("not tried: %s refused a log-in with the same credentials", c.refuser)
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

// reconsider has a refused credential tried again soon if no host uses it any more where it was refused: perhaps it was wrong
// only there. Not at once: when a shared Secret is replaced, its hosts learn it one after the other.
func (g *gate) reconsider(c *credential, now time.Time) {
	if c == nil || c.trust != refused || !c.probeAt.After(now.Add(reconsiderAfter)) {
		return
	}
	for h := range c.hosts {
		if h.poll != nil && h.poll.Endpoint == c.refuser || h.waiting != nil && h.waiting.Endpoint == c.refuser {
			return
		}
	}
	c.probeAt = now.Add(reconsiderAfter)
	g.placeUsers(c, now)
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
	case res.Failure == LoginFailed && !void && was == proven:
		c.refuser = r.lane.endpoint
		g.doubt(c, now)
		return
	case res.Failure == LoginFailed && !void:
		c.trust, c.canary, c.refuser, c.probeAt = refused, nil, r.lane.endpoint, now.Add(ProbeInterval)
	case res.Failure == None && c.round == r.round && was != proven && !unclear:
		c.trust, c.canary = proven, nil
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

// forgive opens the refused credentials of an endpoint's hosts: all of them, or those that were refused at this endpoint.
func (g *gate) forgive(l *lane, all bool, now time.Time) {
	forgive := func(h *host) {
		if c := h.credential; c != nil && c.trust == refused && (all || c.refuser == l.endpoint) {
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
