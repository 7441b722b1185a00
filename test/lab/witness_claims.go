package lab

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
)

// apply plays one write back and judges what it did to claims: I1, I2 and the half of I6 that is about claims.
func (t *trial) apply(w write) {
	if w.kind == machineKind {
		t.applyMachine(w)
		return
	}
	l := t.hosts[w.key]
	if l == nil {
		l = &life{key: w.key}
		t.hosts[w.key] = l
	}
	if w.removed {
		if l.now == nil || w.uid != "" && l.uid != w.uid {
			return
		}
		t.follow(l, nil, w.at)
		return
	}
	before := l.now
	if l.uid != w.uid {
		before = nil // a new object of that name: what it was created with is not a change
	}
	l.uid = w.uid
	t.compare(l, before, w.host, w.at)
	t.follow(l, w.host, w.at)
	t.oneOwner(l, before, w.at)
	if c := w.host.claim; c != nil {
		t.oneHost(l.machine(c), before, w)
	}
}

// compare judges the step from one version of a host to the next.
func (t *trial) compare(l *life, before, after *hostVersion, at span) {
	if before == nil || after.claim == nil || !t.judged(l.key.Namespace) {
		return
	}
	old, claim := before.claim, after.claim
	switch {
	case old == nil && !before.available:
		t.violate(at.to, "I6", "host %s was claimed (%s) by machine %s while it was not Available", l.key, claim.ID, claim.Machine)
	case old != nil && !sameClaim(before, after):
		t.witness.DoubleClaims++
		t.violate(at.to, "I1", "host %s: claim %s of machine %s was replaced by claim %s of machine %s", l.key, old.ID, old.Machine, claim.ID, claim.Machine)
	}
}

// follow brings the host's life up to a version; nil: the object is gone.
func (t *trial) follow(l *life, after *hostVersion, at span) {
	before := l.now
	if before.claimID() != "" && !sameClaim(before, after) {
		delete(t.holders[l.machine(before.claim)], l.key.Name)
		last := l.tenures[len(l.tenures)-1]
		last.open, last.closed, last.cleared = false, at, after != nil && after.claim == nil
		last.quarantined = after != nil && after.quarantined
		last.unordered = after != nil && after.mode == ""
	}
	if after.claimID() != "" {
		machine := l.machine(after.claim)
		if t.holders[machine] == nil {
			t.holders[machine] = map[string]bool{}
		}
		t.holders[machine][l.key.Name] = true
		if !sameClaim(before, after) {
			l.tenures = append(l.tenures, &tenure{interval: interval{opened: at, open: true, host: after}, key: l.key})
		}
	}
	l.now = after
	t.refresh(l, at)
}

// sameClaim says whether both versions hold one claim of one machine.
func sameClaim(a, b *hostVersion) bool {
	return a.claimID() != "" && a.claimID() == b.claimID() && a.claim.Machine == b.claim.Machine
}

// refresh derives a host's tracks from it and the machine that its claim names.
func (t *trial) refresh(l *life, at span) {
	var machine *machineVersion
	if l.now != nil && l.now.claim != nil {
		if e := t.machines[l.machine(l.now.claim)]; e != nil {
			machine = e.now
		}
	}
	l.refresh(machine, at)
}

// oneOwner is I1 for servers that two hosts describe: a new claim on one must not meet a claim on the other.
func (t *trial) oneOwner(l *life, before *hostVersion, at span) {
	if l.now.claim == nil || before.claimID() == l.now.claimID() && before.address == l.now.address {
		return
	}
	for _, other := range t.hosts {
		if other == l || other.now == nil || other.now.claim == nil || other.now.address != l.now.address {
			continue
		}
		if t.judged(l.key.Namespace) || t.judged(other.key.Namespace) {
			t.witness.DoubleClaims++
			t.violate(at.to, "I1", "hosts %s (machine %s) and %s (machine %s) are both claimed and are one server, %s",
				other.key, other.now.claim.Machine, l.key, l.now.claim.Machine, l.now.address)
		}
	}
}

// oneHost is I2: one machine confirms one host. It reports when a second one joins, by a write to either side.
func (t *trial) oneHost(machine types.NamespacedName, before *hostVersion, w write) {
	e := t.machines[machine]
	if e == nil || e.now.ref == nil || !t.judged(machine.Namespace) {
		return
	}
	id := e.now.ref.ClaimID
	var hosts []string
	for name := range t.holders[machine] {
		if t.hosts[types.NamespacedName{Namespace: machine.Namespace, Name: name}].now.claimID() == id {
			hosts = append(hosts, name)
		}
	}
	joined := w.kind == machineKind || before.claimID() != id && w.host.claimID() == id
	if len(hosts) > 1 && joined {
		slices.Sort(hosts)
		t.witness.DoubleClaims++
		t.violate(w.at.to, "I1/I2", "machine %s owns hosts %v at once, with claim %s", machine, hosts, id)
	}
}

func (t *trial) applyMachine(w write) {
	e := t.machines[w.key]
	var before *machineVersion
	switch {
	case w.removed && (e == nil || w.uid != "" && e.uid != w.uid):
		return
	case w.removed:
		delete(t.machines, w.key)
	default:
		if e != nil && e.uid == w.uid {
			before = e.now
		}
		t.machines[w.key] = &machineEntry{uid: w.uid, now: w.machine}
		t.compareMachine(before, w)
	}
	for name := range t.holders[w.key] {
		t.refresh(t.hosts[types.NamespacedName{Namespace: w.key.Namespace, Name: name}], w.at)
	}
}

// compareMachine judges the step from one version of a machine to the next.
func (t *trial) compareMachine(before *machineVersion, w write) {
	if !t.judged(w.key.Namespace) {
		return
	}
	now, old := w.machine, (*v1beta1.HostRef)(nil)
	if before != nil {
		old = before.ref
	}
	if old != nil && now.ref != nil && *old != *now.ref {
		t.violate(w.at.to, "I2", "machine %s: hostRef %s/%s was replaced by %s/%s", w.key, old.Name, old.ClaimID, now.ref.Name, now.ref.ClaimID)
	}
	if now.ref == nil {
		return
	}
	if old == nil || *old != *now.ref {
		t.oneHost(w.key, nil, w)
	}
	id := v1beta1.ProviderID(w.key.Namespace, now.ref.Name, now.ref.ClaimID)
	if now.providerID != "" && now.providerID != id && (before == nil || before.providerID != now.providerID || old == nil || *old != *now.ref) {
		t.violate(w.at.to, "I2", "machine %s has provider id %s and claims %s", w.key, now.providerID, id)
	}
}
