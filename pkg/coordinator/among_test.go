package coordinator

import (
	"fmt"
	"testing"
	"testing/synctest"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/beskar7/beskar7/api/v1beta1"
)

const workers = "MachineDeployment/workers"

// rack is a host in a failure domain.
func rack(host *v1beta1.PhysicalHost, domain string) *v1beta1.PhysicalHost {
	host.Spec.FailureDomain = domain
	return host
}

func spreadHard(name string) *v1beta1.Beskar7Machine {
	m := newMachine(name)
	m.Spec.Spread = v1beta1.SpreadHard
	return m
}

func ofWorkers(m *v1beta1.Beskar7Machine) ClaimRequest {
	req := request(m)
	req.Owner = workers
	return req
}

// Two workers of one process choose hosts in the same failure domain at the same time: one of them gives way before it writes
// anything, whether the other has claimed already or is about to.
func TestHardSpreadHoldsBetweenWorkers(t *testing.T) {
	// What the first worker asks before and after it assumed its host.
	for _, moment := range []string{"get Beskar7Machine", "patch Beskar7Machine"} {
		for seed := range 10 {
			first, second := fmt.Sprint("m", seed), fmt.Sprint("n", seed)
			w := newWorld(t, rack(newHost("a1"), "a"), rack(newHost("a2"), "a"), rack(newHost("b1"), "b"), rack(newHost("b2"), "b"),
				spreadHard(first), spreadHard(second))
			var other *Optimistic
			var got ClaimResult
			p := meanwhile(moment, func() { got = mustClaim(t, other, ofWorkers(w.machine(second)), Claimed) })
			one := NewOptimistic(w.options(p.client(w.api)))
			other = NewOptimistic(w.options(w.api))
			other.process = one.process
			result := mustClaim(t, one, ofWorkers(w.machine(first)), Claimed)
			if result.Host.Spec.FailureDomain == got.Host.Spec.FailureDomain {
				t.Fatalf("%s, %s: both in %s", moment, first, got.Host.Spec.FailureDomain)
			}
			if claim := w.host(result.Host.Name).Spec.Claim; claim.Owner != workers || claim.ClaimedAt == nil || !claim.ClaimedAt.Time.Equal(epoch) {
				t.Fatalf("claim %+v", claim)
			}
		}
	}
}

// The arbiter spreads machines although their claims are written four at a time.
func TestTheArbiterSpreads(t *testing.T) {
	var objects []client.Object
	for i := range 12 {
		objects = append(objects, rack(newHost(fmt.Sprint("h", i)), fmt.Sprint("rack-", i%3)))
	}
	for i := range 9 {
		objects = append(objects, spreadHard(fmt.Sprint("m", i)))
	}
	c := newCourt(t, objects...)
	c.wished = func(m *v1beta1.Beskar7Machine) (ClaimRequest, bool) { return ofWorkers(m), true }
	c.sit(synctest.Wait)
	count := map[string]int{}
	for host := range c.claims() {
		count[c.store.hosts[host].Spec.FailureDomain]++
	}
	if count["rack-0"] != 3 || count["rack-1"] != 3 || count["rack-2"] != 3 {
		t.Fatalf("%v", count)
	}
}

// What is chosen counts at once, long before its claim is written.
func TestTheArbiterCountsWhatItHasChosen(t *testing.T) {
	var objects []client.Object
	for i := range 4 {
		objects = append(objects, rack(newHost(fmt.Sprint("h", i)), fmt.Sprint("rack-", i%2)))
	}
	for i := range 4 {
		objects = append(objects, spreadHard(fmt.Sprint("m", i)))
	}
	c := newCourt(t, objects...)
	c.wished = func(m *v1beta1.Beskar7Machine) (ClaimRequest, bool) { return ofWorkers(m), true }
	if err := c.arbiter.takeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for i := range 4 {
		b, _ := c.arbiter.next(t.Context())
		if b == nil {
			t.Fatalf("after %d choices: none", i)
		}
		count[b.host.Spec.FailureDomain]++
		if a, b := count["rack-0"], count["rack-1"]; max(a, b)-min(a, b) > 1 {
			t.Fatalf("chosen: %v", count)
		}
	}
}

// A machine may come to fit a host because another host changed: that wakes it, in both modes.
func TestAChangeElsewhereWakesWhoDependsOnIt(t *testing.T) {
	peer := func(h *v1beta1.PhysicalHost) {
		h.Spec.Claim = &v1beta1.Claim{ID: "00000000000000ee", Machine: "peer", Cluster: "c", Owner: workers}
	}
	held := rack(newHost("a1"), "a")
	peer(held)
	full := rack(newHost("b1"), "b")
	busy(full)
	hosts := []*v1beta1.PhysicalHost{held, rack(newHost("a2"), "a"), full}
	maintained := func(h *v1beta1.PhysicalHost) { h.Spec.Maintenance = true }

	c := newCourt(t, held, hosts[1], full, spreadHard("m"))
	c.wished = func(m *v1beta1.Beskar7Machine) (ClaimRequest, bool) { return ofWorkers(m), true }
	c.sit(func() {
		if got := c.claims()["a2"]; got != "" {
			t.Fatalf("a2 is claimed by %s although rack b has fewer machines", got)
		}
		c.tell("b1", maintained)
	})
	if got := c.claims()["a2"]; got != "m" {
		t.Fatalf("a2 is claimed by %q although rack b is out of service", got)
	}

	w := newWorld(t, rack(newHost("a1"), "a"), rack(newHost("a2"), "a"), rack(newHost("b1"), "b"), spreadHard("m"), newMachine("n"))
	edit(w, w.host("a1"), peer)
	edit(w, w.host("b1"), busy)
	options := w.options(w.api)
	options.Informed = true
	claimer := NewOptimistic(options)
	for _, host := range hosts {
		claimer.HostChanged(nil, w.host(host.Name))
	}
	mustClaim(t, claimer, ofWorkers(w.machine("m")), NoHost)
	before := w.host("b1")
	edit(w, w.host("b1"), maintained)
	if woken := claimer.HostChanged(before, w.host("b1")); len(woken) != 1 || woken[0].Name != "m" {
		t.Fatalf("woken: %v", woken)
	}
	if got := mustClaim(t, claimer, ofWorkers(w.machine("m")), Claimed); got.Host.Name != "a2" {
		t.Fatalf("claimed %s", got.Host.Name)
	}
}

// Where nothing tells of hosts, they are read; where something does, a host that is no more is not chosen.
func TestPoolsFollowWhatTheyAreTold(t *testing.T) {
	w := newWorld(t, newHost("a"), newHost("b"), newMachine("m"))
	options := w.options(w.api)
	options.Informed = true
	claimer := NewOptimistic(options)
	claimer.HostChanged(nil, w.host("a"))
	claimer.HostChanged(nil, w.host("b"))
	claimer.HostChanged(w.host("a"), nil)
	if got := mustClaim(t, claimer, request(w.machine("m")), Claimed); got.Host.Name != "b" {
		t.Fatalf("claimed %s", got.Host.Name)
	}
}
