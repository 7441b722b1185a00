package main

import (
	"cmp"
	"fmt"
	"slices"
)

// verdict is what the history of a storm shows.
type verdict struct {
	// Doubles are the moments at which a host changed its owner without being free in between, a machine had claims on two hosts
	// that it confirmed, or a confirmed pair was broken without a release.
	Doubles []string `json:"doubles,omitempty"`
	// Stranded are the machines without a host and the claims whose machine does not name them, at the end.
	Stranded []string `json:"stranded,omitempty"`
	// Paired machines have a host that names them back, at the end.
	Paired int `json:"paired"`
	// Claimed counts the hosts with a claim, at the end.
	Claimed int `json:"claimed"`
}

// judge plays the versions back in the order in which the API server stored them. It is pure.
func judge(versions []version) verdict {
	order := slices.Clone(versions)
	slices.SortStableFunc(order, func(a, b version) int { return cmp.Compare(a.resource, b.resource) })
	t := &trial{hosts: map[string]version{}, machines: map[string]version{}, pair: map[string]version{}}
	for _, v := range order {
		if v.host {
			t.host(v)
		} else {
			t.machine(v)
		}
	}
	t.end()
	return t.verdict
}

type trial struct {
	verdict
	hosts, machines map[string]version
	// pair is the host version with which each machine was paired last, by machine; the pair may be broken by now.
	pair map[string]version
}

func (t *trial) double(format string, args ...any) {
	t.Doubles = append(t.Doubles, fmt.Sprintf(format, args...))
}

func (t *trial) host(v version) {
	old, known := t.hosts[v.name]
	if v.gone {
		delete(t.hosts, v.name)
		return
	}
	t.hosts[v.name] = v
	if known && old.uid == v.uid && old.claimID != "" {
		replaced := v.claimID != "" && (v.claimID != old.claimID || v.other != old.other)
		p, paired := t.pair[old.other]
		paired = paired && p.name == v.name && p.claimID == old.claimID
		switch {
		case replaced:
			t.double("host %s went from machine %s (claim %s) to machine %s (claim %s) at version %d", v.name, old.other, old.claimID, v.other, v.claimID, v.resource)
		case v.claimID == "" && paired && !old.released:
			t.double("host %s was taken from machine %s without a release at version %d", v.name, old.other, v.resource)
		}
		if v.claimID == "" && paired {
			delete(t.pair, old.other)
		}
	}
	if v.claimID != "" {
		t.confirm(v, t.machines[v.other])
	}
}

func (t *trial) machine(v version) {
	if v.gone {
		delete(t.machines, v.name)
		return
	}
	names := func(m version, h version) bool { return m.claimID == h.claimID && m.other == h.name }
	p, paired := t.pair[v.name]
	if paired && names(t.machines[v.name], p) && !names(v, p) && t.hosts[p.name].claimID == p.claimID && !t.hosts[p.name].released {
		t.double("machine %s left host %s (claim %s) for %q without a release at version %d", v.name, p.name, p.claimID, v.other, v.resource)
	}
	t.machines[v.name] = v
	if v.claimID != "" {
		t.confirm(t.hosts[v.other], v)
	}
}

// confirm notes a pair, if it is one.
func (t *trial) confirm(host, machine version) {
	if host.claimID == "" || host.claimID != machine.claimID || host.other != machine.name || machine.other != host.name {
		return
	}
	if p, paired := t.pair[machine.name]; paired && p.name != host.name {
		t.double("machine %s owns hosts %s and %s at once at version %d", machine.name, p.name, host.name, max(host.resource, machine.resource))
	}
	t.pair[machine.name] = host
}

// end looks at what is left.
func (t *trial) end() {
	for name, m := range t.machines {
		h := t.hosts[m.other]
		if m.claimID == "" || h.claimID != m.claimID || h.other != name {
			t.Stranded = append(t.Stranded, fmt.Sprintf("machine %s has no host (hostRef %q)", name, m.other))
			continue
		}
		t.Paired++
	}
	for name, h := range t.hosts {
		if h.claimID == "" {
			continue
		}
		t.Claimed++
		if m := t.machines[h.other]; m.claimID != h.claimID || m.other != name {
			t.Stranded = append(t.Stranded, fmt.Sprintf("host %s is claimed (%s) for machine %s, which names host %q", name, h.claimID, h.other, m.other))
		}
	}
	slices.Sort(t.Stranded)
}
