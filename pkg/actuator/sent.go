package actuator

import (
	"maps"
	"time"

	"github.com/beskar7/beskar7/pkg/bootmedia"
	"github.com/beskar7/beskar7/pkg/provision"
	"github.com/beskar7/beskar7/pkg/redfish"
)

// sent is a changing request that left for a BMC.
type sent struct {
	action provision.Action
	// slot is where media went in or out, and family whose media.
	slot   string
	family bootmedia.Family
	at     time.Time
	// until is when its effect is given up.
	until time.Time
	// awaited: the BMC took it, so it is looked for before anything is done again for the same wish. A request whose answer got
	// lost is not awaited: what is read next decides, and each of our requests can be made twice.
	awaited bool
	looks   int
}

// outstanding says whether something that was sent may still take effect. a.mu is held.
func (t *tracked) outstanding(now time.Time) bool {
	maps.DeleteFunc(t.sent, func(_ string, s *sent) bool { return !s.awaited && !now.Before(s.until) })
	for _, s := range t.sent {
		if now.Before(s.until) {
			return true
		}
	}
	return false
}

// powering says whether a change of power that was sent may still take effect. a.mu is held.
func (t *tracked) powering(now time.Time) bool {
	for _, s := range t.sent {
		if changesPower(s.action) && now.Before(s.until) {
			return true
		}
	}
	return false
}

// sending notes a request that is about to leave. It is false if the server is not the host's any more. boot says that a PowerOn
// boots what the claim is for: our medium, or what was installed from it and is bound.
func (a *Actuator) sending(r *run, s *sent, boot bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := r.of
	if a.hosts[t.host] != t {
		return false
	}
	s.action, s.at = r.order.Action, a.clock.Now()
	t.changed = t.observation.Answering
	t.rests = s.at.Add(r.rest())
	s.until = t.rests.Add(r.order.Settle)
	switch r.order.Action {
	case provision.ShutDown:
		if t.shutdown.claim != r.order.ClaimID || t.shutdown.at.IsZero() {
			t.shutdown.claim, t.shutdown.at = r.order.ClaimID, s.at
		}
		s.until = t.shutdown.at.Add(r.order.Shutdown)
	case provision.PowerOn:
		if boot {
			t.poweredOn = r.order.ClaimID
		}
	default:
	}
	if r.powers() {
		// What was read before says nothing of what is to come: the count begins anew, and ends once the change had its time.
		t.steady, t.steadyFrom, t.observation.Steady = 0, s.at, false
	}
	if s.slot != "" {
		if t.unread != "" && t.unread != s.slot {
			t.observation.SlotsAt = time.Time{} // two of them: all are read again
		}
		t.unread = s.slot // it is about to change, whatever the answer says
	}
	t.sent[r.id] = s
	return true
}

// taken notes that the BMC took the request.
func (a *Actuator) taken(s *sent) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.awaited = true
}

// resting says whether the BMC is to be left alone after a change.
func (a *Actuator) resting(t *tracked) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.clock.Now().Before(t.rests)
}

// rested ends the rest of a BMC: it did nothing.
func (a *Actuator) rested(t *tracked) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t.rests = time.Time{}
}

// settled forgets the request: its effect was seen, will not come, or it was refused.
func (a *Actuator) settled(r *run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(r.of.sent, r.id)
}

// sawPower forgets the requests of which the power that was just read shows the effect, whoever read it: a poll may see it first,
// and the wish that it leads to takes the place of the one that would have looked. a.mu is held.
func (t *tracked) sawPower() {
	maps.DeleteFunc(t.sent, func(_ string, s *sent) bool { return s.awaited && powered(s.action, t.observation.State.Power) })
}

// powered says whether a reading of the power shows the effect of a request that changes it.
func powered(action provision.Action, p redfish.PowerState) bool {
	switch action {
	case provision.PowerOn:
		return p == redfish.PowerOn
	case provision.ForceOff, provision.ShutDown:
		return p == redfish.PowerOff
	default:
		return false
	}
}

// elsewhere says whether another server answers than the one to which the last change was sent.
func (a *Actuator) elsewhere(t *tracked) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.elsewhere()
}

// awaited is the request that was taken for the same wish and has not settled, or nil.
func (a *Actuator) awaited(r *run) *sent {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := r.of.sent[r.id]; s != nil && s.awaited {
		return s
	}
	return nil
}

// shutdownOverdue says whether a graceful shutdown for the claim was first sent so long ago that it is deaf, whatever became
// of the requests.
func (a *Actuator) shutdownOverdue(r *run) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := r.of.shutdown
	return first.claim == r.order.ClaimID && !first.at.IsZero() && a.clock.Since(first.at) >= r.order.Shutdown
}

// stick notes that a slot could not be emptied, so that the others are emptied meanwhile; free that it could.
func (a *Actuator) stick(t *tracked, slot string, stuck bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.stuck == nil {
		t.stuck = map[string]bool{}
	}
	t.stuck[slot] = stuck
}

func (a *Actuator) isStuck(t *tracked, slot string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return t.stuck[slot]
}

// looked counts the looks of one wish to observe in a row, from 0; no wish ends the row.
func (a *Actuator) looked(t *tracked, id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.looks.id != id {
		t.looks.id, t.looks.n = id, 0
	}
	t.looks.n++
	return t.looks.n - 1
}
