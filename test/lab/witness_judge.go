package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/beskar7/beskar7/api/v1beta1"
	"github.com/beskar7/beskar7/test/emulator"
)

// trial holds the evidence while it is judged.
type trial struct {
	history
	hosts    map[types.NamespacedName]*life
	machines map[types.NamespacedName]*machineEntry
	servers  map[string]*server // by address
	witness  *Witness
	// holders are the hosts whose claim names a machine.
	holders map[types.NamespacedName]map[string]bool
}

// machineEntry is a machine that exists.
type machineEntry struct {
	uid types.UID
	now *machineVersion
}

// judge is the whole verdict: a function of the two records.
func judge(h history, logs []serverLog) *Witness {
	t := &trial{history: h, hosts: map[types.NamespacedName]*life{}, machines: map[types.NamespacedName]*machineEntry{},
		servers: map[string]*server{}, holders: map[types.NamespacedName]map[string]bool{}, witness: &Witness{}}
	for _, log := range logs {
		t.servers[log.address] = play(log)
	}
	for _, w := range ordered(h.writes) {
		t.apply(w)
	}
	t.judgeEnd()
	for _, l := range t.lives() {
		t.judgeOffers(l)
		t.judgeTenures(l)
	}
	for _, address := range slices.Sorted(maps.Keys(t.servers)) {
		t.judgeServer(t.servers[address])
	}
	return t.witness.close()
}

// judged says whether verdicts on objects of this namespace are wanted.
func (t *trial) judged(namespace string) bool { return t.namespace == "" || t.namespace == namespace }

// violate reports a violation.
func (t *trial) violate(at time.Time, invariant, format string, args ...any) {
	if at.Before(t.options.Since) {
		return
	}
	text := fmt.Sprintf("%s: %s: %s", invariant, clock(at), fmt.Sprintf(format, args...))
	t.witness.found = append(t.witness.found, violation{at, text})
}

// lives are the hosts to judge, by name.
func (t *trial) lives() []*life {
	var out []*life
	for _, key := range slices.SortedFunc(maps.Keys(t.hosts), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) }) {
		if t.judged(key.Namespace) {
			out = append(out, t.hosts[key])
		}
	}
	return out
}

// judgeEnd is I3: no claim is left, unreported, whose machine does not exist.
func (t *trial) judgeEnd() {
	for _, l := range t.lives() {
		if l.now == nil || l.now.claim == nil || l.now.reported || l.now.quarantined {
			continue
		}
		if t.machines[l.machine(l.now.claim)] == nil {
			t.violate(t.until, "I3", "host %s is claimed (%s) by machine %s, which does not exist, and does not report it", l.key, l.now.claim.ID, l.now.claim.Machine)
		}
	}
}

// machine is the key of the machine that a claim names.
func (l *life) machine(c *v1beta1.Claim) types.NamespacedName {
	return types.NamespacedName{Namespace: l.key.Namespace, Name: c.Machine}
}

// judgeOffers is I6: a host is offered only while its server is off, empty and disarmed, and we leave it so.
func (t *trial) judgeOffers(l *life) {
	for _, offer := range l.offered {
		s := t.servers[offer.host.address]
		if s == nil {
			t.violate(offer.opened.to, "I6", "host %s is offered, but no server has its address %s", l.key, offer.host.address)
			continue
		}
		if !s.cleanWithin(offer.opened) {
			t.violate(offer.opened.to, "I6", "host %s is offered while server %s was: %s", l.key, s.name, s.at(offer.opened.to))
			continue
		}
		for i, e := range s.events {
			if e.Who == emulator.ByRedfish && offer.must(e.Time) && s.conditions[i].clean() && !s.conditions[i+1].clean() {
				t.violate(e.Time, "I6", "host %s is offered, and we made server %s: %s", l.key, s.name, s.conditions[i+1])
			}
		}
		if last := s.conditions[len(s.conditions)-1]; offer.open && !last.clean() {
			t.violate(t.until, "I6", "host %s is still offered at the end, server %s being: %s", l.key, s.name, last)
		}
	}
}

