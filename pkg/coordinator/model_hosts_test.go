package coordinator

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	clusterv1 "sigs.k8s.io/cluster-api/api/core/v1beta2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// churn is everybody else: a write that changes nothing that matters, or an owner's maintenance.
func (m *model) churn(name string) {
	host := m.at.api.hosts[name]
	if host == nil {
		return
	}
	maintenance := m.random.IntN(3) == 0
	m.tell("%s changes (maintenance toggled: %v)", name, maintenance)
	m.edit(m.at, host, func(h *v1beta1.PhysicalHost) {
		h.Annotations = map[string]string{"n": fmt.Sprint(len(m.story))}
		h.Spec.Maintenance = h.Spec.Maintenance != maintenance
	})
}

func (m *model) deleteMachine(name string) {
	machine := m.at.api.machines[name]
	if machine == nil || m.move != nil {
		return
	}
	m.tell("%s is deleted", name)
	m.count("machine deleted")
	m.deleted[machine.UID] = true
	_ = m.at.api.Delete(context.Background(), machine)
}

// vanish takes a machine away without a mark, as a restored backup or a forced deletion does.
func (m *model) vanish(name string) {
	machine := m.at.api.machines[name]
	if machine == nil || m.move != nil || !machine.DeletionTimestamp.IsZero() {
		return
	}
	m.tell("%s vanishes", name)
	m.count("machine vanished")
	m.at.api.drop(machine)
	if m.random.IntN(2) == 0 {
		m.count("machine of a former one's name")
		m.create(name)
		return
	}
	m.vanished = append(m.vanished, machine)
}

// restore brings a vanished machine back, with a new UID.
func (m *model) restore() {
	if len(m.vanished) == 0 {
		return
	}
	machine := m.vanished[0]
	m.vanished = m.vanished[1:]
	if m.at.api.machines[machine.Name] == nil {
		m.tell("%s is restored", machine.Name)
		m.count("machine restored")
		m.at.api.put(m.reborn(machine))
	}
}

// reborn is the object as another API server stores it: a new UID and no status.
func (m *model) reborn(machine *v1beta1.Beskar7Machine) *v1beta1.Beskar7Machine {
	next := machine.DeepCopy()
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	next.Annotations["data"] = dataOf(machine)
	next.UID, next.DeletionTimestamp = machine.UID+"'", nil
	next.ResourceVersion = ""
	return next
}

// careless is a client that overwrites what is not its own, without looking: an old manifest, a tool that knows no preconditions.
func (m *model) careless() {
	name := m.anyHost()
	host, machine := m.at.api.hosts[name], m.at.api.machines[m.anyMachine()]
	if host == nil || machine == nil {
		return
	}
	m.count("careless client")
	const id = "00000000000000cc"
	if m.random.IntN(2) == 0 && host.Spec.Claim != nil {
		err := m.at.api.Patch(context.Background(), host.DeepCopy(), rawf(`{"spec":{"claim":{"id":"%s","machine":"%s"}}}`, id, machine.Name))
		m.tell("a careless client claims %s: %v", name, err)
	} else if machine.Spec.HostRef != nil {
		err := m.at.api.Patch(context.Background(), machine.DeepCopy(), rawf(`{"spec":{"hostRef":{"name":"%s","claimID":"%s"}}}`, name, id))
		m.tell("a careless client sets hostRef of %s: %v", machine.Name, err)
	}
}

func rawf(format string, args ...any) client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(fmt.Sprintf(format, args...)))
}

// hostController judges a host on live reads and acts, one act at a time: it grants media to a confirmed claim, boots the
// server, binds the claim; it marks, quarantines and clears.
func (m *model) hostController(s *side, name string) {
	host := s.api.hosts[name]
	if host == nil || host.Spec.Claim == nil {
		return
	}
	claim := host.Spec.Claim
	h := Holding{Host: host, Machine: s.api.machines[claim.Machine], Cluster: &clusterv1.Cluster{}, Now: m.clock.Now(), ClaimedSince: m.clock.Now()}
	h.Cluster.Spec.Paused = ptr.To(s.paused)
	key := s.name + claim.ID
	alone := h.Machine == nil || !host.ClaimedBy(h.Machine)
	if alone && claim.Release == nil && !s.paused && !host.Spec.Paused {
		if _, seen := m.alone[key]; !seen {
			m.alone[key] = m.clock.Now()
		}
	} else {
		delete(m.alone, key)
	}
	if since, seen := m.since[key]; seen {
		h.ClaimedSince = since
	}
	standing := Judge(h)
	if standing == StandingUnconfirmed || standing == StandingOrphaned {
		m.since[key] = h.ClaimedSince
	} else {
		delete(m.since, key)
	}
	m.tell("%s: %s is %s", s.name, name, standing)
	switch standing {
	case StandingConfirmed:
		m.provision(s, host, h.Machine)
	case StandingReleasing:
		m.powerOff(s, host, h.Machine)
		m.clear(s, host)
	case StandingUnconfirmedExpired:
		m.checkGrace(key, name)
		if m.servers[name].claim == claim.ID {
			m.fail("I6: the claim on %s is cleared while its server runs", name)
		}
		m.clear(s, host)
	case StandingOrphanExpired:
		m.checkGrace(key, name)
		if claim.Bound {
			m.fail("I5: %s is released although its system runs and nobody asked for it", name)
		}
		m.edit(s, host, func(x *v1beta1.PhysicalHost) {
			x.Spec.Claim.Release = &v1beta1.Release{Reason: v1beta1.ReasonOrphaned, RequestedAt: metav1.NewTime(m.clock.Now())}
		})
	case StandingOrphanBound:
		m.edit(s, host, func(x *v1beta1.PhysicalHost) { x.Spec.Quarantine = &v1beta1.Quarantine{Reason: v1beta1.ReasonOrphaned} })
	case StandingNone, StandingPaused, StandingUnconfirmed, StandingOrphaned:
	}
}

