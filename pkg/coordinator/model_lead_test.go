package coordinator

import (
	"context"
	"slices"
	"time"

	"github.com/beskar7/beskar7/pkg/hostselection"
)

// lease is the arbiter's Lease on one side.
type lease struct {
	holder      string
	transitions int32
	expires     time.Time
}

const (
	leaseDuration = 15 * time.Second
	leaseValidity = 10 * time.Second
)

// lead does the next thing that a candidate does.
func (m *model) lead(r *replica) {
	now, l := m.clock.Now(), &r.side.lease
	if m.random.IntN(2) == 0 && m.deposal() {
		return
	}
	switch {
	case r.leads && (l.holder != r.name || !now.Before(r.validUntil)) && m.random.IntN(2) == 0:
		m.tell("%s notices that it is the arbiter no more", r.name)
		r.leads = false
		r.arbiter.stepDown()
	case r.leads && l.holder == r.name && m.random.IntN(3) == 0:
		l.expires, r.validUntil = now.Add(leaseDuration), now.Add(leaseValidity)
	case r.leads:
		m.serve(r)
	case !now.Before(l.expires):
		m.elect(r)
	}
}

// elect makes a replica the arbiter, and lets it take over.
func (m *model) elect(r *replica) {
	l := &r.side.lease
	l.transitions++
	if l.holder != "" {
		m.count("leader change")
	}
	l.holder, l.expires = r.name, m.clock.Now().Add(leaseDuration)
	r.leads, r.transitions, r.validUntil = true, l.transitions, m.clock.Now().Add(leaseValidity)
	m.tenures[Fence{r.name, l.transitions}] = true
	m.takeOver(r)
}

func (m *model) takeOver(r *replica) {
	if m.busy(r, "takes over") {
		return
	}
	arbiter := r.arbiter
	arbiter.stepDown() // as a new Run begins
	m.launch(&call{replica: r, name: r.name + " takes over", machine: "takes over"}, func(ctx context.Context) { _ = arbiter.takeOver(ctx) })
}

func (m *model) busy(r *replica, what string) bool {
	return slices.ContainsFunc(m.calls, func(c *call) bool { return c.replica == r && c.machine == what })
}

// serve lets the arbiter choose, and begins to write.
func (m *model) serve(r *replica) bool {
	if r.arbiter.term == nil {
		m.takeOver(r)
		return false
	}
	b, _ := r.arbiter.next(context.Background())
	if b == nil {
		return false
	}
	if !m.clock.Now().Before(r.validUntil) {
		m.fail("D5: %s claims although it knows that its Lease is over", r.name)
	}
	arbiter := r.arbiter
	m.launch(&call{replica: r, bind: b, machine: b.ticket.key.Name, name: r.name + " binds " + b.ticket.key.Name + " to " + b.host.Name},
		func(ctx context.Context) { arbiter.write(ctx, b) })
	return true
}

// deposal is the schedule that every arbiter must survive: A pauses before its write, B is elected and serves the same machine,
// perhaps with another host, and A resumes at some later time.
func (m *model) deposal() bool {
	at := slices.IndexFunc(m.calls, func(c *call) bool { return c.bind != nil && c.replica.side == m.at && c.fresh() && c.writes() })
	if at < 0 {
		return false
	}
	paused := m.calls[at]
	m.clock.SetTime(m.clock.Now().Add(leaseDuration))
	for _, r := range m.replicas {
		if r == paused.replica || m.busy(r, "takes over") {
			continue
		}
		m.tell("%s pauses; %s is elected", paused.replica.name, r.name)
		r.algorithm = hostselection.Priority // it need not choose as the other did
		if paused.replica.algorithm == hostselection.Priority {
			r.algorithm = hostselection.Deterministic
		}
		m.elect(r)
		m.finishOf(r, "takes over")
		for r.arbiter.term != nil && m.serve(r) {
			m.finishOf(r, "")
		}
		return true
	}
	return false
}

// fresh says whether the arbiter of a bind is still the one by the Lease.
func (c *call) fresh() bool { return c.bind.fence.Transitions == c.replica.side.lease.transitions }

// finishOf lets the calls of a replica end that are take-overs, or binds.
func (m *model) finishOf(r *replica, what string) {
	for {
		at := slices.IndexFunc(m.calls, func(c *call) bool {
			return c.replica == r && (c.machine == what || what == "" && c.bind != nil && c.bind.term == r.arbiter.term)
		})
		if at < 0 {
			return
		}
		m.proceed(m.calls[at], fine)
	}
}

// noteDeposed counts the writes of arbiters that were deposed before they came to them.
func (m *model) noteDeposed(c *call, with fault) {
	if c.bind == nil || with == failBefore || with == crash || c.fresh() {
		return
	}
	m.count("leader change in mid-bind")
	for name, host := range c.replica.side.api.hosts {
		if claim := host.Spec.Claim; claim != nil && claim.Machine == c.machine && name != c.bind.host.Name {
			m.count("deposed arbiter writes after another bound")
			return
		}
	}
}

// reign lets one replica serve all that wait, without faults.
func (m *model) reign(r *replica, finish func()) {
	m.clock.SetTime(m.clock.Now().Add(leaseDuration))
	m.elect(r)
	finish()
	for r.arbiter.term != nil && m.broken == "" && m.serve(r) {
		finish()
	}
	r.sync()
}