// judgeTenures counts what was provisioned and released; a claim that could have touched the server ends with proof or in
// quarantine, or is yielded to the server's owner.
func (t *trial) judgeTenures(l *life) {
	provisioned := map[string]bool{}
	for _, n := range l.tenures {
		s := t.servers[n.host.address]
		if s == nil {
			continue
		}
		id := v1beta1.ProviderID(l.key.Namespace, l.key.Name, n.host.claimID())
		if s.nodes[id] && s.booted(n.interval) {
			provisioned[id] = true
		}
		switch {
		case !n.cleared:
		case s.cleanWithin(n.closed):
			if n.marked {
				t.witness.Released++
			}
		case s.yielded(n):
		case (n.marked || n.confirmed) && !n.quarantined:
			t.violate(n.closed.to, "I6", "host %s: claim %s was cleared without quarantine while server %s was: %s", l.key, n.host.claimID(), s.name, s.at(n.closed.to))
		}
	}
	t.witness.Provisioned += len(provisioned)
}

// yielded says whether a claim was given up to the server's owner, who powered it on before anything of ours was in it: no medium
// was ever granted, and no request of ours changed anything while the claim was there. Nobody asked for a release, which needs
// proof, and no system of the claim was ever seen.
func (s *server) yielded(n *tenure) bool {
	if n.granted || n.bound || n.marked || !n.unordered || !s.onWithin(n.closed) {
		return false
	}
	return !slices.ContainsFunc(s.acts, func(a act) bool { return n.must(a.at) })
}

// judgeServer is I2, I4, I5 and I7: who did what to a server, and when.
func (t *trial) judgeServer(s *server) {
	hosts, judged := t.hostsAt(s.address)
	if !judged {
		return
	}
	for _, a := range s.acts {
		if !slices.ContainsFunc(hosts, func(l *life) bool { return l.permits(s.address, a.at, t.options.OrphanGrace) }) {
			t.violate(a.at, "I2/I4", "server %s (%s): %s, without a confirmed claim or a release", s.name, names(hosts), a)
		}
		for _, l := range hosts {
			for _, i := range l.bound {
				if i.host.address == s.address && i.must(a.at) && !s.mayWhileBound(a, i.host) {
					t.violate(a.at, "I5", "server %s, host %s bound to %s (%s): %s, the server being: %s", s.name, l.key, i.host.claim.Machine, i.host.mode, a, s.at(a.at))
				}
			}
		}
	}
	t.judgeTraffic(s)
}

// hostsAt are the hosts that ever had an address; judged says whether the server is to be judged: one of them is, or it is
// nobody's and everything is.
func (t *trial) hostsAt(address string) (hosts []*life, judged bool) {
	for _, l := range t.hosts {
		if !l.had(address) {
			continue
		}
		hosts = append(hosts, l)
		judged = judged || t.judged(l.key.Namespace)
	}
	slices.SortFunc(hosts, func(a, b *life) int { return strings.Compare(a.key.String(), b.key.String()) })
	return hosts, judged || t.namespace == ""
}

func names(hosts []*life) string {
	if len(hosts) == 0 {
		return "no host"
	}
	var out []string
	for _, l := range hosts {
		out = append(out, l.key.String())
	}
	return "host " + strings.Join(out, " and ")
}

// mayWhileBound says whether an act leaves a bound system alone. Allowed are: to power a server on that is off; a Live server that
// lost its power, whose owner says that its image bears that, may be given its medium again and be powered on; an override that would
// boot its medium for ever may be set back to rest; D9a's Install server may be disarmed, and emptied while it is off.
func (s *server) mayWhileBound(a act, host *hostVersion) bool {
	now, install := s.at(a.at), host.mode == v1beta1.BootModeInstall
	revives, again := install || host.bearsAgain, !install && host.bearsAgain && now.lostPower()
	reset := slices.ContainsFunc(a.events, func(e emulator.Event) bool { return e.Kind == emulator.EventReset })
	return !slices.ContainsFunc(a.events, func(e emulator.Event) bool {
		switch e.Kind {
		case emulator.EventReset, emulator.EventPower:
			return !mayPowerOn(e, revives, reset, now.power)
		case emulator.EventOverride:
			return !again && (!disarmed(e.To) || !install && !lasting(e.From))
		case emulator.EventInsert:
			return !again
		case emulator.EventEject:
			return !revives || !now.lostPower()
		default: // touches neither power nor boot
			return false
		}
	})
}

// mayPowerOn: a server that may be revived may be powered on; a change of power follows from the reset, if there is one.
func mayPowerOn(e emulator.Event, revives, reset bool, power string) bool {
	if e.Kind == emulator.EventPower {
		return reset || revives && (e.To == string(emulator.On) || e.To == string(emulator.PoweringOn))
	}
	return revives && (e.To == "On" || e.To == "PushPowerButton" && power == string(emulator.Off))
}