// checkGrace is D7: what is not settled may settle yet.
func (m *model) checkGrace(key, host string) {
	if since, seen := m.alone[key]; !seen || m.clock.Since(since) < DefaultGrace {
		m.fail("D7: the claim on %s ends %s after it was first seen alone", host, m.clock.Since(since))
	}
}

func (m *model) clear(s *side, host *v1beta1.PhysicalHost) {
	m.cleared[host.Spec.Claim.ID] = true
	m.edit(s, host, func(x *v1beta1.PhysicalHost) { x.Spec.Claim, x.Spec.Boot = nil, nil })
}

// provision takes a confirmed host one step on: media, boot, bound.
func (m *model) provision(s *side, host *v1beta1.PhysicalHost, machine *v1beta1.Beskar7Machine) {
	claim, runs := host.Spec.Claim, m.servers[host.Name]
	switch {
	case machine == nil || !host.ClaimedBy(machine):
		m.fail("I4: %s is worked on although its claim is not confirmed", host.Name)
	case claim.Media == nil:
		m.edit(s, host, func(x *v1beta1.PhysicalHost) { x.Spec.Claim.Media = &v1beta1.MediaGrant{TokenHash: "x"} })
	case runs.claim == "":
		m.boot(s, host, machine)
	case runs.claim != claim.ID:
		m.fail("I6: %s is worked on for %s while it runs for %s", host.Name, claim.ID, runs.claim)
	case !claim.Bound:
		runs.bound = true
		m.edit(s, host, func(x *v1beta1.PhysicalHost) { x.Spec.Claim.Bound = true })
	}
}

func (m *model) boot(s *side, host *v1beta1.PhysicalHost, machine *v1beta1.Beskar7Machine) {
	m.tell("%s: %s boots for %s", s.name, host.Name, machine.Name)
	if s.paused {
		m.fail("I5: %s is booted while its cluster is paused", host.Name)
	}
	if host.Spec.Boot == nil || host.Spec.Boot.BootstrapSecret != dataOf(machine) {
		m.fail("I2: %s boots %s with the data of another machine", host.Name, machine.Name)
	}
	for name, other := range m.servers {
		if other.claim != "" && other.name == dataOf(machine) && name != host.Name {
			m.fail("I2: %s and %s run for %s", name, host.Name, machine.Name)
		}
	}
	*m.servers[host.Name] = server{claim: host.Spec.Claim.ID, owner: machine.UID, name: dataOf(machine)}
}

func (m *model) powerOff(s *side, host *v1beta1.PhysicalHost, machine *v1beta1.Beskar7Machine) {
	runs, claim := m.servers[host.Name], host.Spec.Claim
	if s.paused {
		m.fail("I5: %s is powered off while its cluster is paused", host.Name)
	}
	mine := machine != nil && host.ClaimedBy(machine) && claim.Release.Reason != v1beta1.ReasonOrphaned
	if runs.claim == claim.ID && mine && !m.deleted[machine.UID] {
		m.fail("I5: %s is powered off although %s, which it runs for, was not deleted", host.Name, machine.Name)
	}
	*runs = server{}
}

// check is I1, I2 and what follows from them, on the side that is used.
func (m *model) check() {
	claims := map[string]v1beta1.Claim{}
	for name, host := range m.at.api.hosts {
		if host.Spec.Claim == nil {
			continue
		}
		now := *host.Spec.Claim
		claims[name] = now
		was, had := m.claims[name]
		if had && was.ID == now.ID && was.Machine == now.Machine {
			continue
		}
		if had && !m.cleared[was.ID] {
			m.fail("I1: the claim on %s changed from %s of %s to %s of %s", name, was.ID, was.Machine, now.ID, now.Machine)
		}
		if !m.tenures[Fence{now.LeaseHolder, now.LeaseTransitions}] {
			m.fail("D5: the claim on %s names no Lease: %s, %d", name, now.LeaseHolder, now.LeaseTransitions)
		}
	}
	for name, was := range m.claims {
		if _, still := claims[name]; !still && !m.cleared[was.ID] {
			m.fail("I1: the claim %s of %s on %s was lost", was.ID, was.Machine, name)
		}
	}
	m.claims = claims
	m.checkOwners()
}

func (m *model) checkOwners() {
	for name, was := range m.owned {
		machine := m.at.api.machines[name]
		switch {
		case machine == nil || machine.UID != was.uid || m.cleared[was.id]:
			delete(m.owned, name)
		case machine.Spec.HostRef == nil || machine.Spec.HostRef.ClaimID != was.id || machine.Spec.HostRef.Name != was.host:
			m.fail("I2: %s owns %s by %s, which is not given back, and now names %+v", name, was.host, was.id, machine.Spec.HostRef)
		}
	}
	for name, machine := range m.at.api.machines {
		if ref := machine.Spec.HostRef; ref != nil && m.at.api.hosts[ref.Name] != nil && m.at.api.hosts[ref.Name].ClaimedBy(machine) {
			m.owned[name] = ownership{machine.UID, ref.Name, ref.ClaimID}
		}
	}
}
